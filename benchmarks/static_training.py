"""Compare training a static model from scratch with Sentence Transformers' trainer: time, quality.

"theirs" is SentenceTransformerTrainer with StaticEmbedding and MatryoshkaLoss around
MultipleNegativesRankingLoss. Its ``bf16=True`` is not used: the loss is outside its autocast, and
every score was the same. "ours" is ``train_static``. Both compute in float32; "ours" is also
measured with bfloat16 products.

Both have the same pairs (the train split of the docstrings), tokenizer, first table, dims, batch
size, epochs, warm-up and threads; the learning rates differ. They run in turn, once for each seed.
The time of a step is measured from the end of a step to the end of the next. ``train_s`` is the
time of ``trainer.train()``, which tokenizes each batch, and of ``train_static``. ``tokenize_s`` is
the time that "ours" needs to tokenize all pairs once, before training. nDCG@10 is measured on the
test split, with the difference of both for each query.

    pip install accelerate datasets
    python benchmarks/static_training.py --demo nestvec-demo --epochs 10 --seeds 3
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

import subjects
from comparison import METRIC, differences_with_intervals, score_points
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.training import TrainingPairs, load_pairs
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.models.load import load_model
from nestvec.models.static import save_static_model
from nestvec.train.static import StaticConfig, tokenize, train_static
from nestvec.types import Embeddings, OperatingPoint
from record import record

DIMS = (512, 256, 128, 64, 32)
THEIRS, OURS, OURS_BF16 = WAYS = ("theirs", "ours", "ours, bfloat16")
WARM_UP = 0.1
_PATHS = ("demo", "data")  # options that do not affect the results


@dataclass(frozen=True)
class Trained:
    """A token table, [vocab, 512], with the seconds of all steps and of the median step."""

    table: Embeddings
    train_s: float
    step_s: float


def main() -> None:
    """Train and measure every way for every seed, and record the results."""
    options = _options().parse_args()
    torch.set_num_threads(options.threads)
    config = StaticConfig(DIMS, batch_size=options.batch, epochs=options.epochs)
    pairs = _first(load_pairs([options.demo / "data"]), options.pairs)
    tokenizer = tokenize(pairs, config).tokenizer
    start = time.perf_counter()
    tokenize(pairs, config, tokenizer=tokenizer)
    tokenize_s = time.perf_counter() - start
    data = subjects.retrieval_set("docstrings", data=options.data, demo=options.demo)
    rates = dict.fromkeys(WAYS, options.our_rate) | {THEIRS: options.their_rate}
    runs: list[dict[str, Any]] = []
    scores: dict[str, list[NDArray[np.float64]]] = {way: [] for way in WAYS}
    for seed in range(options.seeds):
        for way in WAYS:
            each = replace(config, learning_rate=rates[way], seed=seed, bfloat16=way == OURS_BF16)
            trained = (_theirs if way == THEIRS else _ours)(pairs, tokenizer, each)
            found = _evaluate(tokenizer, trained.table, data, options.queries)
            scores[way].append(found)
            means = dict(zip(DIMS, np.mean(found, axis=1).round(4).tolist(), strict=True))
            runs.append({"way": way, "seed": seed, METRIC: means})
            runs[-1] |= {"train_s": trained.train_s, "step_s": trained.step_s}
            print(runs[-1], flush=True)
    results: dict[str, Any] = {"pairs": len(pairs), "tokenize_s": tokenize_s, "runs": runs}
    results |= {"times_faster": {}, "better": {}}
    for way in WAYS[1:]:
        results["times_faster"][way] = _faster(runs, way, tokenize_s)
        found = differences_with_intervals(scores[way], scores[THEIRS])
        results["better"][way] = [{"dim": d, **row} for d, row in zip(DIMS, found, strict=True)]
    print(results["times_faster"], results["better"])
    settings = {name: value for name, value in vars(options).items() if name not in _PATHS}
    settings |= {"dims": DIMS, "warm_up": WARM_UP, "scale": config.scale}
    print(record("static_training", settings=settings, results=results))


def _options() -> argparse.ArgumentParser:
    parser = subjects.options(__doc__, queries=2000)
    parser.add_argument("--pairs", type=int, help="Number of pairs; default all.")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--their-rate", type=float, default=0.2)
    parser.add_argument("--our-rate", type=float, default=StaticConfig.learning_rate)
    return parser


def _first(pairs: TrainingPairs, n: int | None) -> TrainingPairs:
    return TrainingPairs(pairs.anchors[:n], pairs.positives[:n], pairs.negatives[:n])


def _ours(pairs: TrainingPairs, tokenizer: Tokenizer, config: StaticConfig) -> Trained:
    tokens = tokenize(pairs, config, tokenizer=tokenizer)
    ends: list[float] = []
    start = time.perf_counter()
    model = train_static(
        tokens, config, on_progress=lambda done, total: ends.append(time.perf_counter())
    )
    return _timed(model.table, start, ends)


def _theirs(pairs: TrainingPairs, tokenizer: Tokenizer, config: StaticConfig) -> Trained:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    truncating = Tokenizer.from_str(tokenizer.to_str())
    truncating.enable_truncation(config.max_tokens)
    rng = np.random.default_rng(config.seed)
    table = rng.standard_normal((truncating.get_vocab_size(), DIMS[0]), dtype=np.float32)
    module = StaticEmbedding(truncating, embedding_weights=table)
    model = SentenceTransformer(modules=[module], device="cpu")
    plain = losses.MultipleNegativesRankingLoss(model, scale=config.scale)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = SentenceTransformerTrainer(
            model=model,
            args=_arguments(config, scratch),
            train_dataset=Dataset.from_dict({"anchor": pairs.anchors, "positive": pairs.positives}),
            loss=losses.MatryoshkaLoss(model, plain, list(config.dims)),
            callbacks=[Clock()],
        )
        start = time.perf_counter()
        trainer.train()
        return _timed(module.embedding.weight.detach().numpy(), start, ends)


def _arguments(config: StaticConfig, scratch: str) -> Any:
    """Return the trainer's arguments, without evaluation, saving and reporting."""
    from sentence_transformers import SentenceTransformerTrainingArguments

    return SentenceTransformerTrainingArguments(
        output_dir=scratch,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        dataloader_drop_last=True,
        learning_rate=config.learning_rate,
        warmup_steps=WARM_UP,  # below 1: a share of all steps
        seed=config.seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _timed(table: Embeddings, start: float, ends: list[float]) -> Trained:
    train_s = time.perf_counter() - start
    return Trained(table, train_s, float(np.median(np.diff(ends))))


def _evaluate(
    tokenizer: Tokenizer, table: Embeddings, data: RetrievalSet, max_queries: int
) -> NDArray[np.float64]:
    """Return the score of each query at each dim, [n_dims, n_queries]."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_static_model(table, tokenizer, folder, matryoshka_dims=DIMS, extra={})
        model = load_model(folder)
    document_ids, query_ids = sorted(data.corpus, reverse=True), list(data.queries)[:max_queries]
    queries = model.encode([data.queries[i] for i in query_ids], kind="query")
    corpus = model.encode([data.corpus[i].content for i in document_ids], kind="document")
    labels = RelevanceLabels.from_qrels(data.qrels, query_ids, document_ids)
    points = [OperatingPoint.single(dim, "float32") for dim in DIMS]
    return score_points(points, queries, corpus, labels)


def _faster(runs: Sequence[dict[str, Any]], ours: str, tokenize_s: float) -> dict[str, float]:
    """Return the speedup of ``ours`` over THEIRS, from medians over seeds."""

    def seconds(way: str, name: str) -> float:
        return float(median(run[name] for run in runs if run["way"] == way))

    own = seconds(ours, "train_s")
    return {
        "step": seconds(THEIRS, "step_s") / seconds(ours, "step_s"),
        "train": seconds(THEIRS, "train_s") / own,
        "train_and_tokenize": seconds(THEIRS, "train_s") / (own + tokenize_s),
    }


if __name__ == "__main__":
    main()
