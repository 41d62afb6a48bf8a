"""Fine-tune a Sentence Transformers model with nested losses and the library's trainer.

The columns of each file determine its loss. An optional evaluator of the caller chooses the best
checkpoint. An interrupted run continues from its last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nestvec.data.training import TrainingPairs, TrainingTexts
from nestvec.errors import InvalidArgument, NestvecError, require
from nestvec.models.sentence_transformer import quiet
from nestvec.train.batches import count_batches, tempered_sizes
from nestvec.train.columns import Columns, as_columns, count_rows, limit_negatives
from nestvec.train.config import NO_CALLBACKS, Callbacks, Evaluator, FinetuneConfig
from nestvec.train.mining import mine_negatives
from nestvec.train.texts import texts_by_kind
from nestvec.types import Kind, begin_step

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn


_logger = logging.getLogger(__name__)
_FOR_PAIRS = (
    "hard_negatives",
    "mini_batch_size",
    "orthogonality",
    "random_dims",
    "straight_through",
    "teacher",
)
_SETTINGS = "nestvec.json"  # identifies the run that wrote the checkpoints


def copy_weights(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return each floating-point tensor of a model with a copy of its values on the CPU.

    A tensor with several names is returned once.
    """
    return [
        (tensor, tensor.detach().to("cpu", copy=True))
        for tensor in chain(model.parameters(), model.buffers())
        if tensor.is_floating_point()
    ]


def blend_weights(originals: Sequence[tuple[Tensor, Tensor]], share: float) -> None:
    """Set each tensor to (1 - share) * current + share * original, in place.

    Tensors that were added after the copy, such as those of a new layer, do not change.

    Args:
        originals: Tensors and their original values, from ``copy_weights``.
        share: Share of the original values; 0 has no effect, 1 restores them.
    """
    import torch

    with torch.no_grad():
        for tensor, original in originals:
            tensor.lerp_(original.to(tensor.device), share)


@dataclass(frozen=True)
class Epoch:
    """What an epoch covers of a data set.

    Attributes:
        rows: Pairs in the data set.
        batches: Batches that contain each pair once.
        drawn: Batches in an epoch; other than ``batches`` if ``temperature`` is above 1.
        repeated: Texts that repeat an earlier text of their column. In a batch, they are not used
            as negatives of an equal text.
    """

    rows: int
    batches: int
    drawn: int
    repeated: int


@dataclass(frozen=True)
class Finetuned:
    """Results of fine-tuning, apart from the model, which was changed in place.

    Attributes:
        losses: Class name of the loss of each data set.
        epochs: What an epoch covers of each data set.
        dev_scores: The evaluator's score of the final model at each width; empty without an
            evaluator.
        steps: Number of training steps.
    """

    losses: Mapping[str, str]
    epochs: Mapping[str, Epoch]
    dev_scores: Mapping[int, float]
    steps: int


def finetune(
    model: SentenceTransformer,
    texts: Mapping[str, TrainingTexts],
    config: FinetuneConfig,
    *,
    checkpoints: Path,
    evaluator: Evaluator | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
) -> Finetuned:
    """Fine-tune a model in place.

    Args:
        model: The model to train. Its query and document prompts are used in training.
        texts: Training texts by name, as returned by ``load_training_texts``.
        config: Settings. The batch size is limited to the number of texts.
        checkpoints: Folder for checkpoints. Checkpoints of an interrupted run with the same model,
            texts and settings are continued; others are deleted.
        evaluator: Scores the model at each checkpoint. The best checkpoint is restored. If
            ``config.blend`` is set, its weights are blended, and the model is scored again. None
            uses the last step.
        callbacks: Called during training.

    Raises:
        DataError: If the checkpoints cannot be written.
        InvalidArgument: If a dim is larger than the model's width, a tracker is not installed, or
            no pair has a text to be ranked against.
        MissingExtra: If a library that the trainer needs is not installed.
        NestvecError: If the loss becomes NaN or infinite.
    """
    _require_trainer()
    from nestvec.train.trainer import (
        TrainingMonitor,
        append_head,
        best_scores,
        make_tasks,
        make_trainer,
    )

    datasets = _make_datasets(model, texts, config, callbacks)
    identity = _identity(model, texts, config)
    teacher = deepcopy(model) if config.teach and config.teacher == "base" else None
    originals = copy_weights(model) if config.blend else []
    if config.out_dim is not None:
        append_head(model, *_queries_and_documents(texts), config.out_dim)
    tasks = make_tasks(model, datasets, config, teacher=teacher)
    monitor = TrainingMonitor(callbacks)
    trainer = make_trainer(
        model, tasks, config, checkpoints=checkpoints, evaluator=evaluator, monitor=monitor
    )
    _prepare(checkpoints, identity)
    begin_step(callbacks.on_progress, "train")
    with quiet(), _limit_tokens(model, config.max_tokens):
        trainer.train(resume_from_checkpoint=any(checkpoints.glob("checkpoint-*")))
        _raise_if_not_finite(monitor.nonfinite_step, config, checkpoints)
        scores: Mapping[int, float] = best_scores(trainer)
        if originals:
            blend_weights(originals, config.blend)
            scores = evaluator(model) if evaluator is not None else {}
    losses = {name: type(task.loss).__name__ for name, task in tasks.items()}
    return Finetuned(losses, _epochs(datasets, config), scores, trainer.state.global_step)


def _make_datasets(
    model: SentenceTransformer,
    texts: Mapping[str, TrainingTexts],
    config: FinetuneConfig,
    callbacks: Callbacks,
) -> dict[str, Columns]:
    """Return the columns of each data set, with mined negatives; name settings without effect."""
    _warn_of_unused_settings(texts, config)
    limited = limit_negatives(texts, config.max_negatives)
    mined = _with_hard_negatives(model, limited, config, callbacks)
    datasets = as_columns(mined, config.batch_size)
    _warn_of_small_datasets(datasets, config.batch_size)
    if config.temperature > 1 and len(datasets) == 1:
        _logger.warning(
            "temperature=%g has no effect, because there is one data set", config.temperature
        )
    return datasets


def _queries_and_documents(texts: Mapping[str, TrainingTexts]) -> tuple[list[str], list[str]]:
    kinds = [texts_by_kind(each) for each in texts.values()]
    queries, documents = (list(chain(*(each[kind] for each in kinds))) for kind in get_args(Kind))
    return queries, documents


def _raise_if_not_finite(step: int | None, config: FinetuneConfig, checkpoints: Path) -> None:
    if step is not None:
        raise NestvecError(
            f"The loss is not finite at step {step}. Lower learning_rate={config.learning_rate:g}. "
            f"The last good checkpoint is in {checkpoints}."
        )


def _warn_of_small_datasets(datasets: Mapping[str, Columns], batch_size: int) -> None:
    for name, columns in datasets.items():
        n = count_rows(columns)
        if n < batch_size:
            message = "%s: batch_size=%d is larger than the %d rows, which form one batch"
            _logger.warning(message, name, batch_size, n)


def _epochs(datasets: Mapping[str, Columns], config: FinetuneConfig) -> dict[str, Epoch]:
    rows = {name: count_rows(columns) for name, columns in datasets.items()}
    batches = [count_batches(n, config.batch_size) for n in rows.values()]
    drawn = tempered_sizes(batches, config.temperature)
    repeated = [
        sum(len(texts) - len(set(texts)) for role, texts in columns.items() if role != "score")
        for columns in datasets.values()
    ]
    counts = zip(rows.values(), batches, drawn, repeated, strict=True)
    return {name: Epoch(*each) for name, each in zip(rows, counts, strict=True)}


def _warn_of_unused_settings(texts: Mapping[str, TrainingTexts], config: FinetuneConfig) -> None:
    unused = []
    if not any(isinstance(each, TrainingPairs) for each in texts.values()):
        default = FinetuneConfig()
        unused = [name for name in _FOR_PAIRS if getattr(config, name) != getattr(default, name)]
        if unused:
            _logger.warning("settings without effect on scored pairs: %s", ", ".join(unused))
    if config.teacher == "base" and not config.teach and "teacher" not in unused:
        _logger.warning("teacher='base' has no effect, because teach=0")


def _require_trainer() -> None:
    for name in ("datasets", "accelerate"):
        require(name, extra="train")


def _with_hard_negatives(
    model: SentenceTransformer,
    texts: Mapping[str, TrainingTexts],
    config: FinetuneConfig,
    callbacks: Callbacks,
) -> Mapping[str, TrainingTexts]:
    count = config.hard_negatives
    if not count:
        return texts
    begin_step(callbacks.on_progress, "mine hard negatives")
    with quiet(), _limit_tokens(model, config.max_tokens):
        return {
            name: mine_negatives(model, each, count=count, name=name)
            if isinstance(each, TrainingPairs)
            else each
            for name, each in texts.items()
        }


@contextmanager
def _limit_tokens(model: SentenceTransformer, max_tokens: int | None) -> Iterator[None]:
    """Limit the tokens that the model reads of a text, inside the block."""
    if max_tokens is None:
        yield
        return
    before = model.max_seq_length
    try:
        model.max_seq_length = max_tokens if before is None else min(max_tokens, before)
    except AttributeError as error:  # a static model cannot truncate texts
        problem = f"max_tokens={max_tokens} cannot be set: the model has no limit of tokens."
        raise InvalidArgument(f"{problem} Omit max_tokens.") from error
    try:
        yield
    finally:
        model.max_seq_length = before


def _prepare(checkpoints: Path, identity: str) -> None:
    settings = checkpoints / _SETTINGS
    if checkpoints.exists():
        if settings.is_file() and settings.read_text(encoding="utf-8") == identity:
            _remove_incomplete(checkpoints)
            return
        shutil.rmtree(checkpoints)
    checkpoints.mkdir(parents=True)
    settings.write_text(identity, encoding="utf-8")


def _remove_incomplete(checkpoints: Path) -> None:
    """Remove checkpoints that were interrupted while being written: their state is written last."""
    for checkpoint in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)


def _identity(
    model: SentenceTransformer, texts: Mapping[str, TrainingTexts], config: FinetuneConfig
) -> str:
    """Return a JSON text that identifies a run by its settings, the model and the texts."""
    import torch

    digest = hashlib.sha256()
    for weights in model.state_dict().values():
        digest.update(weights.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    for name, each in texts.items():
        digest.update(json.dumps([name, asdict(each)]).encode())
    digest.update(json.dumps(model.prompts).encode())
    return json.dumps({"config": asdict(config), "model and texts": digest.hexdigest()}, indent=1)
