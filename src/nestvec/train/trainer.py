"""Sentence Transformers' trainer, set up for nested losses: quiet, judged, watched.

Importing this loads PyTorch and Sentence Transformers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.base.sampler import MultiDatasetDefaultBatchSampler
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.training_args import BatchSamplers
from torch import nn
from transformers import PrinterCallback, TrainerCallback
from transformers.integrations import get_available_reporting_integrations

from nestvec.errors import InvalidArgument
from nestvec.models.sentence_transformer import writing
from nestvec.train.loss_base import NestedLoss
from nestvec.train.losses import NestedCoSENTLoss, NestedMultipleNegativesRankingLoss

if TYPE_CHECKING:
    from nestvec.train.config import Callbacks, FinetuneConfig, Judge

_SAMPLE = 10_000  # texts: enough for the axes of a thousand dims
_MEAN, _JUDGED = "mean", "eval_"  # the library puts the latter before what an evaluator returns
_LOSS_AT = "loss_at_"
_WARM_UP_SHARE = 0.1
_HEAD_RATE = 50  # times the model's: a new layer's weights have further to go


def append_head(model: SentenceTransformer, texts: Sequence[str], out_dim: int) -> None:
    """Append a linear layer without bias that keeps the principal axes of the texts' vectors.

    It stands before a last normalization, if there is one, so that vectors stay of unit length.
    Before training, cosines at the new width are those of the best projection of the vectors.

    Args:
        model: What is changed.
        texts: Those that the model is to learn from; a sample of them is encoded.
        out_dim: The new width; the model's own only turns its vectors.

    Raises:
        InvalidArgument: If the width is above the model's.
    """
    full_dim = model.get_embedding_dimension() or 0
    if not 0 < out_dim <= full_dim:
        raise InvalidArgument(
            f"out_dim {out_dim} is not within 1 and {full_dim}, the model's width"
        )
    distinct = list(dict.fromkeys(texts))
    sample = distinct[:: max(1, len(distinct) // _SAMPLE)]
    vectors = model.encode(sample, convert_to_tensor=True, show_progress_bar=False).float()
    # Not centered: what is compared are cosines, which are about the origin.
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


class TemperedBatchSampler(MultiDatasetDefaultBatchSampler):  # type: ignore[misc]
    """Draws batches of each data set in proportion to its size to the power of 1 / temperature.

    At 1, every text is seen once an epoch; towards infinity, all data sets alike (Raffel et al.
    2020, section 3.5.2, where it is done for tasks). An epoch has as many batches as at 1: of large
    data sets a part is seen, another one in the next epoch, and small ones begin again.
    """

    def __init__(self, dataset: Any, *, temperature: float, **given: Any) -> None:
        """Take the temperature, and what the library hands to samplers of its own."""
        super().__init__(dataset, **given)
        self._shares = tempered([len(each) for each in self.batch_samplers], temperature)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        generator = torch.Generator().manual_seed((self.seed or 0) + self.epoch)
        sources = torch.tensor([i for i, share in enumerate(self._shares) for _ in range(share)])
        order = sources[torch.randperm(len(sources), generator=generator)].tolist()
        offsets = [0, *accumulate(len(each) for each in self.dataset.datasets)]
        batches = [self._endless(each) for each in self.batch_samplers]
        for source in order:
            yield [offsets[source] + row for row in next(batches[source])]

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return sum(self._shares)

    def _endless(self, sampler: Any) -> Iterator[list[int]]:
        while True:
            yield from sampler


def tempered(sizes: list[int], temperature: float) -> list[int]:
    """Share out the sum of sizes by their powers of 1 / temperature, at least 1 to each.

    >>> tempered([900, 90, 10], 1.0), tempered([900, 90, 10], 2.0)
    ([900, 90, 10], [706, 223, 74])
    """
    powers = [size ** (1 / temperature) for size in sizes]
    return [max(1, round(sum(sizes) * power / sum(powers))) for power in powers]


class NestedTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The library's trainer, which also logs the loss of each prefix."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *given: Any, **named: Any
    ) -> Any:
        """Compute the loss of a batch, and put down that of each prefix."""
        loss = self.loss[inputs["dataset_name"]]
        found = super().compute_loss(model, inputs, *given, **named)
        of_prefixes = zip(loss.prefixes.dims, loss.latest, strict=True)
        self.track_loss_components({f"{_LOSS_AT}{dim}": each for dim, each in of_prefixes})
        return found

    def _save_checkpoint(self, *given: Any, **named: Any) -> None:
        with writing(Path(self.args.output_dir)):
            super()._save_checkpoint(*given, **named)


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Tells of progress, stops where the loss is not finite, and keeps what the judge found.

    Attributes:
        latest: What the judge found last, by width.
        spoilt_at: The step at which the loss was not finite.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self._losses: dict[int, list[float]] = defaultdict(list)
        self.latest: Mapping[int, float] = {}
        self.spoilt_at: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell how far training is."""
        self._callbacks.on_progress(state.global_step, state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        """Look at the loss."""
        if not math.isfinite(logs.get("loss", 0.0)):
            self.spoilt_at = state.global_step
            control.should_training_stop = True
            control.should_save = False
        for name, loss in logs.items():
            if name.startswith(_LOSS_AT):
                self._losses[int(name.removeprefix(_LOSS_AT))].append(loss)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell what the losses were since the last checkpoint, and what the judge found."""
        means = {dim: sum(losses) / len(losses) for dim, losses in self._losses.items()}
        self._losses.clear()
        self._callbacks.on_check(state.global_step, means, self.latest)


class JudgingEvaluator(SentenceEvaluator):  # type: ignore[misc]
    """A judge as the trainer wants it."""

    def __init__(self, judge: Judge, watcher: Watcher) -> None:
        super().__init__()
        self.primary_metric = _MEAN
        self._judge, self._watcher = judge, watcher

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, *_: Any, **__: Any
    ) -> dict[str, float]:
        """Return the mean over widths, and the score at each."""
        found = self._judge(model)
        self._watcher.latest = found
        mean = sum(found.values()) / len(found)
        return {_MEAN: mean, **{str(dim): score for dim, score in found.items()}}


class Lesson(NamedTuple):
    """A data set, and the loss that it is learnt by.

    Attributes:
        columns: Texts, and perhaps scores, by the library's names.
        loss: What is lowered.
    """

    columns: Mapping[str, list[Any]]
    loss: NestedLoss


def make_lessons(
    model: SentenceTransformer,
    datasets: Mapping[str, Mapping[str, list[Any]]],
    config: FinetuneConfig,
    *,
    teacher: SentenceTransformer | None,
) -> dict[str, Lesson]:
    """Give each data set the loss that its columns ask for.

    Raises:
        InvalidArgument: If a dim is above the model's.
    """
    return {
        name: Lesson(columns, _loss(model, columns, config, teacher))
        for name, columns in datasets.items()
    }


def make_trainer(
    model: SentenceTransformer,
    lessons: Mapping[str, Lesson],
    config: FinetuneConfig,
    *,
    checkpoints: Path,
    judge: Judge | None,
    watcher: Watcher,
) -> NestedTrainer:
    """Set up a trainer.

    Raises:
        InvalidArgument: If a tracker is not installed.
    """
    _check_trackers(config.report_to)
    _keep_texts_out_of_the_card(model)
    trainer = NestedTrainer(
        model=model,
        args=_arguments(model, config, checkpoints, judged=judge is not None),
        train_dataset={name: Dataset.from_dict(each.columns) for name, each in lessons.items()},
        loss={name: each.loss for name, each in lessons.items()},
        evaluator=None if judge is None else JudgingEvaluator(judge, watcher),
        callbacks=[watcher],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def found_of_best(trainer: NestedTrainer) -> dict[int, float]:
    """Return what the judge found of the model that was kept, by width; empty without a judge."""
    metric = trainer.args.metric_for_best_model
    rows = [row for row in trainer.state.log_history if metric in row]
    best: dict[str, float] = max(rows, key=lambda row: row[metric], default={})
    names = ((name, name.removeprefix(_JUDGED)) for name in best)
    return {int(dim): best[name] for name, dim in names if dim.isdigit()}


def _check_trackers(names: Sequence[str]) -> None:
    installed = get_available_reporting_integrations()
    for name in names:
        if name not in installed:
            found = ", ".join(installed) or "none"
            raise InvalidArgument(f"report_to {name!r}: no such tracker is installed ({found} is)")


def _keep_texts_out_of_the_card(model: SentenceTransformer) -> None:
    # The library would write samples of what it is trained on into the model's README.
    card = model.model_card_data
    card.set_widget_examples = lambda dataset: None
    card.extract_dataset_metadata = lambda **given: given["dataset_metadata"]


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


def _arguments(
    model: SentenceTransformer, config: FinetuneConfig, checkpoints: Path, *, judged: bool
) -> SentenceTransformerTrainingArguments:
    share = min(1 / config.checks, 0.999)  # the trainer takes numbers below 1 as shares of the run
    every = {"save_strategy": "steps", "save_steps": share, "save_total_limit": 2}
    if judged:
        every |= {"eval_strategy": "steps", "eval_steps": share}
        every |= {"load_best_model_at_end": True, "metric_for_best_model": _best_by(config)}
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_mapping=_head_rate(model, config),
        warmup_steps=_WARM_UP_SHARE,
        bf16=config.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        multi_dataset_batch_sampler=partial(TemperedBatchSampler, temperature=config.temperature),
        seed=config.seed,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to=list(config.report_to) or "none",
        **every,
    )


def _best_by(config: FinetuneConfig) -> str:
    return f"{_JUDGED}{_MEAN if config.best_at is None else config.best_at}"


def _head_rate(model: SentenceTransformer, config: FinetuneConfig) -> dict[str, float]:
    if config.out_dim is None:
        return {}
    number = max(i for i, module in enumerate(model) if isinstance(module, Dense))
    return {rf"\b{number}\.linear\.weight$": _HEAD_RATE * config.learning_rate}
