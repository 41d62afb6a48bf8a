"""The columns of prefixes of a table: add, fill and remove them while searches continue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nestvec.engines.lancedb.opened import OpenTable
from nestvec.engines.lancedb.rows import (
    ID,
    VECTOR,
    arrow,
    column_key,
    field_of,
    prefixes,
    vector_array,
    vectors_of,
)
from nestvec.types import CodeKey

_FILLED_ROWS = 16_384  # in one commit


def names(table: OpenTable) -> list[str]:
    """Return the names of all columns."""
    return table.read(lambda opened: list(opened.schema.names))


def add(table: OpenTable, name: str, key: CodeKey) -> None:
    """Add a column of prefixes, and fill it in blocks; an interrupted call is continued.

    Lance writes a row again to fill a column, so a call writes the whole table once.
    """
    with table.folder.changing():
        if name not in names(table):
            field = field_of(name, key)
            table.change(lambda opened: opened.add_columns([field]))
        while True:
            filled = 0
            for ids, vectors in _missing(table, name):
                _fill(table, name, key, ids, vectors)
                filled += len(ids)
            if not filled:
                return


def remove_others(table: OpenTable, name: str) -> None:
    """Remove all columns of prefixes but one."""
    unused = [each for each in names(table) if column_key(each) and each != name]
    if unused:
        table.change(lambda opened: opened.drop_columns(unused))


def _missing(table: OpenTable, name: str) -> Iterator[tuple[Any, Any]]:
    """Yield the ids and vectors of rows without a prefix, in blocks."""
    pa = arrow()
    blocks, rows = [], 0
    for block in table.blocks([ID, VECTOR], f"{name} IS NULL"):
        blocks.append(block)
        rows += len(block)
        if rows >= _FILLED_ROWS:
            yield _joined(pa.Table.from_batches(blocks))
            blocks, rows = [], 0
    if rows:
        yield _joined(pa.Table.from_batches(blocks))


def _joined(rows: Any) -> tuple[Any, Any]:
    return rows[ID].combine_chunks(), vectors_of(rows[VECTOR])


def _fill(table: OpenTable, name: str, key: CodeKey, ids: Any, vectors: Any) -> None:
    pa = arrow()
    field = field_of(name, key)
    filled = vector_array(prefixes(vectors, key), field.type)
    rows = pa.table([ids, filled], schema=pa.schema([pa.field(ID, pa.string()), field]))
    table.change(lambda opened: opened.merge_insert(ID).when_matched_update_all().execute(rows))
