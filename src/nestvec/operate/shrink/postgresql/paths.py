"""The SQL of a search, before and after the switch, and the function that contains it.

The query has the parameters ``$1`` (the vector) and ``$2`` (the number of results). The function
executes its text with the values of both, so that PostgreSQL plans each call for them: a plan for
any number of results can ignore the index.
"""

from __future__ import annotations

from collections.abc import Sequence

from nestvec.engines.pgvector.connection import SESSION
from nestvec.engines.pgvector.statements import LARGEST_EF_SEARCH
from nestvec.operate.shrink.postgresql.representation import OPERATORS, SqlRepresentation
from nestvec.operate.shrink.postgresql.target import PresentIndex, ShrinkTable
from nestvec.operate.shrink.request import Metric
from nestvec.sources.postgresql import quoted
from nestvec.types import Stage

_SETTINGS = {
    "hnsw.iterative_scan": SESSION["hnsw.iterative_scan"],
    "ivfflat.iterative_scan": "relaxed_order",
    "jit": SESSION["jit"],
}


def present_query(
    table: ShrinkTable, index: PresentIndex | None, metric: Metric, *, skip_nulls: bool
) -> str:
    """Return the search by the present column, in the order of its index if there is one."""
    kind = table.kind if index is None else index.kind
    code = table.column if index is None else index.expression
    distance = f"({code} {OPERATORS[metric]} $1::{kind}({table.dim}))"
    return _ranked(
        f"SELECT {_ids(table)}, {distance}::double precision AS distance FROM {table.sql} "
        f"{_where(table, skip_nulls=skip_nulls)}ORDER BY {distance} LIMIT $2",
        table,
    )


def exact_query(table: ShrinkTable, metric: Metric, *, skip_nulls: bool) -> str:
    """Return the search by the present column at full width, in any order of a scan."""
    return present_query(table, None, metric, skip_nulls=skip_nulls)


def new_query(
    table: ShrinkTable,
    stages: Sequence[Stage],
    first: SqlRepresentation,
    metric: Metric,
    *,
    skip_nulls: bool,
) -> str:
    """Return the search by all stages of an operating point.

    Args:
        table: The table.
        stages: The stages. The last of several stages is the stored vector.
        first: The representation of the first stage.
        metric: The metric of the distances that the search returns.
        skip_nulls: Leave out rows without a vector.
    """
    where = _where(table, skip_nulls=skip_nulls, first=first)
    if len(stages) == 1:
        distance = f"({first.distance('$1', metric)})::double precision"
        return _ranked(
            f"SELECT {_ids(table)}, {distance} AS distance FROM {table.sql} {where}"
            f"ORDER BY {first.order('$1')} LIMIT $2",
            table,
        )
    source = (
        f"SELECT {_ids(table)}, {table.column} FROM {table.sql} {where}"
        f"ORDER BY {first.order('$1')} LIMIT greatest({stages[0].keep}, $2)"
    )
    for number, stage in enumerate(stages[1:-1]):
        codes = SqlRepresentation(stage.dim, stage.precision, table.dim, table.column)
        source = (
            f"SELECT {_names(table)}, {table.column} FROM ({source}) AS s{number} "
            f"ORDER BY {codes.order('$1')} LIMIT greatest({stage.keep}, $2)"
        )
    distance = f"{table.column} {OPERATORS[metric]} $1::{table.kind}({table.dim})"
    scored = (
        f"SELECT {_names(table)}, ({distance})::double precision AS distance "
        f"FROM ({source}) AS shortlist"
    )
    return f"{_ranked(scored, table)} LIMIT $2"


def function_arguments() -> str:
    """Return the types of the arguments of the search function, as SQL names the function."""
    return "(vector, integer)"


def search_function(table: ShrinkTable, name: str, query: str, ef_search: int | None) -> str:
    """Return the statement that creates or replaces the search function.

    Args:
        table: The table.
        name: The name of the function, in the schema of the table.
        query: The search.
        ef_search: The least ``hnsw.ef_search``; None for the value of the caller's session.
    """
    settings = {f"SET {key} = '{value}'" for key, value in _SETTINGS.items()}
    widen = ""
    if ef_search is not None:
        settings.add(f"SET hnsw.ef_search = '{ef_search}'")
        widen = (
            f"    IF k > {ef_search} THEN\n"
            f"        PERFORM set_config('hnsw.ef_search', least(k, {LARGEST_EF_SEARCH})::text, "
            f"true);\n    END IF;\n"
        )
    returned = ", ".join(
        f"{quoted(name)} {each.kind}"
        for name, each in zip(_id_names(table), table.ids, strict=True)
    )
    body = (
        f"\nBEGIN\n{widen}    RETURN QUERY EXECUTE {dollar_quoted(query, 'query')}\n"
        f"        USING query, k;\nEND\n"
    )
    return (
        f"CREATE OR REPLACE FUNCTION {table.qualified(name)}(query vector, k integer)\n"
        f"RETURNS TABLE ({returned}, distance double precision)\n"
        f"LANGUAGE plpgsql STABLE STRICT ROWS 10\n"
        f"{search_path(table)}\n{chr(10).join(sorted(settings))}\n"
        f"AS {dollar_quoted(body, 'search')}"
    )


def trigger_function(table: ShrinkTable, name: str, stored: SqlRepresentation) -> str:
    """Return the statement that creates the function which fills the new column of a row."""
    body = (
        f"\nBEGIN\n    NEW.{stored.stored_in} := "
        f"{stored.computed_from(f'NEW.{table.column}')};\n    RETURN NEW;\nEND\n"
    )
    return (
        f"CREATE OR REPLACE FUNCTION {table.qualified(name)}() RETURNS trigger\n"
        f"LANGUAGE plpgsql\n{search_path(table)}\nAS {dollar_quoted(body, 'trigger')}"
    )


def dollar_quoted(text: str, tag: str) -> str:
    """Return a text as a constant of SQL.

    >>> dollar_quoted("SELECT '1'", "query")
    "$query$SELECT '1'$query$"
    """
    while f"${tag}" in text:  # without the last $: a text can end with the rest of the tag
        tag += "_"
    return f"${tag}${text}${tag}$"


def search_path(table: ShrinkTable) -> str:
    """Return the setting that prevents other schemas from replacing operators and types."""
    return f"SET search_path = pg_catalog, {table.extension_schema}, pg_temp"


def _id_names(table: ShrinkTable) -> list[str]:
    return ["id"] if len(table.ids) == 1 else [each.name for each in table.ids]


def _names(table: ShrinkTable) -> str:
    return ", ".join(map(quoted, _id_names(table)))


def _ids(table: ShrinkTable) -> str:
    pairs = zip(table.ids, _id_names(table), strict=True)
    return ", ".join(f"{quoted(each.name)} AS {quoted(name)}" for each, name in pairs)


def _where(table: ShrinkTable, *, skip_nulls: bool, first: SqlRepresentation | None = None) -> str:
    """Return the condition that leaves out rows without a vector or without codes."""
    if not skip_nulls or table.not_null:
        return ""
    return f"WHERE {(first and first.stored_in) or table.column} IS NOT NULL "


def _ranked(query: str, table: ShrinkTable) -> str:
    """Return a query whose rows are in the order of distance and id: an index may swap some."""
    return (
        f"SELECT {_names(table)}, distance FROM ({query}) AS found "
        f"ORDER BY distance, {_names(table)}"
    )
