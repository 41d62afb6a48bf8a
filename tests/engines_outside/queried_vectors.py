"""Vectors and a log of queries, for the checks of tables that other programs wrote."""

import numpy as np

from nestvec.sources.logged_queries import LoggedQueries

DIM = 32
_DECAY = (1 + np.arange(DIM)) ** -0.3


def vectors(n, seed=0):
    """Return random vectors, [n, DIM]; the first dims are the longest."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, DIM)) * _DECAY).astype(np.float32)


QUERIES = vectors(40, seed=1)


def log(filters=None):
    """Return the log of all queries, each with its filter."""
    n = len(QUERIES)
    return LoggedQueries("log", [f"q{i}" for i in range(n)], [""] * n, QUERIES, filters or [""] * n)


def cosines(documents):
    """Return the cosine of each query and each document, [n_queries, n]."""
    lengths = np.linalg.norm(QUERIES, axis=1)[:, None] * np.linalg.norm(documents, axis=1)
    return QUERIES @ documents.T / lengths
