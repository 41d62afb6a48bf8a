"""Read vectors and conditions of a table of PostgreSQL by ``COPY ... (FORMAT binary)``.

Each row is a fixed number of bytes, whatever the type of its id: rows are identified by their
``ctid``, their place in the table, which does not change in a transaction. So NumPy reads a block
of rows without a loop over its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.postgresql import Compiled
from nestvec.errors import DataError
from nestvec.operate.exact import ScannedRows
from nestvec.types import Rows

PART_BITS = 48
"""A row number is the number of the partition, and 32 and 16 bits of the ctid."""
_NUMBERS = {"vector": ">f4", "halfvec": ">f2"}
_BLOCK_BYTES = 1 << 23
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER_NUMBERS = 8  # bytes of zeros: no flags, and no extension of the header
_TRAILER = b"\xff\xff"


def row_numbers(pages: NDArray[Any], items: NDArray[Any], part: int) -> Rows:
    """Return the numbers of rows from their ctids."""
    numbers: Rows = (part << PART_BITS) + (pages.astype(np.int64) << 16) + items.astype(np.int64)
    return numbers


def ctid_text(number: int) -> str:
    """Return the ctid of a row in the form that PostgreSQL reads."""
    place = number & ((1 << PART_BITS) - 1)
    return f"({place >> 16},{place & 0xFFFF})"


def copy_rows(  # noqa: PLR0913 - later arguments are keyword-only
    connection: Any,
    table: str,
    column: str,
    *,
    kind: str,
    dim: int,
    conditions: Sequence[Compiled] = (),
    part: int = 0,
    shown: str = "",
) -> Iterator[ScannedRows]:
    """Yield all rows whose vector is not NULL, in the order of the table.

    Args:
        connection: A connection of psycopg, in a transaction.
        table: The quoted name of a table, or of one partition.
        column: The quoted name of the column of vectors.
        kind: The type of the column: "vector" or "halfvec".
        dim: Number of dimensions of each vector.
        conditions: Conditions on the columns.
        part: The number of the partition.
        shown: The place, for error messages.

    Raises:
        DataError: If a vector has another number of dimensions.
    """
    record = _record(kind, dim, len(conditions))
    matched = "".join(f", ({text}) IS TRUE" for text, _ in conditions)
    source = f"SELECT ctid, {column}{matched} FROM ONLY {table} WHERE {column} IS NOT NULL"
    statement = f"COPY ({source}) TO STDOUT (FORMAT binary)"
    values = [value for _, values in conditions for value in values]
    most = max(1, _BLOCK_BYTES // record.itemsize)
    with connection.cursor() as cursor, cursor.copy(statement, values or None) as copy:
        parts: list[Any] = []
        for data in copy:
            if len(data) == record.itemsize:
                parts.append(data)
                if len(parts) == most:
                    yield _block(parts, record, part, len(conditions))
                    parts = []
                continue
            row = bytes(data).removeprefix(_SIGNATURE + bytes(_HEADER_NUMBERS))
            if len(row) == record.itemsize:
                parts.append(row)
            elif row not in (_TRAILER, b""):
                more = (len(row) - record.itemsize) // np.dtype(_NUMBERS[kind]).itemsize
                raise other_width(shown, dim, dim + more)
        if parts:
            yield _block(parts, record, part, len(conditions))


def _record(kind: str, dim: int, conditions: int) -> np.dtype[Any]:
    item = np.dtype(_NUMBERS[kind])
    fields: list[Any] = [
        ("fields", ">i2"),
        ("ctid_bytes", ">i4"),
        ("page", ">u4"),
        ("item", ">u2"),
        ("vector_bytes", ">i4"),
        ("dim", ">i2"),
        ("unused", ">i2"),
        ("numbers", item, (dim,)),
    ]
    for number in range(conditions):
        fields += [(f"match_bytes_{number}", ">i4"), (f"match_{number}", "?")]
    return np.dtype(fields)


def _block(
    parts: Sequence[bytes], record: np.dtype[Any], part: int, conditions: int
) -> ScannedRows:
    found = np.frombuffer(b"".join(parts), record)
    matches = np.empty((len(found), conditions), dtype=np.bool_)
    for number in range(conditions):
        matches[:, number] = found[f"match_{number}"]
    values = found["numbers"].astype(np.float32)
    return ScannedRows(row_numbers(found["page"], found["item"], part), values, matches)


def other_width(place: str, dim: int, other: int) -> DataError:
    """Return the error of a column that has vectors of two widths."""
    problem = f"has vectors of {dim} and of {other} dims. Only vectors of one width can be compared"
    return DataError(place, f"{problem}. Create a view or a column for each width.")
