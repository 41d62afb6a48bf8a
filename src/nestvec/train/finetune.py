"""Fine-tune a Sentence Transformers model with nested losses, by the library's own trainer.

The columns of each file decide its loss. What is best on the way is for a judge that the caller
brings; checkpoints lie in a folder of their own, from which a run that was killed goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.data.pairs import TrainingPairs
from nestvec.data.training import TrainingTexts
from nestvec.errors import DataError, InvalidArgument, NestvecError, require
from nestvec.models.sentence_transformer import DTYPES, DType, quiet
from nestvec.train.mining import mine_negatives
from nestvec.train.objective import Prefixes
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Judge = Callable[["SentenceTransformer"], Mapping[int, float]]
"""Scores a model at each width."""

_SETTINGS = "nestvec.json"
_LEAST_BATCH = 2


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune.

    Attributes:
        dims: Widths trained for, in any order; the model's own should be among them.
        weights: What each counts, in the order of ``dims``; none for 1 each.
        epochs: Passes over the texts.
        batch_size: Pairs of a step; each sees the others' texts as negatives.
        learning_rate: Peak, after a linear warm-up and before a linear decay to 0.
        max_tokens: Longer texts are cut in training; None for the model's own limit.
        dtype: What the model computes in; its weights stay float32.
        mini_batch_size: Texts embedded at a time, for batches larger than memory.
        teach: Weight of what prefixes learn from the full width's ranking.
        hard_negatives: How many to mine for each pair that has none; 0 for none.
        checks: How often the model is judged and kept on the way.
        seed: Of the order of texts, and of dropout.
    """

    dims: tuple[int, ...]
    weights: tuple[float, ...] = ()
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 2e-5
    max_tokens: int | None = None
    dtype: DType = "float32"
    mini_batch_size: int | None = None
    teach: float = 0.0
    hard_negatives: int = 0
    checks: int = 5
    seed: int = 0

    @classmethod
    def from_file(
        cls, path: Path, *, usual: Mapping[str, Any], given: Mapping[str, Any]
    ) -> FinetuneConfig:
        """Read a TOML file with these names.

        Args:
            path: The file.
            usual: What stands below the file.
            given: What stands above it.

        Raises:
            DataError: If the file cannot be read, or holds a name that is none of these or a
                value of another kind.
            InvalidArgument: If a value is out of range.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(path, f"cannot be read ({error})") from error
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise DataError(path, f"{name} is not one of {', '.join(known)}")
        lists = {name: tuple(each) for name, each in values.items() if isinstance(each, list)}
        try:
            return cls(**{**usual, **values, **lists, **given})
        except TypeError as error:
            raise DataError(path, f"holds a value of the wrong kind ({error})") from error

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        Prefixes(self.dims, self.weights)
        for name in ("epochs", "checks"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} {getattr(self, name)} < 1")
        if self.hard_negatives < 0:
            raise InvalidArgument(f"hard_negatives {self.hard_negatives} < 0")
        if self.batch_size < _LEAST_BATCH:
            problem = f"batch_size {self.batch_size} < {_LEAST_BATCH}"
            raise InvalidArgument(f"{problem}: a pair needs others beside it")
        if not 0 < self.learning_rate < 1:
            raise InvalidArgument(f"learning_rate {self.learning_rate} is not within 0 and 1")
        if self.dtype not in DTYPES:
            raise InvalidArgument(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")


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
    on_progress: OnProgress = lambda done, total: None,
) -> Finetuned:
    """Fine-tune a model in place.

    Args:
        model: What is trained.
        texts: By name, what ``load_training_texts`` gives.
        config: How. A batch larger than the texts shrinks to them.
        checkpoints: A folder for checkpoints; those of a run with the same texts and settings
            that was killed are gone on with, others are deleted.
        judge: Scores the model now and then; the best one, by the mean over widths, is kept.
            Without one, the last is.
        on_progress: Called with steps done and in total.

    Raises:
        InvalidArgument: If a dim is above the model's.
        MissingExtra: If a library that the trainer needs is not installed.
        NestvecError: If the loss turns NaN or infinite.
    """
    for name in ("datasets", "accelerate"):
        require(name, extra="train")
    from nestvec.train.trainer import make_trainer

    datasets = dict(_as_columns(_mined(model, texts, config)))
    trainer, losses, watcher = make_trainer(
        model, datasets, config, checkpoints, judge, on_progress
    )
    _prepare(checkpoints, _identity(texts, config))
    with quiet(), _cut_to(model, config.max_tokens):
        trainer.train(resume_from_checkpoint=any(checkpoints.glob("checkpoint-*")))
    if watcher.spoilt_at is not None:
        raise NestvecError(
            f"the loss is not finite at step {watcher.spoilt_at}: lower learning_rate "
            f"{config.learning_rate:g}; the last good checkpoint is in {checkpoints}"
        )
    return Finetuned(losses, watcher.best, trainer.state.global_step)


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
            return
        shutil.rmtree(checkpoints)
    checkpoints.mkdir(parents=True)
    settings.write_text(identity, encoding="utf-8")


def _identity(texts: Mapping[str, TrainingTexts], config: FinetuneConfig) -> str:
    digest = hashlib.sha256()
    for name, each in texts.items():
        digest.update(json.dumps([name, asdict(each)]).encode())
    return json.dumps({"config": asdict(config), "texts": digest.hexdigest()}, indent=1)


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
