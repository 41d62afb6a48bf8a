"""Fine-tune a Sentence Transformers model with nested losses, by the library's own trainer.

The columns of each file decide its loss. What is best on the way is for a judge that the caller
brings; checkpoints lie in a folder of their own, from which a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.data.training import TrainingPairs, TrainingTexts
from nestvec.errors import NestvecError, require
from nestvec.models.sentence_transformer import quiet
from nestvec.train.config import NO_CALLBACKS, Callbacks, FinetuneConfig, Judge
from nestvec.train.mining import mine_negatives

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn


_logger = logging.getLogger(__name__)
_SETTINGS = "nestvec.json"


def keep_weights(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return a model's own floating tensors, each with a copy, on the CPU, of what it holds.

    A tensor that has several names is there once.
    """
    return [
        (tensor, tensor.detach().to("cpu", copy=True))
        for tensor in chain(model.parameters(), model.buffers())
        if tensor.is_floating_point()
    ]


def blend(kept: Sequence[tuple[Tensor, Tensor]], share: float) -> None:
    """Make each tensor, in place, (1 - share) of what it holds and a share of what it held.

    Tensors that a model has got since, such as those of a new layer, stay as they are.

    Args:
        kept: What ``keep_weights`` gave before training.
        share: 0 changes nothing, 1 takes training back.
    """
    import torch

    with torch.no_grad():
        for tensor, before in kept:
            tensor.lerp_(before.to(tensor.device), share)


@dataclass(frozen=True)
class Finetuned:
    """What training gives beside the model, which it changed.

    Attributes:
        losses: Which loss each file was trained with.
        best: What the judge found at each width, of the model that was kept; empty without one.
        steps: How many steps were made.
    """

    losses: Mapping[str, str]
    best: Mapping[int, float]
    steps: int


def finetune(
    model: SentenceTransformer,
    texts: Mapping[str, TrainingTexts],
    config: FinetuneConfig,
    *,
    checkpoints: Path,
    judge: Judge | None = None,
    callbacks: Callbacks = NO_CALLBACKS,
) -> Finetuned:
    """Fine-tune a model in place.

    Args:
        model: What is trained.
        texts: By name, what ``load_training_texts`` gives.
        config: How. A batch larger than the texts shrinks to them.
        checkpoints: A folder for checkpoints; those of a run with the same model, texts and
            settings that was killed are gone on with, others are deleted.
        judge: Scores the model now and then; the best one is kept, blended if the settings say
            so, and scored again. Without one, the last is.
        callbacks: Called on the way.

    Raises:
        DataError: If the checkpoints cannot be written.
        InvalidArgument: If a dim is above the model's, or a tracker is not installed.
        MissingExtra: If a library that the trainer needs is not installed.
        NestvecError: If the loss turns NaN or infinite.
    """
    for name in ("datasets", "accelerate"):
        require(name, extra="train")
    from nestvec.train.trainer import (
        Watcher,
        append_head,
        found_of_best,
        make_lessons,
        make_trainer,
    )

    datasets = dict(_as_columns(_mined(model, texts, config)))
    _tell_of_small(datasets, config.batch_size)
    identity = _identity(model, texts, config)
    teacher = deepcopy(model) if config.teach and config.teacher == "base" else None
    kept = keep_weights(model) if config.blend else []
    if config.out_dim is not None:
        append_head(model, [*_every_text(texts)], config.out_dim)
    lessons = make_lessons(model, datasets, config, teacher=teacher)
    watcher = Watcher(callbacks)
    trainer = make_trainer(
        model, lessons, config, checkpoints=checkpoints, judge=judge, watcher=watcher
    )
    _prepare(checkpoints, identity)
    with quiet(), _cut_to(model, config.max_tokens):
        trainer.train(resume_from_checkpoint=any(checkpoints.glob("checkpoint-*")))
        _refuse_spoilt(watcher.spoilt_at, config, checkpoints)
        best: Mapping[int, float] = found_of_best(trainer)
        if kept:
            blend(kept, config.blend)
            best = judge(model) if judge is not None else {}
    losses = {name: type(lesson.loss).__name__ for name, lesson in lessons.items()}
    return Finetuned(losses, best, trainer.state.global_step)


def _refuse_spoilt(step: int | None, config: FinetuneConfig, checkpoints: Path) -> None:
    if step is not None:
        raise NestvecError(
            f"the loss is not finite at step {step}: lower learning_rate "
            f"{config.learning_rate:g}; the last good checkpoint is in {checkpoints}"
        )


def _tell_of_small(datasets: Mapping[str, Mapping[str, list[Any]]], batch_size: int) -> None:
    for name, columns in datasets.items():
        n = len(next(iter(columns.values())))
        if n < batch_size:
            _logger.warning("%s: batch_size %d > %d rows, all in one batch", name, batch_size, n)


def _every_text(texts: Mapping[str, TrainingTexts]) -> Iterator[str]:
    for each in texts.values():
        if isinstance(each, TrainingPairs):
            yield from (*each.anchors, *each.positives)
        else:
            yield from (*each.first, *each.second)


def _mined(
    model: SentenceTransformer, texts: Mapping[str, TrainingTexts], config: FinetuneConfig
) -> Mapping[str, TrainingTexts]:
    count = config.hard_negatives
    if not count:
        return texts
    with quiet(), _cut_to(model, config.max_tokens):
        return {
            name: mine_negatives(model, each, count=count)
            if isinstance(each, TrainingPairs)
            else each
            for name, each in texts.items()
        }


@contextmanager
def _cut_to(model: SentenceTransformer, max_tokens: int | None) -> Iterator[None]:
    """Let the model read so many tokens only while it learns."""
    before = model.max_seq_length
    if max_tokens is not None:
        model.max_seq_length = max_tokens if before is None else min(max_tokens, before)
    try:
        yield
    finally:
        model.max_seq_length = before


def _prepare(checkpoints: Path, identity: str) -> None:
    settings = checkpoints / _SETTINGS
    if checkpoints.exists():
        if settings.is_file() and settings.read_text(encoding="utf-8") == identity:
            _remove_halves(checkpoints)
            return
        shutil.rmtree(checkpoints)
    checkpoints.mkdir(parents=True)
    settings.write_text(identity, encoding="utf-8")


def _remove_halves(checkpoints: Path) -> None:
    """Remove a checkpoint in the writing of which a run was killed: its state is written last."""
    for checkpoint in checkpoints.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)


def _identity(
    model: SentenceTransformer, texts: Mapping[str, TrainingTexts], config: FinetuneConfig
) -> str:
    """Say from what a run is made: its model's weights, texts and settings."""
    import torch

    digest = hashlib.sha256()
    for weights in model.state_dict().values():
        digest.update(weights.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    for name, each in texts.items():
        digest.update(json.dumps([name, asdict(each)]).encode())
    return json.dumps({"config": asdict(config), "model and texts": digest.hexdigest()}, indent=1)


def _as_columns(
    texts: Mapping[str, TrainingTexts],
) -> Iterator[tuple[str, dict[str, list[Any]]]]:
    """Return columns by name; rows with more negatives than others are a data set of their own."""
    for name, each in texts.items():
        if not isinstance(each, TrainingPairs):
            yield name, {"sentence1": each.first, "sentence2": each.second, "score": each.scores}
            continue
        rows = defaultdict(list)
        for number, negatives in enumerate(each.negatives):
            rows[len(negatives)].append(number)
        for count, numbers in rows.items():
            columns = {
                "anchor": [each.anchors[number] for number in numbers],
                "positive": [each.positives[number] for number in numbers],
            }
            for i in range(count):
                columns[f"negative_{i + 1}"] = [each.negatives[number][i] for number in numbers]
            yield f"{name}, {count} negatives" if len(rows) > 1 else name, columns
