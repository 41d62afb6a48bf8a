"""Find the search function of a table that ``nestvec shrink`` has switched."""

from __future__ import annotations

from typing import Any

from nestvec.operate.live.database import TableSearch
from nestvec.sources.postgresql import quoted
from nestvec.types import OperatingPoint

_READABLE = """
SELECT to_regclass('nestvec.shrinks') IS NOT NULL
    AND has_schema_privilege('nestvec', 'USAGE')
    AND has_table_privilege('nestvec.shrinks', 'SELECT')
"""
_SWITCHED = """
SELECT table_schema, record ->> 'function', record ->> 'point' FROM nestvec.shrinks
WHERE vector_column = %s AND state IN ('switched', 'finishing', 'finished')
AND to_regclass(quote_ident(table_schema) || '.' || quote_ident(table_name)) = %s::regclass
"""


def shrunk_search(connection: Any, table: str, column: str) -> TableSearch | None:
    """Return the search of a table whose search function was switched; None for other tables.

    Args:
        connection: A connection of psycopg.
        table: The quoted name of the table.
        column: The column of vectors.
    """
    known = "SELECT to_regnamespace('nestvec') IS NOT NULL"
    if not connection.execute(known).fetchone()[0]:
        return None
    if not connection.execute(_READABLE).fetchone()[0]:
        return None
    row = connection.execute(_SWITCHED, [column, table]).fetchone()
    if row is None:
        return None
    schema, function, point = row
    name = f"{quoted(schema)}.{quoted(function)}"
    return TableSearch(f"SELECT * FROM {name}($1, $2)", OperatingPoint.parse(point))
