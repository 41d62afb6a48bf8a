"""What is measured of texts that are compared: correlation, accuracy, neighbors' votes, clusters.

Pure functions on arrays. The vectors of the points come one after another, as all of them together
would not fit; where a metric has a value for each item, these are kept.
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

RESAMPLES = 300  # of a correlation, which ranks anew in each
_BLOCK = 1_024  # texts whose scores are held at a time
_CLUSTERINGS, _CLUSTERING_BATCH = 10, 1_024


class Vectors(NamedTuple):
    """All texts at one point.

    Attributes:
        floats: As a query is compared, [n, dim].
        decoded: What the codes stand for, [n, dim].
    """

    floats: Embeddings
    decoded: Embeddings


@dataclass(frozen=True)
class SimilarityScores:
    """One metric at every point, that of full precision first.

    Attributes:
        values: [n_points].
        kept: Share of the value at full precision, [n_points].
        ends: Where that lies with 95 % confidence, [n_points, 2]; empty where that is not known.
        items: What each item scored, [n_points, n_items]; empty where only the whole has a value.
    """

    values: Scores
    kept: Scores
    ends: NDArray[np.float64]
    items: NDArray[np.float64]


def correlations(
    points: Iterable[Vectors], first: Rows, second: Rows, gold: Scores, *, seed: int
) -> dict[str, SimilarityScores]:
    """Correlate the scores of pairs with those that people gave.

    Args:
        points: The texts at each point.
        first: The text of each pair that stays float, [n_pairs].
        second: The one that is coded.
        gold: People's scores.
        seed: Of the resamples.

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
    """Count the triplets whose positive scores above their negative: "accuracy"."""
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
    """Label texts by their neighbors, and cluster them.

    Args:
        points: The texts at each point.
        train: Texts whose label is known.
        test: Texts to be labeled.
        labels: What is right for each text of all.
        k: How many neighbors vote.
        seed: Of the clustering.

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
    nothing = np.empty((0, 0))
    kept = retentions(clustered[:, None], clustered[:1])
    return {
        f"knn-accuracy@{k}": _of_items(np.stack(right)),
        "v-measure": SimilarityScores(clustered, kept, nothing, nothing),
    }


def _vote(test: Embeddings, train: Embeddings, labels: Rows, k: int) -> Rows:
    """Return the label that most of the k nearest have; of several such the nearest one's."""
    voted = np.empty(len(test), dtype=np.int64)
    for start in range(0, len(test), _BLOCK):
        rows = best(test[start : start + _BLOCK] @ train.T, k)[1]
        near = labels[rows]
        votes = (near[:, :, None] == near[:, None, :]).sum(axis=2)
        # argmax takes the first place of the most votes, and places are in order of nearness.
        most = votes.argmax(axis=1)[:, None]
        voted[start : start + _BLOCK] = np.take_along_axis(near, most, 1)[:, 0]
    return voted


def _v_measure(vectors: Embeddings, labels: Rows, seed: int) -> float:
    """Cluster into as many groups as there are labels (Rosenberg and Hirschberg 2007).

    One clustering is a matter of luck, by 2 or 3 percent: this is the mean of several.
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
            # Codes of few bits have few different values: fewer clusters then are no accident.
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
    """Correlate each line with gold, [n_points, n] and [n] -> [n_points]; 0 where one is flat."""
    values = values - values.mean(axis=1, keepdims=True, dtype=np.float64)
    gold = gold - gold.mean()
    lengths = np.sqrt((values**2).sum(axis=1) * (gold**2).sum())
    result: Scores = np.divide(values @ gold, lengths, out=np.zeros(len(values)), where=lengths > 0)
    return result


def _of_draws(draws: NDArray[np.float64]) -> SimilarityScores:
    """Take correlations of draws, [1 + n_resamples, n_points], those of all items first."""
    full = draws[:, :1]
    kept = np.divide(draws, full, out=np.zeros_like(draws), where=full > 0)
    ends = np.quantile(kept[1:], (0.025, 0.975), axis=0).T
    return SimilarityScores(draws[0], kept[0], ends, np.empty((0, 0)))


def _of_items(right: NDArray[np.bool_]) -> SimilarityScores:
    items = right.astype(np.float64)
    kept, ends = retentions(items, items[0]), retention_intervals(items, items[0])
    return SimilarityScores(items.mean(axis=1), kept, ends, items)
