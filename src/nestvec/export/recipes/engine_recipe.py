"""What the writer of an engine's recipes declares: quantizers, limits, versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import RecipeRequest
from nestvec.types import Precision


class EngineQuantizer(NamedTuple):
    """How the index of an engine stores the vectors of a precision.

    Attributes:
        name: Name of the quantizer, for notes.
        settings: Settings of the index, in the form that the engine's writer needs.
        is_exact: Whether the codes lose nothing compared with those of nestvec.
    """

    name: str
    settings: Any = None
    is_exact: bool = False


class EngineLimits(NamedTuple):
    """Limits of an engine; None without a limit.

    Attributes:
        dims: Largest number of dimensions of a stored vector.
        candidates: Largest number of results of one search.
    """

    dims: int | None = None
    candidates: int | None = None


Write = Callable[[RecipeRequest, EngineQuantizer], tuple[tuple[RecipePart, ...], tuple[str, ...]]]


@dataclass(frozen=True)
class EngineRecipe:
    """How recipes for one engine are written.

    Attributes:
        version: The version for which the code is written, and how the code was checked.
        quantizers: The quantizer of the index of the first stage, by precision.
        limits: Limits of the engine.
        write: Returns the parts and the notes that are specific to the engine.
        stores_float16: Whether fields of float16 vectors exist.
        float_codes: The float precisions that the index of the first stage can have.
        stores_full: Whether the whole vector is stored, even if no stage scores all of its dims.
        skips_middle: Whether only the first and the last stage are run.
        tested: Whether tests run the code on the engine itself.
    """

    version: str
    quantizers: Mapping[Precision, EngineQuantizer]
    limits: EngineLimits
    write: Write
    stores_float16: bool = False
    float_codes: tuple[Precision, ...] = ("float32", "float16")
    stores_full: bool = False
    skips_middle: bool = False
    tested: bool = False
