"""Vectors whose few important axes are spread over all dimensions."""

import numpy as np
import pytest

from nestvec.models.adapter import Adapter, Head

WIDTH = 16


@pytest.fixture(scope="session")
def hidden_order():
    """[600, 16] unit vectors that vary along a few random axes, and 120 queries near them."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    spread = 0.7 ** np.arange(WIDTH)
    documents = rng.standard_normal((600, WIDTH)) * spread @ turn
    queries = documents[:120] + 0.3 * rng.standard_normal((120, WIDTH)) * spread @ turn
    return unit(documents), unit(queries)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def make_adapter():
    def make(documents, queries=None, *, method="linear", base="", dims=(8, 4), layer_norm=False):
        head = Head(documents) if isinstance(documents, np.ndarray) else documents
        other = head if queries is None else Head(queries)
        return Adapter(method, dims, base, "a model", layer_norm, head, other, 3, {"metric": "x"})

    return make
