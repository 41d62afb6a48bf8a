"""Which operating points a table of pgvector can have, and the nearest ones for all others."""

from __future__ import annotations

from dataclasses import replace

from nestvec.engines.pgvector.statements import MAX_INDEXED_DIMS, TYPES
from nestvec.errors import InvalidArgument
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.types import OperatingPoint, Precision, Stage

STORED: dict[str, Precision] = {"vector": "float32", "halfvec": "float16"}
"""The precision of a column, by its type."""


def check_point(point: OperatingPoint, table: ShrinkTable) -> None:
    """Check that a table can be searched by an operating point.

    Raises:
        InvalidArgument: If it cannot; the message has the nearest point that is possible.
    """
    problem = _problem(point, table)
    if problem is None:
        return
    nearest = nearest_point(point, table)
    remedy = "Choose fewer dims or fewer bits."
    if _problem(nearest, table) is None:
        remedy = f"The nearest point that works here is {nearest}."
    raise InvalidArgument(f"{point}: {problem}. {remedy}")


def nearest_point(point: OperatingPoint, table: ShrinkTable) -> OperatingPoint:
    """Return the point with precisions and a last stage that a table has."""
    stages = [_possible(stage, table) for stage in point.stages]
    if len(stages) > 1:
        stages[-1] = Stage(table.dim, STORED[table.kind])
    return OperatingPoint(tuple(stages))


def _possible(stage: Stage, table: ShrinkTable) -> Stage:
    dim = min(stage.dim, table.dim)
    precision: Precision = stage.precision
    if precision == "binary":
        precision = "sign"
    elif precision not in TYPES or (precision == "float32" and table.kind == "halfvec"):
        precision = "float16"
    if dim > MAX_INDEXED_DIMS[precision]:
        precision = "float16" if dim <= MAX_INDEXED_DIMS["float16"] else "sign"
    return replace(stage, dim=dim, precision=precision)


def _problem(point: OperatingPoint, table: ShrinkTable) -> str | None:
    for stage in point.stages:
        problem = _stage_problem(stage, table)
        if problem is not None:
            return problem
    first, last = point.stages[0], point.stages[-1]
    if first.dim > MAX_INDEXED_DIMS[first.precision]:
        limit = MAX_INDEXED_DIMS[first.precision]
        return f"pgvector indexes at most {limit:,} dims of {first.precision}"
    stored = STORED[table.kind]
    if (first.dim, first.precision) == (table.dim, stored):
        return f"its first stage is the stored vector ({table.dim}:{stored}), so nothing shrinks"
    if len(point.stages) > 1 and (last.dim < table.dim or last.precision == "sign"):
        return f"the last of several stages scores the stored vector, which is {table.dim}:{stored}"
    return None


def _stage_problem(stage: Stage, table: ShrinkTable) -> str | None:
    if stage.precision not in TYPES:
        return f"pgvector has no type for {stage.precision}, only for {', '.join(TYPES)}"
    if stage.dim > table.dim:
        return f"stage {stage} is wider than the vectors of {table.name}, which have {table.dim}"
    if stage.precision == "float32" and table.kind == "halfvec":
        return f"column {table.vector} stores float16, which is less than {stage.precision}"
    return None
