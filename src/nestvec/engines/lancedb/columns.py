"""The columns of prefixes of a table: add and remove them while searches continue.

Lance fills a column by writing its rows again, in a join whose memory grows with the table. So a
column is added by a copy of the table, in bounded memory, which then replaces the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nestvec.engines.lancedb.opened import OpenTable
from nestvec.engines.lancedb.rows import (
    VECTOR,
    arrow,
    column_key,
    field_of,
    prefixes,
    vector_array,
    vectors_of,
)
from nestvec.types import CodeKey


def names(table: OpenTable) -> list[str]:
    """Return the names of all columns."""
    return table.read(lambda opened: list(opened.schema.names))


def add(table: OpenTable, name: str, key: CodeKey) -> None:
    """Add a column of prefixes. Searches use the former table until the copy is complete.

    A crash leaves the former table, and a copy that the next call deletes.
    """
    with table.folder.changing():
        former = table.read(lambda opened: opened.schema)
        if name not in former.names:
            field = field_of(name, key)
            table.replace_by(former.append(field), _with_column(table, former.names, field, key))


def remove_others(table: OpenTable, name: str) -> None:
    """Remove all columns of prefixes but one."""
    unused = [each for each in names(table) if column_key(each) and each != name]
    if unused:
        table.change(lambda opened: opened.drop_columns(unused))


def _with_column(table: OpenTable, former: list[str], field: Any, key: CodeKey) -> Iterator[Any]:
    """Yield all rows with the new column as Arrow record batches."""
    pa = arrow()
    for block in table.blocks(former):
        rows = pa.Table.from_batches([block])
        filled = vector_array(prefixes(vectors_of(rows[VECTOR]), key), field.type)
        yield from rows.append_column(field, filled).to_batches()
