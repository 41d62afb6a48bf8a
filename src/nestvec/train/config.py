"""Settings of fine-tuning, callbacks, and reading settings from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from nestvec.errors import DataError, InvalidArgument, check_least
from nestvec.models.sentence_transformer import DTYPES, DType
from nestvec.train.batches import check_batch_size
from nestvec.train.objective import Prefixes, StraightThrough
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Config = TypeVar("Config")
Evaluator = Callable[["SentenceTransformer"], Mapping[int, float]]
"""Returns the score of a model at each width."""
OnCheckpoint = Callable[[int, Mapping[int, float], Mapping[int, float]], None]
"""Called at each checkpoint with the steps done, the mean loss since the last checkpoint by width,
and the evaluator's scores by width (empty without an evaluator)."""
Teacher = Literal["itself", "base"]


def config_from_file(
    kind: type[Config], path: Path, *, defaults: Mapping[str, Any], overrides: Mapping[str, Any]
) -> Config:
    """Read the settings of a dataclass from a TOML file whose keys are its fields.

    Args:
        kind: The dataclass. Its constructor checks the values.
        path: The file.
        defaults: Values that the file overrides.
        overrides: Values that override the file, such as command-line options.

    Raises:
        DataError: If the file cannot be read, a key is not a field, or a value has another type.
        InvalidArgument: If a value is out of range.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, f"cannot be read ({error})") from error
    types = get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise DataError(path, f"{name} is not one of {', '.join(known)}")
        if not _has_type(value, types[name]):
            raise DataError(path, f"{name} = {value!r} is not {_type_name(types[name])}")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return kind(**{**defaults, **values, **lists, **overrides})


def _has_type(value: object, expected: Any) -> bool:
    """Return whether a TOML value fits a field's type: a scalar, or a list of one type."""
    options = get_args(expected)
    if get_origin(expected) is tuple:
        return isinstance(value, list) and all(_has_type(each, options[0]) for each in value)
    if get_origin(expected) is Literal:
        return value in options
    if options:
        return any(_has_type(value, option) for option in options)
    if expected is float:
        return type(value) in (float, int)
    return type(value) is expected


def _type_name(expected: Any) -> str:
    """Return the name of a type for error messages."""
    options = [option for option in get_args(expected) if option is not NoneType]
    if get_origin(expected) is tuple:
        return f"a list in which each value is {_type_name(options[0])}"
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(str, options))}"
    if options:
        return " or ".join(map(_type_name, options))
    return {float: "a number", int: "an integer", bool: "true or false"}.get(expected, "a string")


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of fine-tuning.

    Attributes:
        dims: Trained widths, in any order; they should include the full width of the model. If
            empty, ``finetune_and_save`` uses the full width and its halves.
        weights: Loss weight of each of ``dims``, in the same order; if empty, all are 1.
        epochs: Passes over the texts.
        batch_size: Maximum pairs per step. An epoch is divided into batches of nearly equal size.
            The texts of other pairs in the batch are negatives.
        learning_rate: Peak learning rate, between a linear warm-up and a linear decay to 0.
        max_tokens: Longer texts are truncated in training; None for the model's limit.
        dtype: Type of the model's computations. Weights are float32.
        mini_batch_size: Texts embedded at a time, for batches that do not fit in memory.
        scale: Inverse temperature of similarities in the losses. For scored pairs, 5 was better at
            every dim than 20, the default of Sentence Transformers.
        teach: Weight of the distillation loss, in which each prefix reproduces the ranking of the
            teacher.
        teacher: Teacher of ``teach``, for pairs. "itself" is the full width of the model at the
            current step. "base" is the full width of the model before training; it also teaches
            the full width, which reduces forgetting.
        random_dims: Additional widths between those of ``dims`` to draw at each step, for pairs.
        straight_through: Also rank codes of the candidates ("int8", "binary"), for pairs.
        orthogonality: Weight of the squared correlations between dims, for pairs.
        blend: Share of the original weights in the final weights, which reduces forgetting
            (WiSE-FT, arXiv 2109.01903). The layer of ``out_dim`` is not blended.
        out_dim: Append and train a linear layer that reduces vectors to this width.
        hard_negatives: Hard negatives to mine for each pair without negatives; 0 for none.
        max_negatives: Maximum number of negatives of the data that are used for a pair, in their
            order; each one costs as much as a positive.
        temperature: Files are sampled in proportion to their size to the power of 1 / temperature.
            At 1, each text is used once an epoch; higher values sample small files more often.
        checks: Number of checkpoints. At each one, the model is saved and evaluated.
        best_at: Width whose score chooses the best checkpoint; None for the mean over ``dims``.
        seed: Seed of the order of texts and of dropout.
        report_to: Experiment trackers known to Transformers ("tensorboard", "wandb", ...).
    """

    dims: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    epochs: int = 1
    batch_size: int = 64
    learning_rate: float = 2e-5
    max_tokens: int | None = None
    dtype: DType = "float32"
    mini_batch_size: int | None = None
    scale: float = 20.0
    teach: float = 0.0
    teacher: Teacher = "itself"
    random_dims: int = 0
    straight_through: StraightThrough | None = None
    orthogonality: float = 0.0
    blend: float = 0.0
    out_dim: int | None = None
    hard_negatives: int = 0
    max_negatives: int = 10
    temperature: float = 1.0
    checks: int = 5
    best_at: int | None = None
    seed: int = 0
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if self.dims or self.weights:
            Prefixes(self.dims, self.weights)
        check_least(self, epochs=1, checks=1, hard_negatives=0, max_negatives=0, temperature=1)
        check_batch_size(self.batch_size)
        if not 0 < self.learning_rate < 1:
            problem = f"learning_rate={self.learning_rate} is out of range."
            raise InvalidArgument(f"{problem} Choose a value greater than 0 and less than 1.")
        if not 0 <= self.blend < 1:
            problem = f"blend={self.blend} is out of range."
            raise InvalidArgument(f"{problem} Choose a value of at least 0 and less than 1.")
        self._check_choices()

    def _check_choices(self) -> None:
        if self.best_at is not None and self.dims and self.best_at not in self.dims:
            dims = ", ".join(map(str, self.dims))
            raise InvalidArgument(f"best_at={self.best_at} is not one of the dims {dims}.")
        if self.out_dim is not None and max(self.dims, default=1) > self.out_dim:
            problem = f"dim {max(self.dims)} is larger than out_dim={self.out_dim}."
            raise InvalidArgument(f"{problem} Choose dims of at most {self.out_dim}.")
        for name, known in (("dtype", DTYPES), ("teacher", get_args(Teacher))):
            if getattr(self, name) not in known:
                problem = f"{name}={getattr(self, name)!r} is not one of {', '.join(known)}."
                raise InvalidArgument(problem)


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called during training.

    Attributes:
        on_progress: Called with the steps done and their total.
        on_checkpoint: Called at each checkpoint, see ``OnCheckpoint``.
    """

    on_progress: OnProgress = lambda done, total: None
    on_checkpoint: OnCheckpoint = lambda step, losses, scores: None


NO_CALLBACKS = Callbacks()
