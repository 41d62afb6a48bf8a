"""Fit how many candidates an approximate index examines, when the index is built.

The fitted width is the smallest tried one (``ef_search``, ``nprobes``) whose results overlap with
those of an exhaustive search by ``LEAST_OVERLAP``, on average over queries between documents.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from nestvec.codec.prefix import normalize
from nestvec.types import Embeddings, Hits, OperatingPoint

LEAST_OVERLAP = 0.99
K = 10
SAMPLED = 100
"""Documents from which the queries are made."""
_logger = logging.getLogger(__name__)


class Fitted(NamedTuple):
    """A fitted width, and the overlap@10 that it reached."""

    width: int
    overlap: float

    def settings(self, name: str) -> dict[str, int | float]:
        """Return the settings of a manifest; ``name`` is the engine's name of the width."""
        return {name: self.width, f"overlap@{K}": round(self.overlap, 4)}


def queries_between(documents: Embeddings) -> Embeddings:
    """Return the means of pairs of documents, which serve as queries.

    A document is its own nearest neighbor, so as a query it would be easier than those of users.

    Args:
        documents: Stored vectors of a sample, [n, full_dim].

    Returns:
        [n, full_dim], of unit length or zero.
    """
    return normalize(documents + np.roll(documents, 1, axis=0))


def fit(
    point: OperatingPoint,
    widths: Iterable[int],
    search: Callable[[int], Hits],
    expected: Hits,
) -> Fitted:
    """Return the smallest width that retains enough, or the largest with a warning.

    Args:
        point: The operating point, for the warning.
        widths: The widths to try, ascending; at least one.
        search: Searches the index by a width for ``K`` results of each query.
        expected: The results of the exhaustive search.
    """
    for width in widths:
        fitted = Fitted(width, mean_overlap(expected, search(width)))
        if fitted.overlap >= LEAST_OVERLAP:
            return fitted
    _logger.warning(
        "%s: the index finds %.1f %% of the best %d documents, also with the largest width %d.",
        *(point, 100 * fitted.overlap, K, fitted.width),
    )
    return fitted


def mean_overlap(expected: Hits, found: Hits) -> float:
    """Return the mean share of the expected documents of a query that were found."""
    pairs = zip(expected.ids, found.ids, strict=True)
    shares = [len({*one} & {*two}) / len(one) for one, two in pairs if one]
    return float(np.mean(shares)) if shares else 1.0
