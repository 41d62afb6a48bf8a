"""Read the options that describe a search in use, and the labels of its queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from nestvec.errors import DataError, InvalidArgument

if TYPE_CHECKING:
    from nestvec.operate.exact import Metric
    from nestvec.operate.live.database import TableSearch
    from nestvec.operate.relevance_check import Labels
    from nestvec.sources.logged_queries import LoggedQueries


def read_log(
    queries: Path | None, qrels: Path | None, metric: str, *, sample: int, seed: int
) -> tuple[LoggedQueries | None, Labels | None]:
    """Read ``--queries`` and ``--qrels``; with labels, only the queries that have labels.

    Raises:
        InvalidArgument: If there is no log, or the metric is unknown or needs no labels.
        DataError: If a file is missing or malformed, or no query has labels.
    """
    from nestvec.operate.relevance_check import Labels
    from nestvec.sources.logged_queries import read_logged_queries

    if queries is None:
        if qrels is not None:
            problem = "--qrels needs --queries, a log with the query ids of the labels."
            raise InvalidArgument(problem)
        return None, None
    labels = None if qrels is None else Labels.read(qrels, metric)
    ids = None if labels is None else labels.qrels
    return read_logged_queries(queries, limit=sample, seed=seed, ids=ids), labels


def read_table_search(
    sql: Path | None,
    point: str | None,
    distance: str | None,
    settings: Sequence[str] | None,
    *,
    side: str = "",
) -> TableSearch:
    """Read ``--sql``, ``--point``, ``--distance`` and ``--set``.

    Args:
        sql: File of the statement.
        point: Text of the operating point.
        distance: Name of the distance.
        settings: Settings, each ``NAME=VALUE``.
        side: Beginning of the names of the options, such as ``old-``.

    Raises:
        InvalidArgument: If a value cannot be parsed.
        DataError: If the file cannot be read or is empty.
    """
    from nestvec.operate.exact import Metric
    from nestvec.operate.live.database import TableSearch
    from nestvec.types import OperatingPoint

    if distance is not None and distance not in get_args(Metric):
        known = ", ".join(get_args(Metric))
        problem = f"--{side}distance {distance!r} is unknown."
        raise InvalidArgument(f"{problem} Choose one of: {known}.")
    pairs = [each.partition("=") for each in settings or ()]
    for name, separator, _ in pairs:
        if not separator or not name:
            problem = f"--{side}set {name!r} has no value."
            raise InvalidArgument(f"{problem} Example: hnsw.ef_search=100.")
    return TableSearch(
        "" if sql is None else _read_sql(sql),
        None if point is None else OperatingPoint.parse(point),
        cast("Metric | None", distance),
        {name: value for name, _, value in pairs},
    )


def _read_sql(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 ({error.reason})") from error
    if not text.strip():
        raise DataError(path, "is empty. Write a SELECT with $1 for the query vector")
    return text
