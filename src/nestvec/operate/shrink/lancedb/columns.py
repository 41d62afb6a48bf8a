"""The column of unit prefixes: a computed column, which LanceDB itself fills.

LanceDB stores the expression of a computed column. ``refresh_column`` computes the rows without a
value and the rows whose vector has changed since, and writes only the files of this column: the
columns of the user and their indexes remain as they are. (A merge of values would write whole rows
again, and take them out of all indexes.) Prefixes of length 0 are NULL.
"""

from __future__ import annotations

from typing import Any

from nestvec.engines.lancedb.connection import MissingData
from nestvec.operate.shrink.lancedb.session import LanceSession, quoted_column
from nestvec.types import OnProgress, Stage

_PASSES = 8  # of filling, while other programs add rows
_ARROW = {"float16": "Float16", "float32": "Float32"}


class OutdatedColumn(Exception):
    """LanceDB cannot compute the column again, so that another column must replace it."""


def expression(session: LanceSession, stage: Stage) -> str:
    """Return the SQL of the column of a stage.

    Args:
        session: The table.
        stage: The first stage.
    """
    vector = quoted_column(session.vector)
    if session.precision == "float16":
        vector = f"arrow_cast({vector}, 'FixedSizeList({session.dim}, Float32)')"
    unit = f"array_normalize(array_slice({vector}, 1, {stage.dim}))"
    return f"arrow_cast({unit}, 'FixedSizeList({stage.dim}, {_ARROW[stage.precision]})')"


def add_column(session: LanceSession, name: str, stage: Stage) -> None:
    """Add the column without values, if it does not exist."""
    computed = {name: expression(session, stage)}

    def work(table: Any) -> None:
        if name not in table.schema.names:
            table.add_columns(computed=computed)

    session.change(work)


def fill_column(session: LanceSession, name: str, on_progress: OnProgress | None) -> int:
    """Compute missing and outdated values, until no row is left or others always add more.

    Returns:
        The number of computed values.

    Raises:
        OutdatedColumn: If LanceDB has deleted the version in which the column was computed.
        DataError: If other programs change rows all the time.
    """
    total = session.read(lambda table: int(table.count_rows()))
    filled = 0
    for _ in range(_PASSES):
        try:
            found = session.change(lambda table: int(table.refresh_column(name).rows_filled))
        except MissingData:
            raise OutdatedColumn from None
        filled += found
        if on_progress is not None:
            on_progress(min(filled, total), total)
        if not found:
            break
    return filled


def drop_columns(session: LanceSession, names: tuple[str, ...]) -> None:
    """Drop the columns that exist, with their indexes."""

    def work(table: Any) -> None:
        present = [name for name in names if name in table.schema.names]
        if present:
            table.drop_columns(present)

    session.change(work)


def is_made_by_shrink(session: LanceSession, name: str, stage: Stage) -> bool:
    """Return whether a column has the expression of a stage."""
    metadata = session.read(lambda table: table.schema.field(name).metadata) or {}
    found = metadata.get(b"computed_column.expression", b"").decode()
    return bool(found == expression(session, stage))
