"""Synthetic curves: 5 dims x 6 precisions, with and without rescoring, 2,000 queries."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from nestvec.curve.curve import Curve
from nestvec.curve.point import BaselinePoint, Cost, CurvePoint, Interval, SizeRetention
from nestvec.curve.query_scores import QueryScores
from nestvec.planning.choose import Budget, plan
from nestvec.types import ModelInfo, OperatingPoint, Stage

DIMS = (512, 256, 128, 64, 32)
BITS = {"float32": 32, "float16": 16, "int8": 8, "int4": 4, "int2": 2, "binary": 1}
QUERIES = 2000
DOCUMENTS = 46254
TOP = 10


def build_curve(*, loss=1.0, level=0.6, dims=DIMS, name="some/model"):
    """Make a curve whose quality falls with log2(full / dim) and with bits below 4."""
    full = dims[0]
    points = [OperatingPoint.single(*each) for each in product(dims, BITS)]
    points += [
        OperatingPoint((Stage(dim, precision, 200), Stage(full, "int8")))
        for dim, precision in product(dims, ("int4", "binary"))
    ]
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 2 * level, QUERIES).clip(0, 1)
    scores = np.stack([base * (1 - _lost(point, full, loss)) for point in points])
    means = scores.mean(axis=1)
    rows = tuple(
        CurvePoint(
            point,
            {"ndcg@10": float(mean)},
            {"ndcg@10": float(mean / means[0] if means[0] else 0)},
            _cost(point, full),
        )
        for point, mean in zip(points, means, strict=True)
    )
    return Curve(
        model=ModelInfo(name, "f" * 64, full, tuple(dims), "config.json", True),
        dataset={
            "name": "docs",
            "split": "test",
            "n_documents": DOCUMENTS,
            "n_queries": QUERIES,
            "task": "retrieval",
        },
        machine={"processor": "a processor", "cores": 2, "versions": {"numpy": "2.4"}},
        points=rows,
        scores=QueryScores(
            query_ids=np.array([f"q{i}" for i in range(QUERIES)]),
            metrics={"ndcg@10": scores},
            doc_ids=np.array(["d"]),
            top=np.zeros((len(points), QUERIES, 1), np.int32),
        ),
        encode_ms=0.1,
    )


def enrich(curve):
    """Add intervals, corpus sizes, texts, slices and baselines, as ``evaluate`` measures them."""
    rows = tuple(_with_all(row) for row in curve.points)
    return replace(curve, points=rows, scores=_with_texts(curve), baselines=_baselines(curve))


def _with_all(row):
    retention, lost = row.retention["ndcg@10"], 1 - row.retention["ndcg@10"]
    sizes = tuple(
        SizeRetention(DOCUMENTS // part, 1 - lost / part, 1 - lost / part - 0.01, 1 - lost / part)
        for part in (4, 2, 1)
    )
    return replace(
        row,
        cost=replace(row.cost, batch_qps=1234.0, cold_p50_ms=7.7),
        interval={"ndcg@10": Interval(retention - 0.012, retention + 0.01)},
        by_size={"ndcg@10": sizes},
        k_for_full_recall=10 + round(100 * lost),
    )


def _with_texts(curve):
    """Return documents i, i + 1, ... for query i; rescored points start at document i + 1."""
    shift = np.array([len(row.point.stages) > 1 for row in curve.points], dtype=int)
    places = np.arange(QUERIES)[:, None] + np.arange(TOP)
    top = (places[None] + shift[:, None, None]).astype(np.int32)
    return replace(
        curve.scores,
        doc_ids=np.array([f"d{i}" for i in range(QUERIES + TOP + 3)]),
        doc_titles=np.array([f"Title of {i}" for i in range(QUERIES + TOP + 3)]),
        query_texts=np.array([f"what is {i}?" for i in range(QUERIES)]),
        top=top,
        top_relevant=top == np.arange(QUERIES)[None, :, None],
        slices={"language": np.array(["de"] * 5 + ["en"] * 500 + ["fr"] * (QUERIES - 505))},
    )


def _baselines(curve):
    full = curve.full.metrics["ndcg@10"]
    worse = {"svd": 0.015, "pca": 0.03, "random": 0.06}
    return {"bm25": (BaselinePoint(None, {"ndcg@10": 0.5}),)} | {
        name: tuple(
            BaselinePoint(dim, {"ndcg@10": full * (1 - each * np.log2(512 / dim) ** 1.8)})
            for dim in DIMS
        )
        for name, each in worse.items()
    }


def _lost(point, full, loss):
    first, *others = point.stages
    lost = loss * 0.02 * np.log2(full / first.dim) ** 2 + {1: 0.1, 2: 0.04}.get(
        BITS[first.precision], 0
    )
    return lost * 0.1 if others else lost


def _cost(point, full):
    first, *others = point.stages
    disk = full if others else 0
    return Cost(first.dim * BITS[first.precision] / 8, disk, 200 * disk, 0.1, 0.5, 0.8, 1.2)


@pytest.fixture(scope="session")
def make_curve():
    return build_curve


@pytest.fixture(scope="session")
def curves():
    main = build_curve().with_baseline("bm25", {"ndcg@10": 0.5})
    return {"Matryoshka": main, "no Matryoshka": build_curve(loss=1.6, level=0.597)}


@pytest.fixture(scope="session")
def rich(curves):
    return {**curves, "Matryoshka": enrich(curves["Matryoshka"])}


@pytest.fixture(scope="session")
def agreement():
    """A curve of agreement with full precision, without relevance labels."""
    curve = enrich(build_curve(level=1e6))
    rows = tuple(
        replace(
            row,
            metrics={"overlap@10": row.metrics["ndcg@10"]},
            retention={"overlap@10": row.retention["ndcg@10"]},
            interval={},
            by_size={},
        )
        for row in curve.points
    )
    scores = replace(
        curve.scores,
        metrics={"overlap@10": curve.scores.metrics["ndcg@10"]},
        top_relevant=np.empty((0, 0, 0), np.bool_),
    )
    dataset = {**curve.dataset, "evidence": "agreement"}
    return replace(curve, points=rows, scores=scores, dataset=dataset, baselines={})


@pytest.fixture(scope="session")
def confirmed(curves):
    return plan(curves["Matryoshka"], Budget(min_retention=0.98))


@pytest.fixture(scope="session")
def unconfirmed(confirmed):
    return replace(confirmed, confirmed=False, retention=0.985, at_least=0.9649)
