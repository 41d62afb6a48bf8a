"""Metrics of similarity tasks: correlation, triplet accuracy, k nearest neighbors, clustering.

The functions work on arrays. Vectors are passed one operating point at a time, because those of all
points may not fit in memory. If a metric has a value for each item, the values are stored.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import require
from nestvec.metrics.intervals import retention_intervals, retentions
from nestvec.metrics.ranking import best
from nestvec.types import Embeddings, Rows, Scores

RESAMPLES = 300  # bootstrap resamples of a correlation
_BLOCK = 1_024  # texts scored at a time
_CLUSTERINGS, _CLUSTERING_BATCH = 10, 1_024


class Vectors(NamedTuple):
    """Vectors of all texts at one operating point.

    Attributes:
        floats: Vectors as used for queries, [n, dim].
        decoded: Decoded codes, as used for documents, [n, dim].
    """

    floats: Embeddings
    decoded: Embeddings


@dataclass(frozen=True)
class SimilarityScores:
    """One metric at every operating point; full precision is first.

    Attributes:
        values: Value of the metric, [n_points].
        retention: Share of the value at full precision, [n_points].
        intervals: 95 % confidence intervals of the retention, [n_points, 2]; empty if not known.
        items: Value of each item, [n_points, n_items]; empty if the metric has no value for items.
    """

    values: Scores
    retention: Scores
    intervals: NDArray[np.float64]
    items: NDArray[np.float64]


def correlations(
    points: Iterable[Vectors], first: Rows, second: Rows, gold: Scores, *, seed: int
) -> dict[str, SimilarityScores]:
    """Correlate the similarities of pairs with gold scores.

    Args:
        points: Vectors of the texts at each point.
        first: Row of the text of each pair that is used as float vector, [n_pairs].
        second: Row of the text of each pair that is used as code, [n_pairs].
        gold: Gold scores, [n_pairs].
        seed: Seed of the resamples.

    Returns:
        "spearman" and "pearson".
    """
    scores = np.stack([_dots(each.floats[first], each.decoded[second]) for each in points])
    rng = np.random.default_rng(seed)
    n = len(gold)
    draws = [np.arange(n), *(rng.integers(n, size=n) for _ in range(RESAMPLES))]
    spearman = np.stack([_spearman(scores[:, each], gold[each]) for each in draws])
    pearson = np.stack([_pearson(scores[:, each], gold[each]) for each in draws])
    return {"spearman": _of_draws(spearman), "pearson": _of_draws(pearson)}


def triplet_accuracy(
    points: Iterable[Vectors], anchors: Rows, positives: Rows, negatives: Rows
) -> dict[str, SimilarityScores]:
    """Return "accuracy", the share of triplets whose positive scores above the negative."""
    right = [
        _dots(each.floats[anchors], each.decoded[positives])
        > _dots(each.floats[anchors], each.decoded[negatives])
        for each in points
    ]
    return {"accuracy": _of_items(np.stack(right))}


def label_agreement(
    points: Iterable[Vectors],
    train: Rows,
    test: Rows,
    labels: Sequence[str],
    *,
    k: int,
    seed: int,
) -> dict[str, SimilarityScores]:
    """Classify texts by their nearest neighbors, and cluster them.

    Args:
        points: Vectors of the texts at each point.
        train: Rows of the texts with known labels.
        test: Rows of the texts to classify and to cluster.
        labels: Correct label of every text.
        k: Number of neighbors that vote.
        seed: Seed of the clustering.

    Returns:
        "knn-accuracy@k" and "v-measure".
    """
    numbers = np.unique(np.asarray(labels), return_inverse=True)[1]
    right, agreed = [], []
    for each in points:
        voted = _vote(each.floats[test], each.decoded[train], numbers[train], k)
        right.append(voted == numbers[test])
        agreed.append(_v_measure(each.decoded[test], numbers[test], seed))
    clustered = np.array(agreed)
    empty = np.empty((0, 0))
    retention = retentions(clustered[:, None], clustered[:1])
    return {
        f"knn-accuracy@{k}": _of_items(np.stack(right)),
        "v-measure": SimilarityScores(clustered, retention, empty, empty),
    }


def _vote(test: Embeddings, train: Embeddings, labels: Rows, k: int) -> Rows:
    """Return the most frequent label of the k nearest; of equally frequent labels, the nearest."""
    voted = np.empty(len(test), dtype=np.int64)
    for start in range(0, len(test), _BLOCK):
        rows = best(test[start : start + _BLOCK] @ train.T, k)[1]
        near = labels[rows]
        votes = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        # Columns are ordered by distance, and argmax returns the first column with most votes.
        most = votes.argmax(axis=1)[:, None]
        voted[start : start + _BLOCK] = np.take_along_axis(near, most, 1)[:, 0]
    return voted


def _v_measure(vectors: Embeddings, labels: Rows, seed: int) -> float:
    """Return the v-measure of a k-means clustering (Rosenberg and Hirschberg 2007).

    The number of clusters is the number of labels. A single clustering varies by 2 or 3 percent, so
    the mean of several is returned.
    """
    cluster = require("sklearn.cluster", extra="models")
    metrics = require("sklearn.metrics", extra="models")
    n_clusters = len(np.unique(labels))
    scores = []
    for start in range(_CLUSTERINGS):
        means = cluster.MiniBatchKMeans(
            n_clusters,
            batch_size=_CLUSTERING_BATCH,
            n_init=1,
            random_state=seed * _CLUSTERINGS + start,
        )
        with warnings.catch_warnings():
            # Codes of few bits can have fewer distinct values than clusters, which is expected.
            warnings.filterwarnings("ignore", message="Number of distinct clusters")
            scores.append(metrics.v_measure_score(labels, means.fit_predict(vectors)))
    return float(np.mean(scores))


def _dots(floats: Embeddings, decoded: Embeddings) -> Embeddings:
    dots: Embeddings = np.einsum("ij,ij->i", floats, decoded)
    return dots


def _spearman(scores: Embeddings, gold: Scores) -> Scores:
    from scipy.stats import rankdata

    return _pearson(rankdata(scores, axis=1), rankdata(gold))


def _pearson(values: NDArray[np.floating], gold: Scores) -> Scores:
    """Correlate each row with gold, [n_points, n] and [n] -> [n_points]; 0 if one is constant."""
    values = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    gold = gold - gold.mean()
    lengths = np.sqrt((values**2).sum(axis=1) * (gold**2).sum())
    result: Scores = np.divide(values @ gold, lengths, out=np.zeros(len(values)), where=lengths > 0)
    return result


def _of_draws(draws: NDArray[np.float64]) -> SimilarityScores:
    """Compute scores from correlations, [1 + n_resamples, n_points]; the first row is all items."""
    full = draws[:, :1]
    retention = np.divide(draws, full, out=np.zeros_like(draws), where=full > 0)
    intervals = np.quantile(retention[1:], (0.025, 0.975), axis=0).T
    return SimilarityScores(draws[0], retention[0], intervals, np.empty((0, 0)))


def _of_items(right: NDArray[np.bool_]) -> SimilarityScores:
    """Compute scores from the result of each item, [n_points, n_items]."""
    items = right.astype(np.float64)
    retention, intervals = retentions(items, items[0]), retention_intervals(items, items[0])
    return SimilarityScores(items.mean(axis=1), retention, intervals, items)
