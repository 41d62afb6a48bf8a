"""Open whatever is searched at a place: an index of nestvec, or a table of other programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestvec.engines.pgvector.tables import DEFAULT_TABLE
from nestvec.engines.registry import engine_at
from nestvec.errors import InvalidArgument
from nestvec.operate.live.database import LiveDatabase, TableSearch
from nestvec.operate.live.indexes import open_live_index
from nestvec.operate.live.lancedb import open_lance_table
from nestvec.operate.live.postgresql import open_table
from nestvec.sources.places import TABLE_PARAMETERS, Place
from nestvec.sources.postgresql import is_postgresql, transaction
from nestvec.types import Encoder

_LANCE = ("lance://", "s3://")


@contextmanager
def open_live(
    place: Path | str, search: TableSearch, model: Encoder | None
) -> Iterator[LiveDatabase]:
    """Open an index, or a table if there is no index at the place.

    Args:
        place: The path or URL of an index, or the URL of a table.
        search: How it is searched. An index uses only ``point``.
        model: The model of queries that are texts; an index can load its own.

    Raises:
        DataError: If there is neither.
        InvalidArgument: If an index is given a setting for tables.
    """
    if is_postgresql(place) and not _is_index(str(place)):
        with open_table(str(place), search, model) as table:
            yield table
        return
    if str(place).startswith(_LANCE) and not _is_lance_index(str(place)):
        with open_lance_table(str(place), search, model) as lance_table:
            yield lance_table
        return
    if search.statement or search.metric or search.settings:
        problem = f"{place} is an index of nestvec, whose search has no statement and no settings."
        raise InvalidArgument(f"{problem} Pass at most an operating point.")
    with open_live_index(str(place), search.point, model) as index:
        yield index


def _is_lance_index(url: str) -> bool:
    """Return whether a table of LanceDB is an index; a URL with columns is that of a table."""
    names = Place.parse(url, TABLE_PARAMETERS).parameters
    return not {"id", "vector"} & names.keys() and engine_at(url).exists(url)


def _is_index(url: str) -> bool:
    """Return whether a table is an index; a URL that names columns is that of a table.

    The engine would create its extension; this function only reads.
    """
    place = Place.parse(url, TABLE_PARAMETERS)
    if {"id", "vector"} & place.parameters.keys():
        return False
    name = place.parameters.get("table", DEFAULT_TABLE)
    with transaction(place) as connection:
        (records,) = connection.execute("SELECT to_regclass('nestvec.indexes')").fetchone()
        if records is None:
            return False
        known = "SELECT 1 FROM nestvec.indexes WHERE name = %s"
        return connection.execute(known, [name]).fetchone() is not None
