"""Read the rows of a collection: by primary key, by filter, or all in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nestvec.engines.milvus.collections import ID
from nestvec.engines.milvus.connection import CALL_S, STRONG, Connection
from nestvec.engines.milvus.rows import Row, keys_expression

BLOCK = 2_000
"""Most rows of one call."""
_CALL_BYTES = 16_000_000  # of one call, about


def block_size(bytes_per_row: int) -> int:
    """Return the number of rows of one call."""
    return max(1, min(BLOCK, _CALL_BYTES // max(1, bytes_per_row)))


class Rows:
    """The rows of one collection."""

    def __init__(self, connection: Connection, name: str, level: str = STRONG) -> None:
        """Name the collection, and the consistency level of reads."""
        self._connection, self._name, self._level = connection, name, level

    def count(self, expression: str = "") -> int:
        """Return the exact number of rows that match an expression."""
        return int(self._query(expression, ["count(*)"], None)[0]["count(*)"])

    def some(self, fields: Sequence[str], limit: int, expression: str = "") -> list[Row]:
        """Return some rows that match an expression."""
        return self._query(expression, fields, limit)

    def of_keys(
        self,
        keys: Sequence[str],
        fields: Sequence[str],
        *,
        expression: str = "",
        block: int = BLOCK,
    ) -> list[Row]:
        """Return rows by primary key, in any order, of those that match an expression."""
        rows: list[Row] = []
        for start in range(0, len(keys), block):
            text = keys_expression(keys[start : start + block])
            text = f"({text}) and {expression}" if expression else text
            rows += self._query(text, [ID, *fields], None)
        return rows

    def blocks(
        self, fields: Sequence[str], *, expression: str = "", block: int = BLOCK
    ) -> Iterator[list[Row]]:
        """Yield all rows that match an expression, in the order of primary keys."""
        iterator: Any = self._connection.run(
            lambda client: client.query_iterator(
                self._name,
                batch_size=block,
                filter=expression,
                output_fields=[ID, *fields],
                consistency_level=self._level,
                timeout=CALL_S,
            )
        )
        try:
            while rows := self._connection.run(lambda _: iterator.next()):
                yield list(rows)
        finally:
            iterator.close()

    def upsert(self, rows: Sequence[Row]) -> None:
        """Add rows, and replace those with the same primary keys, in one step."""
        self._connection.run(lambda client: client.upsert(self._name, list(rows), timeout=CALL_S))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete rows by primary key."""
        for start in range(0, len(keys), BLOCK):
            self._delete(keys_expression(keys[start : start + BLOCK]))

    def _delete(self, expression: str) -> None:
        self._connection.run(
            lambda client: client.delete(self._name, filter=expression, timeout=CALL_S)
        )

    def _query(self, expression: str, fields: Sequence[str], limit: int | None) -> list[Row]:
        """Return rows; without a limit, the expression limits them."""
        bound = {} if limit is None else {"limit": limit}
        return list(
            self._connection.run(
                lambda client: client.query(
                    self._name,
                    filter=expression,
                    output_fields=list(fields),
                    consistency_level=self._level,
                    timeout=CALL_S,
                    **bound,
                )
            )
        )
