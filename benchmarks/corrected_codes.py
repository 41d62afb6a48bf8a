"""Compare codes that store a correction for each vector with plain codes at equal bytes.

The corrections are counted: at 16 bytes, a code with a correction of 2 bytes has 14 bytes for dims.
Also measures codes of which only the leading bits are read, next to codes of as many bits. Scores
are computed exhaustively in NumPy, so the results do not depend on a search library.

    python benchmarks/corrected_codes.py corpus --data ../shared/data --cache /tmp/embeddings
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import subjects
from code_corrections import (
    CORRECTED,
    NESTED,
    PLAIN,
    PRECISION_OF_BITS,
    Queries,
    Storage,
    Values,
    Way,
    stored,
)
from nestvec.codec.center import Center
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import normalize
from nestvec.metrics.ranking import TopRows, best
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.models.load import load_model
from nestvec.types import Embeddings, Rows
from record import record
from speed_corpus import Corpus

K, KEEP, NEEDED = 10, 100, 0.99
N_SENTENCES, N_QUERIES = 200_000, 300
STATIC, GENERAL = "static Matryoshka 512", "all-MiniLM-L6-v2 384"
SIZES = (8, 16, 32, 64, 128)
STORAGES: tuple[Storage, ...] = ("free", "byte", "float16")
_BLOCK, _SAMPLE = 20_000, 20_000  # vectors scored at a time; vectors with which bytes are fitted
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Subject:
    """The vectors of a model on a data set.

    Attributes:
        name: The name in tables.
        corpus: Unit vectors, [n, full_dim].
        queries: Unit vectors, [n_queries, full_dim].
        ndcg: A function of the best rows of each query, [n_queries, K], that returns nDCG@10.
    """

    name: str
    corpus: Embeddings
    queries: Embeddings
    ndcg: Callable[[Rows], float]


@dataclass(frozen=True)
class Task:
    """One way to score codes of a size, with its values stored in one format."""

    way: Way
    storage: Storage
    bits: int
    dim: int
    size: int


def main() -> None:
    """Measure every way on every set, and record the results."""
    parser = subjects.options(__doc__, queries=500)
    parser.add_argument("folder", type=Path, help="A folder of sentences.py.")
    parser.add_argument("--cache", type=Path, help="Folder of the embedding cache.")
    options = parser.parse_args()
    results = []
    for subject in _subjects(options):
        for row in measure(subject):
            results.append({"set": subject.name, **row})
            print(results[-1], flush=True)
    settings = {
        "k": K,
        "keep": KEEP,
        "sizes": SIZES,
        "sentences": N_SENTENCES,
        "queries_of_sentences": N_QUERIES,
        "max_queries": options.queries,
    }
    print(record("corrected_codes", settings=settings, results=results))


def _subjects(options: argparse.Namespace) -> Iterator[Subject]:
    static = load_model(options.demo / "model")
    general = load_model(subjects.minilm_folder(), cache=options.cache)
    for name, label, model in (
        ("SciFact", STATIC, static),
        ("cosqa", GENERAL, general),
        ("squad-sent", GENERAL, general),
    ):
        data = subjects.retrieval_set(name.lower(), data=options.data, demo=options.demo)
        documents, asked = sorted(data.corpus, reverse=True), list(data.queries)[: options.queries]
        labels = RelevanceLabels.from_qrels(data.qrels, asked, documents)

        def ndcg(rows: Rows, labels: RelevanceLabels = labels) -> float:
            return float(score(f"ndcg@{K}", labels.grades(rows), labels).mean())

        texts = [data.corpus[each].content for each in documents]
        corpus = normalize(model.encode(texts, kind="document"))
        queries = normalize(model.encode([data.queries[each] for each in asked], kind="query"))
        yield Subject(f"{name}, {label}", corpus, queries, ndcg)
    found = Corpus(options.folder, N_SENTENCES, options.folder, N_QUERIES)
    yield Subject(
        f"{N_SENTENCES:,} sentences, {STATIC}",
        found.vectors,
        found.queries,
        lambda rows: (found.ndcg([rows]) or [0.0])[0],
    )


def measure(subject: Subject) -> Iterator[dict[str, Any]]:
    """Yield one row for each task; tasks of equal codes share their decoded vectors."""
    exact = _exact(subject)
    groups: dict[tuple[int, int], list[Task]] = {}
    for task in tasks(subject.corpus.shape[1]):
        groups.setdefault((task.bits, task.dim), []).append(task)
    reference = subject.ndcg(exact)
    for (bits, dim), group in groups.items():
        codec = Codec.fit(subject.corpus, dim, PRECISION_OF_BITS[bits])
        for task, (ranks, rows) in zip(group, _search(subject, codec, group, exact), strict=True):
            yield {
                "way": task.way.name,
                "storage": task.storage,
                "bits": bits,
                "dim": dim,
                "bytes": task.size,
                "overlap": _share(ranks < K),
                "overlap_rescored": _share(ranks < KEEP),
                "shortlist_99": int(np.quantile(ranks, NEEDED, method="higher")) + 1,
                "ndcg": round(subject.ndcg(rows) / reference, 4),
            }


def tasks(full_dim: int) -> Iterator[Task]:
    """Yield all tasks: at each size and number of bits, every way and every storage."""
    for bits in PRECISION_OF_BITS:
        for size in SIZES:
            dim = 8 * size // bits
            nested = [way for way in NESTED if way.leading_of > bits]
            if dim <= full_dim:
                yield from (Task(way, "free", bits, dim, size) for way in (PLAIN, *nested))
            for way in CORRECTED:
                for storage in STORAGES:
                    dim = 8 * (size - way.extra_bytes(storage)) // bits
                    if 8 <= dim <= full_dim:
                        yield Task(way, storage, bits, dim, size)


def _search(
    subject: Subject, codec: Codec, group: Sequence[Task], exact: Rows
) -> list[tuple[Rows, Rows]]:
    """Return, for each task, the ranks of the exact best rows, and the best rows."""
    queries = Queries.prepare(codec, subject.queries)
    sample = _fit(codec, subject.corpus[:: -(-len(subject.corpus) // _SAMPLE)], group)
    own = np.arange(exact.size).reshape(exact.shape)
    best_vectors = subject.corpus[exact.ravel()]
    limits = [
        np.take_along_axis(scores, own, axis=1)
        for scores in _scores(codec, best_vectors, group, sample, queries)
    ]
    ranks = [np.zeros(exact.shape, np.int64) for _ in group]
    tops = [TopRows(len(exact), K) for _ in group]
    for start in range(0, len(subject.corpus), _BLOCK):
        block = subject.corpus[start : start + _BLOCK]
        for number, scores in enumerate(_scores(codec, block, group, sample, queries)):
            tops[number].add(scores, np.arange(start, start + len(block)))
            ranks[number] += _count_higher(scores, limits[number])
    return [(each, top.ranked().rows) for each, top in zip(ranks, tops, strict=True)]


def _count_higher(scores: Embeddings, limits: Embeddings) -> Rows:
    """Count the scores of each query above each of its limits, [n_queries, n_limits]."""
    limits = limits + _ROUNDING  # summed in another order; a row must not outrank itself
    lowest = limits.min(axis=1, keepdims=True)
    lines, columns = np.divmod(np.flatnonzero(scores > lowest), scores.shape[1])
    above = scores[lines, columns][:, None] > limits[lines]
    counts = [np.bincount(lines[each], minlength=len(limits)) for each in above.T]
    return np.stack(counts, axis=1)


def _fit(codec: Codec, sample: Embeddings, group: Sequence[Task]) -> Mapping[Way, Values]:
    """Return the values of a sample of vectors, with which bytes are fitted."""
    center, residuals = _residuals(codec, sample)
    ways = {task.way: task.way.fit for task in group}
    return {
        way: fit(residuals, way.decode(codec, residuals), center)
        for way, fit in ways.items()
        if fit is not None
    }


def _scores(
    codec: Codec,
    block: Embeddings,
    group: Sequence[Task],
    sample: Mapping[Way, Values],
    queries: Queries,
) -> Iterator[Embeddings]:
    """Yield the scores of each task, [n_queries, n]; tasks of equal codes share products."""
    center, residuals = _residuals(codec, block)
    decoded: dict[tuple[bool, int], Embeddings] = {}
    products: dict[tuple[bool, int, bool], Embeddings] = {}
    for task in group:
        way, values = task.way, np.empty((len(block), 0), np.float32)
        if way.key[:2] not in decoded:
            decoded[way.key[:2]] = way.decode(codec, residuals)
        own = decoded[way.key[:2]]
        if way.key not in products:
            products[way.key] = queries.of(way) @ own.T
        if way.fit is not None:
            values = stored(way.fit(residuals, own, center), task.storage, sample[way])
        yield way.scores(queries, products[way.key], values)


def _residuals(codec: Codec, vectors: Embeddings) -> tuple[Center, Embeddings]:
    center = codec.center
    assert center is not None, "the precision has no center"
    return center, center.residuals(codec.prepare(np.ascontiguousarray(vectors)))


def _exact(subject: Subject) -> Rows:
    found = None
    for start in range(0, len(subject.corpus), _BLOCK):
        scores = subject.queries @ subject.corpus[start : start + _BLOCK].T
        found = best(np.ascontiguousarray(scores), K, first_row=start, so_far=found)
    assert found is not None, "no vectors"
    return found.rows


def _share(found: np.ndarray[Any, Any]) -> float:
    return round(float(found.mean()), 4)


if __name__ == "__main__":
    main()
