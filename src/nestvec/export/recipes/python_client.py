"""What the Python recipes share: the names that users define, and lines of code for stages."""

from __future__ import annotations

from nestvec.export.recipes.blocks import prefix_part
from nestvec.export.recipes.parts import RecipePart
from nestvec.export.recipes.request import RESULTS, StageField

GIVEN = "# Define ids (a list of texts), vectors [n, full_dim] and query [full_dim] before."


def vectors_part(stored: dict[str, int]) -> RecipePart:
    """Return the part with ``prefix``, and the names that the later parts use."""
    part = prefix_part(stored)
    return part._replace(text=f"{part.text}\n{GIVEN}")


def columns(stored: dict[str, int]) -> str:
    """Return the entries of a dict of all stored vectors, by name."""
    return ", ".join(f'"{name}": prefix(vectors, {dim})' for name, dim in stored.items())


def later_searches(fields: tuple[StageField, ...]) -> list[tuple[str, int, int]]:
    """Return (field, dims, number of results) of each later stage."""
    return [(field.name, field.dim, field.stage.keep or RESULTS) for field in fields[1:]]


def divisor_near(dim: int, wanted: int) -> int:
    """Return the largest divisor of a width that is at most ``wanted``; at least 1."""
    return next(each for each in range(max(1, wanted), 0, -1) if dim % each == 0)
