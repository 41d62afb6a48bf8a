"""Sentence Transformers' trainer, set up for nested losses: quiet, judged, watched.

Importing this loads PyTorch and Sentence Transformers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from torch import nn
from transformers import PrinterCallback, TrainerCallback

from nestvec.train.losses import NestedCoSENTLoss, NestedMultipleNegativesRankingLoss
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from nestvec.train.finetune import FinetuneConfig, Judge

_MEAN = "mean"
_WARM_UP_SHARE = 0.1


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Tells of progress, stops where the loss is not finite, and keeps what the judge found.

    Attributes:
        best: What the judge found of the best model so far, by width.
        spoilt_at: The step at which the loss was not finite.
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self.best: Mapping[int, float] = {}
        self.spoilt_at: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell how far training is."""
        self._on_progress(state.global_step, state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        """Look at the loss."""
        if not math.isfinite(logs.get("loss", 0.0)):
            self.spoilt_at = state.global_step
            control.should_training_stop = True
            control.should_save = False


class JudgingEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """A judge as the trainer wants it."""

    def __init__(self, judge: Judge, watcher: Watcher) -> None:
        super().__init__()
        self.primary_metric = _MEAN
        self._judge, self._watcher, self._highest = judge, watcher, -math.inf

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, *_: Any, **__: Any
    ) -> dict[str, float]:
        """Return the mean over widths, and the score at each."""
        found = self._judge(model)
        mean = sum(found.values()) / len(found)
        if mean > self._highest:
            self._highest, self._watcher.best = mean, found
        return {_MEAN: mean, **{str(dim): score for dim, score in found.items()}}


def make_trainer(
    model: SentenceTransformer,
    columns: Mapping[str, Mapping[str, list[Any]]],
    config: FinetuneConfig,
    checkpoints: Path,
    judge: Judge | None,
    on_progress: OnProgress,
) -> tuple[SentenceTransformerTrainer, dict[str, str], Watcher]:
    """Set up a trainer.

    Returns:
        The trainer, the name of the loss of each data set, and what watches the run.
    """
    _keep_texts_out_of_the_card(model)
    watcher = Watcher(on_progress)
    losses = {name: _loss(model, each, config) for name, each in columns.items()}
    trainer = SentenceTransformerTrainer(
        model=model,
        args=_arguments(config, checkpoints, judged=judge is not None),
        train_dataset={name: Dataset.from_dict(dict(each)) for name, each in columns.items()},
        loss=losses,
        evaluator=None if judge is None else JudgingEvaluator(judge, watcher),
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer, {name: type(loss).__name__ for name, loss in losses.items()}, watcher


def _keep_texts_out_of_the_card(model: SentenceTransformer) -> None:
    # The library would write samples of what it is trained on into the model's README.
    card = model.model_card_data
    card.set_widget_examples = lambda dataset: None
    card.extract_dataset_metadata = lambda **given: given["dataset_metadata"]


def _loss(
    model: SentenceTransformer, columns: Mapping[str, list[Any]], config: FinetuneConfig
) -> nn.Module:
    if "score" in columns:
        return NestedCoSENTLoss(model, config.dims, config.weights)
    return NestedMultipleNegativesRankingLoss(
        model,
        config.dims,
        config.weights,
        mini_batch_size=config.mini_batch_size,
        teach=config.teach,
    )


def _arguments(
    config: FinetuneConfig, checkpoints: Path, *, judged: bool
) -> SentenceTransformerTrainingArguments:
    share = min(1 / config.checks, 0.999)  # the trainer takes numbers below 1 as shares of the run
    every = {"save_strategy": "steps", "save_steps": share, "save_total_limit": 2}
    if judged:
        every |= {"eval_strategy": "steps", "eval_steps": share}
        every |= {"load_best_model_at_end": True, "metric_for_best_model": f"eval_{_MEAN}"}
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        warmup_steps=_WARM_UP_SHARE,
        bf16=config.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        seed=config.seed,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        **every,
    )
