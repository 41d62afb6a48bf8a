"""Set up Sentence Transformers' trainer for nested losses, with evaluation and callbacks.

Importing this module loads PyTorch and Sentence Transformers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.data_collator import (
    SentenceTransformerDataCollator,
)
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch import nn
from transformers import PrinterCallback, TrainerCallback
from transformers.integrations import get_available_reporting_integrations

from nestvec.errors import InvalidArgument
from nestvec.models.sentence_transformer import writing
from nestvec.train.batches import count_batches
from nestvec.train.columns import count_rows
from nestvec.train.loss_base import NestedLoss
from nestvec.train.losses import NestedCoSENTLoss, NestedMultipleNegativesRankingLoss
from nestvec.train.ranking_loss import TEXT_KEY, text_keys
from nestvec.train.sampling import CompleteBatchSampler, TemperatureBatchSampler
from nestvec.types import Kind

if TYPE_CHECKING:
    from nestvec.train.config import Callbacks, Evaluator, FinetuneConfig

_SAMPLE = 10_000  # texts; enough to fit the axes of a thousand dims
_MEAN = "mean"
_EVAL_PREFIX = "eval_"  # the library adds it to the names that an evaluator returns
_LOSS_AT = "loss_at_"
_WARM_UP_SHARE = 0.1
_HEAD_RATE = 50  # learning rate of a new layer relative to the model's; it needs larger changes


def append_head(
    model: SentenceTransformer, queries: Sequence[str], documents: Sequence[str], out_dim: int
) -> None:
    """Append a linear layer without bias that projects on the principal axes of the vectors.

    The layer is inserted before a final normalization, if there is one, so that vectors have unit
    length. Its initial weights are the best linear projection to the new width.

    Args:
        model: The model, which is changed in place.
        queries: Queries of the training texts. A sample of the texts is encoded to fit the axes.
        documents: Other training texts.
        out_dim: The new width. With the model's own width, the layer is a rotation.

    Raises:
        InvalidArgument: If ``out_dim`` is larger than the model's width.
    """
    full_dim = model.get_embedding_dimension() or 0
    if not 0 < out_dim <= full_dim:
        problem = f"out_dim={out_dim} is out of range."
        raise InvalidArgument(f"{problem} Choose a value from 1 to the model's width {full_dim}.")
    vectors = torch.cat(
        [
            encode(_sample(texts), convert_to_tensor=True, show_progress_bar=False).float()
            for encode, texts in (
                (model.encode_query, queries),
                (model.encode_document, documents),
            )
            if texts
        ]
    )
    # Not centered, because cosines are relative to the origin.
    axes = torch.linalg.eigh(vectors.T @ vectors).eigenvectors.flip(1)[:, :out_dim]
    head = Dense(
        full_dim,
        out_dim,
        bias=False,
        activation_function=None,
        init_weight=axes.T.contiguous().clone(),
    )
    last = len(model) - 1 if isinstance(model[-1], Normalize) else len(model)
    modules = [*model.children()]
    for name, _ in list(model.named_children()):
        delattr(model, name)
    for number, module in enumerate([*modules[:last], head.to(vectors.device), *modules[last:]]):
        model.add_module(str(number), module)


def _sample(texts: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(texts))
    return distinct[:: max(1, 2 * len(distinct) // _SAMPLE)]


class PromptCollator(SentenceTransformerDataCollator):  # type: ignore[misc]
    """Also adds the keys of texts without prompts, if queries and documents have different prompts.

    The loss finds equal texts by their tokens, which contain the prompt.
    """

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the features of a batch."""
        batch: dict[str, Any] = super().__call__(features)
        prompts = self._resolve_prompts(batch)
        if isinstance(prompts, dict) and len(set(prompts.values())) > 1:
            for column, task in self._resolve_router_mapping(batch).items():
                tokens = self.preprocess_fn([row[column] for row in features], task=task)
                batch[f"{column}_{TEXT_KEY}"] = text_keys(tokens)
        return batch


class NestedTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """Sentence Transformers' trainer, which also logs the loss of each prefix."""

    data_collator_class = PromptCollator

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Compute the loss of a batch, and record the loss of each prefix."""
        loss = self.loss[inputs["dataset_name"]]
        total = super().compute_loss(model, inputs, *args, **kwargs)
        by_dim = zip(loss.prefixes.dims, loss.latest, strict=True)
        self.track_loss_components({f"{_LOSS_AT}{dim}": each for dim, each in by_dim})
        return total

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with writing(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **kwargs)


class TrainingMonitor(TrainerCallback):  # type: ignore[misc]
    """Reports progress and checkpoints, and stops training if the loss is not finite.

    Attributes:
        latest: Last scores of the evaluator, by width.
        nonfinite_step: Step at which the loss was not finite; None if it always was.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._losses: dict[int, list[float]] = defaultdict(list)
        self.latest: Mapping[int, float] = {}
        self.nonfinite_step: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report progress."""
        self._callbacks.on_progress(state.global_step, state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        """Stop training if the loss is not finite, and collect the losses of the prefixes."""
        if not math.isfinite(logs.get("loss", 0.0)):
            self.nonfinite_step = state.global_step
            control.should_training_stop = True
            control.should_save = False
        for name, loss in logs.items():
            if name.startswith(_LOSS_AT):
                self._losses[int(name.removeprefix(_LOSS_AT))].append(loss)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the mean losses since the last checkpoint and the scores of the evaluator."""
        means = {dim: sum(losses) / len(losses) for dim, losses in self._losses.items()}
        self._losses.clear()
        self._callbacks.on_checkpoint(state.global_step, means, self.latest)


class CallbackEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """Wraps an evaluator function in the interface that the trainer requires."""

    def __init__(self, evaluator: Evaluator, monitor: TrainingMonitor) -> None:
        super().__init__()
        self.primary_metric = _MEAN
        self._evaluator, self._monitor = evaluator, monitor

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, *_: Any, **__: Any
    ) -> dict[str, float]:
        """Return the mean over widths, and the score at each."""
        scores = self._evaluator(model)
        self._monitor.latest = scores
        mean = sum(scores.values()) / len(scores)
        return {_MEAN: mean, **{str(dim): score for dim, score in scores.items()}}


class TrainingTask(NamedTuple):
    """A data set and its loss.

    Attributes:
        columns: Texts, and optionally scores, by the library's column names.
        loss: The loss to minimize.
    """

    columns: Mapping[str, list[Any]]
    loss: NestedLoss


def make_tasks(
    model: SentenceTransformer,
    datasets: Mapping[str, Mapping[str, list[Any]]],
    config: FinetuneConfig,
    *,
    teacher: SentenceTransformer | None,
) -> dict[str, TrainingTask]:
    """Choose the loss of each data set by its columns: CoSENT for scored pairs, else ranking.

    Raises:
        InvalidArgument: If a dim is larger than the model's width.
    """
    return {
        name: TrainingTask(columns, _loss(model, columns, config, teacher))
        for name, columns in datasets.items()
    }


def make_trainer(
    model: SentenceTransformer,
    tasks: Mapping[str, TrainingTask],
    config: FinetuneConfig,
    *,
    checkpoints: Path,
    evaluator: Evaluator | None,
    monitor: TrainingMonitor,
) -> NestedTrainer:
    """Create a trainer for the tasks.

    Raises:
        InvalidArgument: If a tracker is not installed.
    """
    _check_trackers(config.report_to)
    _omit_texts_from_card(model)
    trainer = NestedTrainer(
        model=model,
        args=_arguments(model, tasks, config, checkpoints, evaluated=evaluator is not None),
        train_dataset={name: Dataset.from_dict(each.columns) for name, each in tasks.items()},
        loss={name: each.loss for name, each in tasks.items()},
        evaluator=None if evaluator is None else CallbackEvaluator(evaluator, monitor),
        callbacks=[monitor],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def best_scores(trainer: NestedTrainer) -> dict[int, float]:
    """Return the evaluator's scores of the best checkpoint by width; empty without an evaluator."""
    metric = trainer.args.metric_for_best_model
    rows = [row for row in trainer.state.log_history if metric in row]
    best: dict[str, float] = max(rows, key=lambda row: row[metric], default={})
    names = ((name, name.removeprefix(_EVAL_PREFIX)) for name in best)
    return {int(dim): best[name] for name, dim in names if dim.isdigit()}


def _check_trackers(names: Sequence[str]) -> None:
    installed = get_available_reporting_integrations()
    for name in names:
        if name not in installed:
            others = ", ".join(installed) or "none"
            problem = f"report_to={name!r} is not an installed tracker. Installed: {others}."
            raise InvalidArgument(f"{problem} Install the tracker's package.")


def _omit_texts_from_card(model: SentenceTransformer) -> None:
    # Otherwise the library writes samples of the training texts to the model's README.
    card = model.model_card_data
    card.set_widget_examples = lambda dataset: None
    card.extract_dataset_metadata = lambda **kwargs: kwargs["dataset_metadata"]


def _loss(
    model: SentenceTransformer,
    columns: Mapping[str, list[Any]],
    config: FinetuneConfig,
    teacher: SentenceTransformer | None,
) -> NestedLoss:
    if "score" in columns:
        return NestedCoSENTLoss(
            model, config.dims, config.weights, config.scale, teach=config.teach
        )
    return NestedMultipleNegativesRankingLoss(
        model,
        config.dims,
        config.weights,
        config.scale,
        mini_batch_size=config.mini_batch_size,
        teach=config.teach,
        random_dims=config.random_dims,
        straight_through=config.straight_through,
        orthogonality=config.orthogonality,
        teacher=teacher,
    )


def by_kind(
    tasks: Mapping[str, TrainingTask], values: Mapping[Kind, str]
) -> dict[str, dict[str, str]]:
    """Return the value of each text column of each data set, for queries or for documents.

    Anchors are queries, and all other texts are documents. Scored pairs are symmetric: both texts
    are documents, as in ``measure.similarity``.
    """
    return {
        name: {
            column: values["query" if column == "anchor" else "document"]
            for column in task.columns
            if column != "score"
        }
        for name, task in tasks.items()
    }


def _arguments(
    model: SentenceTransformer,
    tasks: Mapping[str, TrainingTask],
    config: FinetuneConfig,
    checkpoints: Path,
    *,
    evaluated: bool,
) -> SentenceTransformerTrainingArguments:
    prompts: dict[Kind, str] = {kind: model.prompts.get(kind) or "" for kind in get_args(Kind)}
    share = min(1 / config.checks, 0.999)  # the trainer reads values below 1 as shares of the run
    every = {"save_strategy": "steps", "save_steps": share, "save_total_limit": 2}
    if evaluated:
        every |= {"eval_strategy": "steps", "eval_steps": share}
        every |= {"load_best_model_at_end": True, "metric_for_best_model": _best_by(config)}
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        prompts=by_kind(tasks, prompts) if any(prompts.values()) else None,
        # Only models with a part for each kind of text need the kind.
        router_mapping=by_kind(tasks, {"query": "query", "document": "document"}),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_mapping=_head_rate(model, config),
        warmup_steps=_WARM_UP_SHARE if _count_steps(tasks, config) >= 1 / _WARM_UP_SHARE else 0,
        bf16=config.dtype == "bfloat16",
        use_cpu=model.device.type == "cpu" or not torch.cuda.is_available(),
        batch_sampler=CompleteBatchSampler,
        multi_dataset_batch_sampler=partial(
            TemperatureBatchSampler, temperature=config.temperature
        ),
        seed=config.seed,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=list(config.report_to) or "none",
        **every,
    )


def _count_steps(tasks: Mapping[str, TrainingTask], config: FinetuneConfig) -> int:
    """Count the training steps. The first step of a warm-up has the learning rate 0."""
    rows = [count_rows(task.columns) for task in tasks.values()]
    return config.epochs * sum(count_batches(n, config.batch_size) for n in rows)


def _best_by(config: FinetuneConfig) -> str:
    return f"{_EVAL_PREFIX}{_MEAN if config.best_at is None else config.best_at}"


def _head_rate(model: SentenceTransformer, config: FinetuneConfig) -> dict[str, float]:
    if config.out_dim is None:
        return {}
    number = max(i for i, module in enumerate(model) if isinstance(module, Dense))
    return {rf"\b{number}\.linear\.weight$": _HEAD_RATE * config.learning_rate}
