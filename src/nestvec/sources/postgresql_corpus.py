"""Read documents from a table of PostgreSQL that other programs wrote.

``postgresql://host/database?table=docs&text=body&title=name&metadata=fields`` names the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nestvec.data.corpus import Corpus
from nestvec.errors import DataError, InvalidArgument
from nestvec.sources.ids import as_id, check_unique
from nestvec.sources.places import TABLE_PARAMETERS, Place
from nestvec.sources.postgresql import find_table, quoted, read_columns, transaction
from nestvec.sources.stream import ID_COLUMNS
from nestvec.types import Document

_ROWS = 1_000  # in memory at a time
_JSON = ("json", "jsonb")


def open_table_corpus(url: str) -> Corpus:
    """Open a table of documents, which is read again whenever the corpus is iterated.

    Args:
        url: The URL with the parameters ``table``, ``text`` (required), ``id`` (default ``id`` or
            ``_id``), ``title`` and ``metadata`` (a column of JSON objects). NULL is no text, no
            title or no metadata.

    Raises:
        InvalidArgument: If the URL cannot be parsed, or names no table or no column of texts.
        DataError: If the server cannot be reached, there is no such table or column, or an id is
            missing or appears twice.
        MissingExtra: If psycopg is not installed.
    """
    place = Place.parse(url, TABLE_PARAMETERS)
    with transaction(place) as connection:
        query = _query(connection, place)
    ids = [id_ for id_, _ in _read(place, query)]
    check_unique(ids, place.shown)
    return Corpus(lambda: _read(place, query), len(ids), source=place.shown)


def _query(connection: Any, place: Place) -> str:
    table, names = find_table(connection, place), place.parameters
    found = read_columns(connection, table)
    if "text" not in names:
        problem = f"{place.shown} names no column of texts."
        raise InvalidArgument(f"{problem} Append &text=COLUMN to the URL.")
    ids = names.get("id") or next((each for each in ID_COLUMNS if each in found), ID_COLUMNS[0])
    for name in (ids, *(names[each] for each in ("text", "title", "metadata") if each in names)):
        if name not in found:
            columns = ", ".join(found)
            problem = f"has no column {name} (its columns: {columns})."
            raise DataError(place.shown, f"{problem} Name the column in the URL.")
    title, metadata = names.get("title"), names.get("metadata")
    if metadata is not None and found[metadata].kind not in _JSON:
        kind = found[metadata].kind
        problem = f"column {metadata} has the type {kind}, not jsonb."
        raise DataError(place.shown, f"{problem} Create a view with jsonb_build_object.")
    chosen = [f"t.{quoted(ids)}::text", f"t.{quoted(names['text'])}::text"]
    chosen.append("NULL" if title is None else f"t.{quoted(title)}::text")
    chosen.append("NULL" if metadata is None else f"t.{quoted(metadata)}")
    return f"SELECT {', '.join(chosen)} FROM {table} AS t ORDER BY t.{quoted(ids)}"  # noqa: S608


def _read(place: Place, query: str) -> Iterator[tuple[str, Document]]:
    with transaction(place) as connection, connection.cursor("nestvec_documents") as cursor:
        cursor.itersize = _ROWS
        for row, (id_, text, title, metadata) in enumerate(cursor.execute(query)):
            name = as_id(id_, place.shown, row)
            fields = {} if metadata is None else metadata
            if not isinstance(fields, dict):
                problem = f"the metadata of id {name!r} are {type(fields).__name__}, not an object."
                raise DataError(place.shown, f"{problem} Store a JSON object, or NULL.")
            yield name, Document(text or "", title or "", fields)
