"""Measure a model on scored pairs, triplets or labeled texts, and return a curve.

As in a search, one side is codes and the other is floats: score(a, b) = <prepare(a), decode(b)>.
These tasks have no shortlist, so only points of one stage are measured. Times are those of a search
of all texts. All texts are encoded as documents. If a model has another prompt for such tasks, load
the model with this prompt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestvec.curve.curve import Curve
from nestvec.curve.point import Cost, CurvePoint, Interval
from nestvec.curve.query_scores import QueryScores
from nestvec.data.similarity import LabeledTexts, ScoredPairs, SimilaritySet, Triplets
from nestvec.engines.flat.representations import Representations
from nestvec.engines.registry import LOCAL, engine_class
from nestvec.errors import InvalidArgument, ModelError
from nestvec.measure.comparisons import (
    SimilarityScores,
    Vectors,
    correlations,
    label_agreement,
    triplet_accuracy,
)
from nestvec.measure.cost import costs
from nestvec.measure.exhaustive import Steps
from nestvec.measure.grid import DEFAULT_GRID, Grid
from nestvec.measure.machine import describe_machine
from nestvec.models.encoding import embed_timed
from nestvec.models.info import check_truncation
from nestvec.models.load import as_encoder
from nestvec.models.paired import PairedEncoder
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Embeddings, Encoder, OnProgress, OperatingPoint, Rows, begin_step

if TYPE_CHECKING:
    from nestvec.models.load import ModelLike

NEIGHBORS = 10
_SEARCH_ONLY = (
    *("keeps", "metrics", "depth", "group_by", "slice_by", "baselines", "keep_self"),
    "filter_by",
)
_logger = logging.getLogger(__name__)


def evaluate_similarity(
    model: ModelLike,
    data: SimilaritySet,
    grid: Grid = DEFAULT_GRID,
    *,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
) -> Curve:
    """Measure all single-stage points of a grid on a similarity task.

    The metrics depend on the data:

    - Scored pairs: "spearman" and "pearson", the correlations with the gold scores.
    - Triplets: "accuracy", the share of triplets whose positive scores above the negative.
    - Labeled texts: "knn-accuracy@10", by a vote of the ten nearest training texts, and
      "v-measure", of k-means on the decoded test texts with as many clusters as labels, as the mean
      of ten clusterings.

    Only "accuracy" and "knn-accuracy@10" have a value for each item. "v-measure" has no interval.

    Args:
        model: As in ``evaluate``. Each distinct text is encoded once.
        data: Data as returned by ``load_similarity``.
        grid: Dims and precisions. Other settings of the grid are ignored.
        seed: Seed of resampling and clustering.
        on_progress: Called with the texts encoded and their total, then with the measuring steps.

    Raises:
        InvalidArgument: If a dim is larger than the model's width.
        ModelError: If the model is a folder of vectors, or returns NaN, infinite values or vectors
            of another width.
        MissingExtra: If the data are labeled texts and scikit-learn is not installed.
    """
    model = as_encoder(model)
    task = _Task.of(data)
    points = _points(model, grid, len(task.texts))
    begin_step(on_progress, "encode texts", "texts")
    vectors, encode_ms = _embed(model, data.name, task.texts, on_progress)
    begin_step(on_progress, "measure")
    with Representations(vectors, layer_norm=model.info.layer_norm) as corpus:
        step = Steps(2 * len(points), on_progress)
        at_points = _at_points(points, vectors, corpus, step)
        measured = _measure(data, task, at_points, seed)
        ids = [f"{row:012}" for row in reversed(range(len(task.texts)))]
        with closing(engine_class(LOCAL).trial(corpus, ids, {})) as trial:
            cost = costs(points, vectors, trial, on_step=step)
        n_zero = len(corpus.empty)
    return Curve(
        model=model.info,
        dataset=_describe(data, task),
        machine=describe_machine(),
        points=tuple(_row(i, point, measured, cost[point]) for i, point in enumerate(points)),
        scores=_item_scores(measured, len(points), len(task.items)),
        encode_ms=encode_ms,
        counts={
            **(data.counts if isinstance(data, LabeledTexts) else {}),
            "zero_documents": n_zero,
            "cut_documents": model.count_truncated(task.texts, kind="document"),
        },
    )


@dataclass(frozen=True)
class _Task:
    """A similarity data set as distinct texts and their positions.

    Attributes:
        name: Name of the task in a curve.
        texts: Distinct texts.
        row_of: Position of each text.
        items: The first text of each scored item: pair, triplet, or text to classify.
    """

    name: str
    texts: list[str]
    row_of: dict[str, int]
    items: list[str]

    @classmethod
    def of(cls, data: SimilaritySet) -> _Task:
        match data:
            case ScoredPairs():
                name, columns = "scored pairs", [data.first, data.second]
            case Triplets():
                name, columns = "triplets", [data.anchors, data.positives, data.negatives]
            case LabeledTexts():
                name, columns = "labeled texts", [data.test, data.train]
        texts = list(dict.fromkeys(text for column in columns for text in column))
        return cls(name, texts, {text: row for row, text in enumerate(texts)}, columns[0])

    def rows(self, texts: Sequence[str]) -> Rows:
        return np.array([self.row_of[text] for text in texts], dtype=np.int64)


def _warn_of_unused(grid: Grid) -> None:
    unused = [name for name in _SEARCH_ONLY if getattr(grid, name) != getattr(DEFAULT_GRID, name)]
    if unused:
        _logger.warning("settings that a similarity task does not use: %s", ", ".join(unused))


def _points(model: Encoder, grid: Grid, n_texts: int) -> list[OperatingPoint]:
    _warn_of_unused(grid)
    points = grid.points(
        full_dim=model.info.full_dim, model_dims=model.info.dims, n_documents=n_texts
    )
    single = [point for point in points if len(point.stages) == 1]
    check_truncation(model.info, single)
    return single


def _embed(
    model: Encoder, name: str, texts: list[str], on_progress: OnProgress
) -> tuple[Embeddings, float | None]:
    if isinstance(model, PairedEncoder):
        problem = f"the texts of {name} are compared with each other, so one model encodes them all"
        raise InvalidArgument(f"{problem}. Omit the query model.")
    if isinstance(model, PrecomputedVectors):
        problem = f"contains vectors by id, but the texts of {name} have no ids."
        raise ModelError(f"{model.info.name} {problem} Use the model that encoded the vectors.")
    ids = [f"text {number}" for number in range(1, len(texts) + 1)]
    return embed_timed(model, ids, texts, kind="document", on_progress=on_progress)


def _at_points(
    points: Sequence[OperatingPoint],
    vectors: Embeddings,
    corpus: Representations,
    step: Steps,
) -> Iterator[Vectors]:
    for point in points:
        key = point.stages[0].representation
        yield Vectors(corpus[key].codec.prepare(vectors), corpus.decoded(key))
        step()


def _measure(
    data: SimilaritySet, task: _Task, at_points: Iterator[Vectors], seed: int
) -> dict[str, SimilarityScores]:
    match data:
        case ScoredPairs():
            first, second = task.rows(data.first), task.rows(data.second)
            return correlations(at_points, first, second, np.array(data.scores), seed=seed)
        case Triplets():
            columns = map(task.rows, (data.anchors, data.positives, data.negatives))
            return triplet_accuracy(at_points, *columns)
        case LabeledTexts():
            train, test = task.rows(data.train), task.rows(data.test)
            label_of = dict(zip(data.train, data.train_labels, strict=True))
            label_of |= zip(data.test, data.test_labels, strict=True)
            labels = [label_of[text] for text in task.texts]
            return label_agreement(at_points, train, test, labels, k=NEIGHBORS, seed=seed)


def _row(
    i: int, point: OperatingPoint, measured: dict[str, SimilarityScores], cost: Cost
) -> CurvePoint:
    return CurvePoint(
        point=point,
        metrics={name: float(each.values[i]) for name, each in measured.items()},
        retention={name: float(each.retention[i]) for name, each in measured.items()},
        cost=cost,
        interval={
            name: Interval(*each.intervals[i].tolist())
            for name, each in measured.items()
            if len(each.intervals)
        },
    )


def _item_scores(measured: dict[str, SimilarityScores], n_points: int, n_items: int) -> QueryScores:
    return QueryScores(
        query_ids=np.array([f"item-{number}" for number in range(1, n_items + 1)]),
        metrics={name: each.items for name, each in measured.items() if len(each.items)},
        doc_ids=np.empty(0, dtype=np.str_),
        top=np.empty((n_points, n_items, 0), dtype=np.int32),
    )


def _describe(data: SimilaritySet, task: _Task) -> dict[str, str | int | None]:
    return {
        "name": data.name,
        "split": data.split if isinstance(data, LabeledTexts) else "all",
        "n_documents": len(task.texts),
        "n_queries": len(task.items),
        "task": task.name,
        "depth": NEIGHBORS,
        "evidence": "labels",
        "group_by": None,
    }
