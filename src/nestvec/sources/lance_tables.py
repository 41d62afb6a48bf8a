"""Read vectors from a Lance table that other programs wrote.

``lance:///folder?table=docs&id=key&vector=embedding`` or ``s3://bucket/prefix?table=docs`` names
the table and its columns. One version of the table is read, in the order in which its rows are
stored: two reads of an unchanged table return the same.

The parameter ``table`` can also name an index of nestvec, whose vectors are in the column
``vector``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nestvec.errors import DataError, InvalidArgument, NestvecError, require
from nestvec.files.object_storage import is_object_storage, lance_options, storage_error_text
from nestvec.sources.arrow_columns import ChosenColumns, choose_columns, read_blocks
from nestvec.sources.places import COLUMN_PARAMETERS, Place
from nestvec.sources.stream import ANY_COLUMNS, Block, Columns, VectorStream, block_rows

if TYPE_CHECKING:
    import pyarrow as pa

RECORDS = "nestvec_indexes"
"""The table that lists the indexes of a folder, and the tables of their documents."""
DEFAULT_TABLE = "documents"
_WIDEST = 16_000  # dims of a column that states none
_PARAMETERS = ("table", *COLUMN_PARAMETERS)
_MANY = 20  # names in an error


class _LanceFolder(NamedTuple):
    """A folder of tables.

    Attributes:
        uri: The path of the folder, or the URL of the prefix, for LanceDB.
        table: The name of the table, or of an index of nestvec.
        shown: The URL, for messages.
    """

    uri: str
    table: str
    shown: str


class OpenedTable(NamedTuple):
    """One version of a table.

    Attributes:
        table: The table of LanceDB.
        columns: The columns of ids and of vectors.
        shown: The URL, for messages.
        uri: The folder as LanceDB names it.
    """

    table: Any
    columns: ChosenColumns
    shown: str
    uri: str


def open_lance(url: str, columns: Columns) -> VectorStream:
    """Open a table; its rows are read when the stream is read.

    Args:
        url: The URL with the parameters ``table`` (default ``documents``) and optionally ``id`` and
            ``vector``, the names of columns.
        columns: Names of the columns if the URL does not contain them.

    Raises:
        InvalidArgument: If the URL names no folder, or has an unknown parameter.
        DataError: If there is no such folder, table or column, or it cannot be read.
        MissingExtra: If lancedb is not installed.
    """
    place, folder = _parse(url)
    with _errors(folder.shown):
        table = _open(folder)
        version, schema, rows = table.version, table.schema, table.count_rows()
    named = columns.named_in(place.parameters)
    chosen = choose_columns(_stored_columns(schema, named), named, folder.shown)
    size = block_rows(getattr(schema.field(chosen.vectors).type, "list_size", _WIDEST))

    def read() -> Iterator[Block]:
        with _errors(folder.shown):
            opened = _open(folder)
            opened.checkout(version)
            pages = read_pages(opened, chosen.names, size)
            yield from read_blocks(pages, chosen, folder.shown)

    return VectorStream(folder.shown, chosen.dtype, read, rows, numbered=chosen.ids is None)


@contextmanager
def opened_table(url: str) -> Iterator[OpenedTable]:
    """Open one version of a table for searches; errors in the block have one line.

    Args:
        url: As for ``open_lance``.

    Raises:
        InvalidArgument: As ``open_lance``.
        DataError: As ``open_lance``, or if LanceDB refuses a call in the block.
        MissingExtra: If lancedb is not installed.
    """
    place, folder = _parse(url)
    with _errors(folder.shown):
        table = _open(folder)
        table.checkout(table.version)
        named = ANY_COLUMNS.named_in(place.parameters)
        chosen = choose_columns(_stored_columns(table.schema, named), named, folder.shown)
        yield OpenedTable(table, chosen, folder.shown, folder.uri)


def read_pages(
    table: Any, names: list[str], size: int, *, row_ids: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yield all rows in pages: a scan of the whole table would read ahead without a limit.

    Args:
        table: A version of a table of LanceDB.
        names: The columns to read.
        size: Number of rows of a page.
        row_ids: Also read the column ``_rowid``.
    """
    start = 0
    search = table.search().select(names).with_row_id(row_ids)
    while found := search.limit(size).offset(start).to_arrow():
        yield from found.combine_chunks().to_batches()
        start += len(found)


def _parse(url: str) -> tuple[Place, _LanceFolder]:
    place = Place.parse(url, _PARAMETERS)
    if "?" in place.url:  # the rest can be a credential, so it is not repeated
        known = ", ".join(_PARAMETERS)
        raise InvalidArgument(f"the URL has an unknown parameter. Use only: {known}.")
    scheme, _, rest = url.partition("?")[0].partition("://")
    rest = rest.rstrip("/")
    if not rest:
        problem = "the URL of a table names no folder."
        raise InvalidArgument(f"{problem} Write lance://FOLDER?table=TABLE.")
    is_remote = scheme.lower() == "s3"
    if is_remote and "@" in rest.partition("/")[0]:
        problem = "the URL of a table contains credentials."
        raise InvalidArgument(f"{problem} Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
    uri = f"s3://{rest}" if is_remote else rest
    return place, _LanceFolder(uri, place.parameters.get("table", DEFAULT_TABLE), place.shown)


def _open(folder: _LanceFolder) -> Any:
    """Open the latest version of the table.

    Raises:
        DataError: If there is no such folder or table.
    """
    lancedb: Any = require("lancedb", extra="lancedb")
    remote = is_object_storage(folder.uri)
    if not remote and not Path(folder.uri).is_dir():  # LanceDB would create the folder
        raise DataError(folder.shown, "names a folder that does not exist. Check the path.")
    options = lance_options() if remote else {}
    database = lancedb.connect(folder.uri, storage_options=options)
    present = _names(database)
    name = folder.table if folder.table in present else None
    if name is None and RECORDS in present:
        name = _table_of_index(database, folder.table)
    if name is None:
        listed = [each for each in present if each != RECORDS]
        tables = ", ".join(listed[:_MANY]) + (", ..." if len(listed) > _MANY else "")
        problem = f"contains no table {folder.table} (its tables: {tables or 'none'})."
        raise DataError(folder.shown, f"{problem} Append ?table=TABLE to the URL.")
    return database.open_table(name)


def _stored_columns(schema: Any, named: Columns) -> Any:
    """Return the columns that can be meant: computed ones, such as prefixes, only by name."""
    pa: Any = require("pyarrow", extra="lancedb")
    kept = [
        each
        for each in schema
        if each.name == named.vectors or b"computed_column" not in (each.metadata or {})
    ]
    return pa.schema(kept)


def _names(database: Any) -> list[str]:
    names: list[str] = []
    page = None
    while True:
        found = database.list_tables(page_token=page)
        names += found.tables
        page = found.page_token
        if not page:
            return names


def _table_of_index(database: Any, index: str) -> str | None:
    """Return the table of the documents of an index of nestvec; None if there is none."""
    rows = database.open_table(RECORDS).search().select(["name", "table_name"]).to_list()
    return next((row["table_name"] or None for row in rows if row["name"] == index), None)


@contextmanager
def _errors(shown: str) -> Iterator[None]:
    """Raise errors of LanceDB with one line and without credentials.

    Raises:
        DataError: If the storage cannot be reached, or refuses the call.
    """
    try:
        yield
    except NestvecError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        text = storage_error_text(error).rstrip(".")
        remedy = "Check the URL" + (", credentials and region." if shown[:2] == "s3" else ".")
        raise DataError(shown, f"LanceDB cannot read it. {remedy} ({text})") from None
