"""Adapt vectors in PostgreSQL: the matrix of a linear adapter as rows, and a function over them.

    adapted(x) = normalize((x / |x|) W), the first ``dim`` columns of W only

The trigger, the backfill and the search function call the function, so that rows which programs
write are adapted at once, and no row waits for a later run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nestvec.errors import InvalidArgument
from nestvec.models.adapter import Adapter
from nestvec.models.adapter_file import load_adapter
from nestvec.operate.shrink.postgresql.paths import dollar_quoted, search_path
from nestvec.operate.shrink.postgresql.statements import derived_name
from nestvec.operate.shrink.postgresql.target import ShrinkTable
from nestvec.operate.shrink.request import ShrinkRequest

TABLE = """CREATE TABLE IF NOT EXISTS nestvec.shrink_adapters (
    table_schema text NOT NULL,
    table_name text NOT NULL,
    vector_column text NOT NULL,
    number integer NOT NULL,
    weights vector NOT NULL,
    PRIMARY KEY (table_schema, table_name, vector_column, number)
)"""
_INLINE = "ALTER TABLE nestvec.shrink_adapters ALTER COLUMN weights SET STORAGE MAIN"
INSERT_WEIGHTS = "INSERT INTO nestvec.shrink_adapters VALUES (%s, %s, %s, %s, %s)"


def checked_adapter(request: ShrinkRequest, table: ShrinkTable) -> Adapter | None:
    """Load the adapter of a request; None without one.

    Raises:
        InvalidArgument: If PostgreSQL cannot apply the adapter, or it does not fit the table.
        DataError: If the file cannot be read.
    """
    if request.adapter is None:
        return None
    adapter = load_adapter(request.adapter)
    name = Path(request.adapter).name
    problem = _problem(adapter, request, table)
    if problem is not None:
        raise InvalidArgument(f"{name}: {problem}.")
    adapter.matrix()
    return adapter


def adapt_function_name(table: ShrinkTable, column: str) -> str:
    """Return the name of the function that adapts a vector."""
    return derived_name(f"{table.name}_{column}", "adapt")


def adapt_function(table: ShrinkTable, column: str) -> str:
    """Return the statement that creates the function which adapts a vector.

    The function reads the matrix with the rights of its owner, so that callers need none.
    """
    key = _condition(table)
    body = (
        "\nDECLARE\n    unit vector := l2_normalize(v);\nBEGIN\n    RETURN (\n"
        "        SELECT l2_normalize(array_agg(-(unit <#> weights) ORDER BY number)::vector)\n"
        f"        FROM nestvec.shrink_adapters WHERE {key});\nEND\n"
    )
    name = table.qualified(adapt_function_name(table, column))
    return (
        f"CREATE OR REPLACE FUNCTION {name}(v vector) RETURNS vector\n"
        f"LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SECURITY DEFINER\n"
        f"{search_path(table)}\nAS {dollar_quoted(body, 'adapt')}"
    )


def store_matrix(connection: Any, table: ShrinkTable, adapter: Adapter, dim: int) -> None:
    """Store the first columns of the matrix of an adapter; those of an earlier shrink are deleted.

    Args:
        connection: A connection in a transaction.
        table: The table whose vectors are adapted.
        adapter: A linear adapter.
        dim: Number of columns.
    """
    from pgvector import Vector

    (known,) = connection.execute("SELECT to_regclass('nestvec.shrink_adapters')").fetchone()
    if known is None:
        connection.execute(TABLE)
        connection.execute(_INLINE)
    connection.execute(delete_matrix(table))
    columns = adapter.matrix().T[:dim]
    key = (table.schema, table.name, table.vector)
    rows = [(*key, number, Vector(weights)) for number, weights in enumerate(columns)]
    connection.cursor().executemany(INSERT_WEIGHTS, rows)


def drop_adapter(table: ShrinkTable, column: str) -> tuple[str, ...]:
    """Return the statements that drop what ``adapt_function`` and ``store_matrix`` created."""
    name = table.qualified(adapt_function_name(table, column))
    return (f"DROP FUNCTION IF EXISTS {name}(vector)", delete_matrix(table))


def delete_matrix(table: ShrinkTable) -> str:
    """Return the statement that deletes the matrix of a table."""
    return f"DELETE FROM nestvec.shrink_adapters WHERE {_condition(table)}"


def _condition(table: ShrinkTable) -> str:
    names = ("table_schema", "table_name", "vector_column")
    values = (table.schema, table.name, table.vector)
    pairs = zip(names, values, strict=True)
    return " AND ".join(f"{name} = {dollar_quoted(value, 'name')}" for name, value in pairs)


def _problem(adapter: Adapter, request: ShrinkRequest, table: ShrinkTable) -> str | None:
    if request.column is None:
        return "adapted codes need a column. Name it with --column"
    if adapter.full_dim != table.dim:
        return f"the adapter is for {adapter.full_dim} dims, and {table.vector} has {table.dim}"
    if adapter.method == "none":
        return "the adapter does not change vectors. Omit it"
    if adapter.layer_norm:
        return "the adapter uses layer normalization, which PostgreSQL does not compute"
    if len(request.point.stages) > 2:
        return "an adapter is used in the first of at most two stages. Choose another point"
    return None
