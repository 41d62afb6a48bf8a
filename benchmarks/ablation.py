"""Measure the effect of each option of the nested loss on static models, per dim and in binary.

Every variant differs from equal weights in one option. For each seed, all variants are trained with
the same pairs, batches, first table, steps and learning rate. There are two data sets: docstrings
(train split, searched with the queries of the test split), and sentences of Wikipedia articles with
technical documentation (``pairs``/squad-sent and techdocs, searched with questions about other
articles). nDCG@10 is measured at each trained dim and at some dims between. It is also measured at
1 bit, as nestvec stores it ("binary": rotated) and as plain sign bits ("signs"). Documents are
quantized; queries are not.

Differences from equal weights are averaged over seeds for each query; intervals are over queries.
Each process computes on one thread. The values of the options are first guesses and were not tuned.
Orthogonality has two values, as 10 was worse in a short trial.

    python benchmarks/ablation.py --demo nestvec-demo --data ../shared/data --seeds 3
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tokenizers import Tokenizer

import subjects
from comparison import METRIC, differences_with_intervals, score_points
from nestvec.codec.prefix import prefix
from nestvec.data.training import TrainingPairs, load_pairs
from nestvec.metrics.ranking import best
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.models.static import token_counts
from nestvec.train.static import StaticConfig, tokenize, train_static
from nestvec.train.tokenized import TokenizedPairs
from nestvec.train.tokenizer import row_count
from nestvec.types import Embeddings, OperatingPoint
from record import record

DIMS = (512, 256, 128, 64, 32)
BETWEEN = (384, 96, 48)
EQUAL = "equal weights"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    EQUAL: {},
    "weights 1, 2, 4, 8, 16": {"weights": (1, 2, 4, 8, 16)},
    "teach 1": {"teach": 1.0},
    "random_dims 2": {"random_dims": 2},
    "straight_through int8": {"straight_through": "int8"},
    "straight_through binary": {"straight_through": "binary"},
    "orthogonality 0.1": {"orthogonality": 0.1},
    "orthogonality 1": {"orthogonality": 1.0},
}
POINTS = (
    *(OperatingPoint.single(dim, "float32") for dim in sorted(DIMS + BETWEEN, reverse=True)),
    *(OperatingPoint.single(dim, "binary") for dim in DIMS),
)
NAMES = (*map(str, POINTS), *(f"{dim}:signs" for dim in DIMS))
_PATHS = ("demo", "data")  # options that do not affect the results


@dataclass(frozen=True)
class Subject:
    """A tokenized data set: pairs to train on, and token counts of queries and documents."""

    name: str
    pairs: TokenizedPairs
    queries: csr_array
    corpus: csr_array
    labels: RelevanceLabels


class Run(NamedTuple):
    """A training run: its seconds, and the score of each query, [NAMES, n_queries]."""

    subject: str
    variant: str
    seed: int
    train_s: float
    scores: NDArray[np.float64]


def main() -> None:
    """Train and measure every variant on every set for every seed, and record it."""
    options = _options().parse_args()
    # Libraries read these variables at their first use, in this process and in child processes.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    config = StaticConfig(
        DIMS, batch_size=options.batch, epochs=options.epochs, learning_rate=options.rate
    )
    runs: list[Run] = []
    sizes: dict[str, int] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        for subject in _subjects(options, config):
            sizes[subject.name] = subject.pairs.anchors.shape[0]
            waiting = [
                pool.submit(_run, subject, variant, replace(config, seed=seed))
                for seed in range(options.seeds)
                for variant in VARIANTS
            ]
            for each in waiting:
                runs.append(each.result())
                print(*runs[-1][:4], *runs[-1].scores.mean(axis=1).round(4), flush=True)
    rows = [row for name in sizes for row in _compare([run for run in runs if run.subject == name])]
    settings = {name: value for name, value in vars(options).items() if name not in _PATHS}
    settings |= {"metric": METRIC, "dims": DIMS, "variants": VARIANTS}
    print(record("ablation", settings=settings, results={"pairs": sizes, "rows": rows}))


def _options() -> argparse.ArgumentParser:
    parser = subjects.options(__doc__, queries=1500)
    parser.add_argument("--pairs", type=int, default=30_000, help="Most pairs of each set.")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=StaticConfig.learning_rate)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    return parser


def _subjects(options: argparse.Namespace, config: StaticConfig) -> Iterator[Subject]:
    files = [options.data / "pairs" / f"{name}.jsonl.gz" for name in ("squad-sent", "techdocs")]
    for name, paths in (("docstrings", [options.demo / "data"]), ("squad-sent", files)):
        texts = _first(load_pairs(paths), options.pairs)
        pairs = tokenize(texts, config)
        data = subjects.retrieval_set(name, data=options.data, demo=options.demo)
        document_ids, query_ids = sorted(data.corpus, reverse=True), list(data.queries)
        query_ids = query_ids[: options.queries]
        yield Subject(
            name,
            pairs,
            _counts(pairs.tokenizer, [data.queries[i] for i in query_ids]),
            _counts(pairs.tokenizer, [data.corpus[i].content for i in document_ids]),
            RelevanceLabels.from_qrels(data.qrels, query_ids, document_ids),
        )


def _first(pairs: TrainingPairs, n: int) -> TrainingPairs:
    return TrainingPairs(pairs.anchors[:n], pairs.positives[:n], pairs.negatives[:n])


def _counts(tokenizer: Tokenizer, texts: list[str]) -> csr_array:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return token_counts([encoding.ids for encoding in encodings], row_count(tokenizer))


def _run(subject: Subject, variant: str, config: StaticConfig) -> Run:
    start = time.perf_counter()
    table = train_static(subject.pairs, replace(config, **VARIANTS[variant])).table
    train_s = time.perf_counter() - start
    # Sums of token vectors, not means: cosines are the same.
    queries, corpus = subject.queries @ table, subject.corpus @ table
    judged = subject.labels
    scores = [score_points(POINTS, queries, corpus, judged), _score_signs(queries, corpus, judged)]
    return Run(subject.name, variant, config.seed, train_s, np.concatenate(scores))


def _score_signs(
    queries: Embeddings, corpus: Embeddings, judged: RelevanceLabels
) -> NDArray[np.float64]:
    """Return the score of each query with documents as sign bits, [n_dims, n_queries]."""
    signs = np.where(corpus < 0, np.float32(-1), np.float32(1))
    found = []
    for dim in DIMS:
        ranked = best(prefix(queries, dim) @ signs[:, :dim].T, 10)
        found.append(score(METRIC, judged.grades(ranked.rows), judged))
    return np.array(found, dtype=np.float64)


def _compare(runs: list[Run]) -> Iterator[dict[str, Any]]:
    """Yield a row for each variant of a set and each name in NAMES."""
    scores = {
        variant: [run.scores for run in runs if run.variant == variant] for variant in VARIANTS
    }
    for variant, found in scores.items():
        seconds = [round(run.train_s, 1) for run in runs if run.variant == variant]
        differences = differences_with_intervals(found, scores[EQUAL])
        for number, name in enumerate(NAMES):
            of_seeds = [float(seed[number].mean()) for seed in found]
            row = {"set": runs[0].subject, "variant": variant, "point": name, "seeds": of_seeds}
            yield row | differences[number] | {"train_s": seconds}


if __name__ == "__main__":
    main()
