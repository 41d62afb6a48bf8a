"""Fine-tune with nestvec, or with Sentence Transformers' trainer and losses, for comparison."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from sentence_transformers import SentenceTransformer

from nestvec.data.similarity import ScoredPairs
from nestvec.data.training import TrainingTexts
from nestvec.models.sentence_transformer import SentenceTransformerEncoder, quiet
from nestvec.recipes.finetuned import load_base
from nestvec.train.config import FinetuneConfig, Teacher
from nestvec.train.finetuning import finetune

Contender = Literal["plain", "MatryoshkaLoss", "nestvec"]
CONTENDERS: tuple[Contender, ...] = ("plain", "MatryoshkaLoss", "nestvec")
_WARM_UP = 0.1
_PATHS = ("data",)  # options that do not affect the results


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes:
        contender: The loss at only full width, within MatryoshkaLoss, or the loss of nestvec.
        base: Folder of the base model.
        texts: The training texts.
        config: Dims, rate, steps and seed are used by all contenders, the rest only by nestvec.
        threads: Number of PyTorch threads.
    """

    contender: Contender
    base: Path
    texts: TrainingTexts
    config: FinetuneConfig
    threads: int


def options(
    description: str | None, *, batch: int, rate: float, max_tokens: int
) -> argparse.ArgumentParser:
    """Return a parser of the options of all contenders, and of those for nestvec only."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--max-tokens", type=int, default=max_tokens)
    own = "Only for nestvec."
    parser.add_argument("--weights", type=float, nargs="*", default=[], help=f"Per dim. {own}")
    parser.add_argument("--teach", type=float, default=1.0, help=own)
    parser.add_argument("--teacher", choices=get_args(Teacher), default="itself", help=own)
    parser.add_argument("--blend", type=float, default=0.0, help=own)
    parser.add_argument("--scale", type=float, default=20.0, help=f"{own} Others use 20.")
    parser.add_argument("--jobs", type=int, default=2, help="Number of parallel runs.")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch threads per run.")
    return parser


def config(chosen: argparse.Namespace, dims: tuple[int, ...], seed: int) -> FinetuneConfig:
    """Return the configuration of a run."""
    return FinetuneConfig(
        dims=dims,
        weights=tuple(chosen.weights),
        epochs=chosen.epochs,
        batch_size=chosen.batch,
        learning_rate=chosen.rate,
        max_tokens=chosen.max_tokens,
        dtype="bfloat16",
        scale=chosen.scale,
        teach=chosen.teach,
        teacher=chosen.teacher,
        blend=chosen.blend,
        checks=1,
        seed=seed,
    )


def settings(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the options that affect the results."""
    return {name: value for name, value in vars(chosen).items() if name not in _PATHS}


def train(run: Training) -> SentenceTransformerEncoder:
    """Train a new copy of the base model, and return it."""
    torch.set_num_threads(run.threads)
    base = load_base(str(run.base))
    with tempfile.TemporaryDirectory() as scratch, quiet():
        if run.contender == "nestvec":
            checkpoints = Path(scratch) / "checkpoints"
            finetune(base.library_model, {"texts": run.texts}, run.config, checkpoints=checkpoints)
        else:
            _train_theirs(base.library_model, run, scratch)
    return base


def _train_theirs(model: SentenceTransformer, run: Training, scratch: str) -> None:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers

    scored = isinstance(run.texts, ScoredPairs)
    kind = losses.CoSENTLoss if scored else losses.MultipleNegativesRankingLoss
    loss = kind(model)
    if run.contender == "MatryoshkaLoss":
        loss = losses.MatryoshkaLoss(model, loss, list(run.config.dims))
    limit = model.max_seq_length
    model.max_seq_length = run.config.max_tokens or limit
    arguments = SentenceTransformerTrainingArguments(
        output_dir=scratch,
        num_train_epochs=run.config.epochs,
        per_device_train_batch_size=run.config.batch_size,
        learning_rate=run.config.learning_rate,
        warmup_steps=_WARM_UP,  # below 1: a share of all steps
        bf16=run.config.dtype == "bfloat16",
        use_cpu=True,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=run.config.seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    data = Dataset.from_dict(_columns(run.texts))
    SentenceTransformerTrainer(model, args=arguments, train_dataset=data, loss=loss).train()
    model.max_seq_length = limit


def _columns(texts: TrainingTexts) -> dict[str, Sequence[object]]:
    if isinstance(texts, ScoredPairs):
        return {"sentence1": texts.first, "sentence2": texts.second, "score": texts.scores}
    return {"anchor": texts.anchors, "positive": texts.positives}
