"""Settings of fine-tuning, their checks, and reading settings of a run from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from nestvec.errors import DataError, InvalidArgument
from nestvec.models.sentence_transformer import DTYPES, DType
from nestvec.train.objective import Prefixes, StraightThrough
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Config = TypeVar("Config")
Judge = Callable[["SentenceTransformer"], Mapping[int, float]]
"""Scores a model at each width."""
OnCheck = Callable[[int, Mapping[int, float], Mapping[int, float]], None]
"""Told at each checkpoint: steps done, mean loss since the last one and the judge's score, each by
width (no scores without a judge)."""
Teacher = Literal["itself", "base"]
_LEAST_BATCH = 2


def config_from_file(
    kind: type[Config], path: Path, *, usual: Mapping[str, Any], given: Mapping[str, Any]
) -> Config:
    """Read a TOML file whose names are the fields of a dataclass.

    Args:
        kind: The dataclass, which checks its values itself.
        path: The file.
        usual: What stands below the file.
        given: What stands above it.

    Raises:
        DataError: If the file cannot be read, or holds a name that is none of the fields or a
            value of another type.
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
        if not _is(value, types[name]):
            raise DataError(path, f"{name} = {value!r} is not {_named(types[name])}")
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return kind(**{**usual, **values, **lists, **given})


def _is(value: object, expected: Any) -> bool:
    """Tell whether a value of TOML is of a field's type: a number, text, or a list of one type."""
    options = get_args(expected)
    if get_origin(expected) is tuple:
        return isinstance(value, list) and all(_is(each, options[0]) for each in value)
    if get_origin(expected) is Literal:
        return value in options
    if options:
        return any(_is(value, option) for option in options)
    if expected is float:
        return type(value) in (float, int)
    return type(value) is expected


def _named(expected: Any) -> str:
    """Return how an error calls a type."""
    options = [option for option in get_args(expected) if option is not NoneType]
    if get_origin(expected) is tuple:
        return f"a list, each of which is {_named(options[0])}"
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(str, options))}"
    if options:
        return " or ".join(map(_named, options))
    return {float: "a number", int: "a whole number", bool: "true or false"}.get(expected, "text")


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune.

    Attributes:
        dims: Widths trained for, in any order; the model's own should be among them. With none,
            ``finetune_and_save`` takes that and its halves.
        weights: What each counts, in the order of ``dims``; none for 1 each.
        epochs: Passes over the texts.
        batch_size: Pairs of a step; each sees the others' texts as negatives.
        learning_rate: Peak, after a linear warm-up and before a linear decay to 0.
        max_tokens: Longer texts are cut in training; None for the model's own limit.
        dtype: What the model computes in; its weights stay float32.
        mini_batch_size: Texts embedded at a time, for batches larger than memory.
        scale: Inverse temperature of similarities in the losses. For scored pairs 5 was better at
            every dim than 20, which Sentence Transformers takes.
        teach: Weight of what prefixes learn from the full width.
        teacher: For pairs, whose full width: the model's own as it is at each step, or that of the
            model before training ("base"), from which the full width learns as well, so that it
            forgets less.
        random_dims: Widths drawn for each step between those of ``dims``, for pairs.
        straight_through: Rank the candidates' codes ("int8", "binary") as well, for pairs.
        orthogonality: Weight of the squared correlations between dims, for pairs.
        blend: Share of the weights from before training in those that are kept, so that less is
            forgotten (WiSE-FT, arXiv 2109.01903); what ``out_dim`` appends stays as trained.
        out_dim: Append a layer that makes vectors so narrow, and train it as well.
        hard_negatives: How many to mine for each pair that has none; 0 for none.
        temperature: Files are drawn from in proportion to their size to the power of 1 /
            temperature: at 1 each text is seen once an epoch, above it small files more often.
        checks: How often the model is judged and kept on the way.
        best_at: Width whose score tells which is the best; None for the mean over ``dims``.
        seed: Of the order of texts, and of dropout.
        report_to: Trackers that the library knows ("tensorboard", "wandb", ...).
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
    temperature: float = 1.0
    checks: int = 5
    best_at: int | None = None
    seed: int = 0
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if self.dims or self.weights:
            Prefixes(self.dims, self.weights)
        least = {"epochs": 1, "checks": 1, "hard_negatives": 0, "temperature": 1}
        for name, limit in least.items():
            if not getattr(self, name) >= limit:
                raise InvalidArgument(f"{name} {getattr(self, name)} < {limit}")
        if self.batch_size < _LEAST_BATCH:
            problem = f"batch_size {self.batch_size} < {_LEAST_BATCH}"
            raise InvalidArgument(f"{problem}: a pair needs others beside it")
        if not 0 < self.learning_rate < 1:
            raise InvalidArgument(f"learning_rate {self.learning_rate} is not within 0 and 1")
        if not 0 <= self.blend < 1:
            raise InvalidArgument(f"blend {self.blend} is not at least 0 and below 1")
        self._check_choices()

    def _check_choices(self) -> None:
        if self.best_at is not None and self.dims and self.best_at not in self.dims:
            dims = ", ".join(map(str, self.dims))
            raise InvalidArgument(f"best_at {self.best_at} is not one of the dims {dims}")
        if self.out_dim is not None and max(self.dims, default=1) > self.out_dim:
            raise InvalidArgument(f"{max(self.dims)} dims > out_dim {self.out_dim}")
        for name, known in (("dtype", DTYPES), ("teacher", get_args(Teacher))):
            if getattr(self, name) not in known:
                problem = f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}"
                raise InvalidArgument(problem)


@dataclass(frozen=True)
class Callbacks:
    """What is called on the way.

    Attributes:
        on_progress: With steps done and in total.
        on_check: At each checkpoint.
    """

    on_progress: OnProgress = lambda done, total: None
    on_check: OnCheck = lambda step, losses, scores: None


NO_CALLBACKS = Callbacks()
