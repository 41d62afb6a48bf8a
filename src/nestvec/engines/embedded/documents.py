"""The tables of an index: documents, deleted rows, and the state of the last commit.

Each row of documents has its own checksum, as SQLite does not detect a changed bit in a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import xor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from nestvec.engines.embedded.checksums import checksum, row_checksum
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.state import State
from nestvec.errors import DamagedFile, InvalidArgument
from nestvec.types import Document, Metadata, MetadataValue, Rows

_T = TypeVar("_T")
_DOCUMENTS = (
    "create table {name} (row integer primary key, id text not null unique, "
    "title text not null, text text not null, metadata text not null, "
    "vector_sum integer not null, row_sum integer not null)"
)
_SCHEMA = (
    _DOCUMENTS.format(name="documents"),
    "create table deleted (row integer primary key)",
    "create table state (only integer primary key check (only = 0), body text not null, "
    "previous blob not null, digest blob not null)",
)
# SQLite parses JSON several times faster than Python. It may parse reals and NUL characters
# inexactly; for these, the whole text is returned too. It returns booleans as numbers, and lists as
# their own text. Filters do not use objects and nulls.
_FIELD = """
select d.row, e.type, e.value,
  case when e.type = 'real' or typeof(e.value) = 'real' or instr(d.metadata, '\\u0000')
    then d.metadata end
from documents as d, json_each(d.metadata) as e
where e.key = ? and d.row >= ? and e.type not in ('object', 'null')
order by d.row
"""
_NAMES = """
select distinct e.key from documents as d, json_each(d.metadata) as e
where e.type not in ('object', 'null')
"""
_FIELDS = "row, id, title, text, metadata, vector_sum, row_sum"


class Row(NamedTuple):
    """A row of the table of documents."""

    row: int
    id: str
    title: str
    text: str
    metadata: str
    vector_sum: int
    row_sum: int

    @classmethod
    def of(cls, row: int, id_: str, document: Document, vector_sum: int) -> Row:
        """Create a row with its checksum.

        Raises:
            InvalidArgument: If id, title or text is not a string or contains an unpaired
                surrogate, or the metadata cannot be written as JSON.
        """
        if not all(isinstance(text, str) for text in (id_, document.title, document.text)):
            raise InvalidArgument(f"document {id_!r}: id, title and text must be strings.")
        try:
            metadata = json.dumps(dict(document.metadata), ensure_ascii=False, allow_nan=False)
            values = (row, id_, document.title, document.text, metadata, vector_sum)
            return cls(*values, row_checksum(values))
        except (UnicodeEncodeError, ValueError, TypeError) as error:
            what = "text" if isinstance(error, UnicodeError) else "metadata"
            problem = f"document {id_!r} has {what} that cannot be stored: {error}"
            raise InvalidArgument(problem) from error

    @property
    def is_intact(self) -> bool:
        """Whether the values match the checksum."""
        return row_checksum(self[:-1]) == self.row_sum


def create_tables(database: Database) -> None:
    """Create the tables of an empty index."""
    for statement in _SCHEMA:
        database.execute(statement)
    state = State()
    values = (state.body, state.previous, state.digest)
    database.execute("insert into state values (0, ?, ?, ?)", values)


def read_state(database: Database) -> State:
    """Return the state of the last commit.

    Raises:
        DamagedFile: If it differs from what was written.
    """
    try:
        [(body, previous, digest)] = database.execute("select body, previous, digest from state")
        state = State.parse(body, previous)
        intact = state.digest == digest and state.body == body
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(database.path, f"the state cannot be read ({error!r})") from error
    if not intact:
        raise _damaged(database.path, "the checksum of the state does not match")
    return state


def read_one_commit(database: Database, read: Callable[[State], _T]) -> _T:
    """Return the result of ``read`` for the state of the last commit.

    SQLite shows only this commit to ``read``. The files may change at the same time: a compaction
    removes files, and the newest segment records the next commit. If ``read`` fails and there is a
    new commit, ``read`` is called again for the new commit.

    Raises:
        DamagedFile: If ``read`` raises it, and there is no new commit.
    """
    while True:
        with database.reading():
            state = read_state(database)
            try:
                return read(state)
            except DamagedFile as error:
                damage = error
        if read_state(database) == state:
            raise damage


def write_state(database: Database, state: State) -> None:
    """Replace the state, within a transaction."""
    values = (state.body, state.previous, state.digest)
    database.execute("update state set body = ?, previous = ?, digest = ?", values)


def insert_rows(database: Database, rows: Iterable[Row], *, table: str = "documents") -> None:
    """Insert rows with new ids, within a transaction."""
    database.execute_many(f"insert into {table} values (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608


def rows_of(database: Database, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return row and checksum by id; unknown ids are left out."""
    query = "select row, row_sum from documents where id = ?"
    found = {id_: database.execute(query, (id_,)) for id_ in ids}
    return {id_: rows[0] for id_, rows in found.items() if rows}


def delete_rows(database: Database, rows: Sequence[int]) -> None:
    """Delete documents and record their rows as deleted, within a transaction."""
    values = [(row,) for row in rows]
    database.execute_many("delete from documents where row = ?", values)
    database.execute_many("insert into deleted values (?)", values)


def deleted_rows(database: Database) -> Rows:
    """Return the rows of deleted documents, ascending."""
    found = database.execute("select row from deleted order by row")
    return np.fromiter((row for (row,) in found), np.int64, len(found))


def ids_from(database: Database, first_row: int, end: int) -> list[tuple[int, str]]:
    """Return (row, id) of a range of rows, in descending order of id."""
    query = "select row, id from documents where row >= ? and row < ?"
    found: list[tuple[int, str]] = database.execute(query, (first_row, end))
    return sorted(found, key=lambda each: each[1], reverse=True)


def all_ids(database: Database) -> list[str]:
    """Return the ids of all documents, in the order in which they were added."""
    return [id_ for (id_,) in database.execute("select id from documents order by row")]


def replace_all(database: Database, rows: Iterable[Row]) -> int:
    """Replace all documents and forget deleted rows, within a transaction.

    Returns:
        The exclusive or of the checksums of the rows.
    """
    total = 0

    def summed() -> Iterator[Row]:
        nonlocal total
        for row in rows:
            total ^= row.row_sum
            yield row

    database.execute(_DOCUMENTS.format(name="renumbered"))
    insert_rows(database, summed(), table="renumbered")
    for statement in ("drop table documents", "alter table renumbered rename to documents"):
        database.execute(statement)
    database.execute("delete from deleted")
    return total


def all_rows(database: Database) -> Iterator[Row]:
    """Yield all rows in ascending order, within a transaction."""
    for values in database.rows(f"select {_FIELDS} from documents order by row"):  # noqa: S608
        yield Row(*values)


def field_names(database: Database) -> list[str]:
    """Return the names of the metadata fields of all documents, within a transaction."""
    return [name for (name,) in database.execute(_NAMES)]


def field_from(
    database: Database, field: str, first_row: int
) -> Iterator[tuple[int, MetadataValue]]:
    """Yield (row, value) of a metadata field, from a first row on, within a transaction."""
    for row, kind, value, text in database.rows(_FIELD, (field, first_row)):
        if text is not None:
            yield row, _metadata(database.path, row, text)[field]
        elif kind == "array":
            yield row, json.loads(value)
        else:
            yield row, bool(value) if kind in ("true", "false") else value


def vector_sums(database: Database, first_row: int, end: int) -> list[tuple[int, int]]:
    """Return (row, checksum of its vector) of the documents in a range of rows."""
    query = "select row, vector_sum from documents where row >= ? and row < ? order by row"
    return database.execute(query, (first_row, end))


def get(database: Database, ids: Sequence[str]) -> dict[str, Document]:
    """Return documents of one commit, in the order of ``ids``; unknown ids are left out.

    Raises:
        DamagedFile: If a document differs from what was written.
    """
    query = f"select {_FIELDS} from documents where id = ?"  # noqa: S608
    documents = {}
    with database.reading():
        found = {id_: database.execute(query, (id_,)) for id_ in ids}
    for id_, rows in found.items():
        for values in rows:
            row = Row(*values)
            check_row(database.path, row)
            metadata = _metadata(database.path, row.row, row.metadata)
            documents[id_] = Document(row.text, row.title, metadata)
    return documents


def check_rows(database: Database, state: State) -> None:
    """Check the checksum of every row, and that no row is missing.

    Raises:
        DamagedFile: If a row differs from what was written, or is missing.
    """
    n, total = 0, 0
    for row in all_rows(database):
        check_row(database.path, row)
        n, total = n + 1, total ^ row.row_sum
    if (n, total) != (state.n_documents, state.documents_sum):
        found = f"{n:,} found, {state.n_documents:,} committed"
        raise _damaged(database.path, f"the documents differ from the last commit ({found})")
    deleted = deleted_rows(database)
    if deleted_sum(deleted) != state.deleted_sum or n + len(deleted) != state.n_rows:
        raise _damaged(database.path, "the deleted rows differ from the last commit")


def deleted_sum(rows: Iterable[int]) -> int:
    """Return the exclusive or of the checksums of deleted rows."""
    return reduce(xor, (checksum(int(row).to_bytes(8, "little")) for row in rows), 0)


def check_row(path: Path, row: Row) -> None:
    """Check the checksum of a row.

    Raises:
        DamagedFile: If the row differs from what was written.
    """
    try:
        intact = row.is_intact
    except (TypeError, UnicodeEncodeError):
        intact = False
    if not intact:
        raise _damaged(path, f"row {row.row} (id {row.id!r}) differs from what was written")


def _metadata(path: Path, row: int, text: str) -> Metadata:
    try:
        values: dict[str, MetadataValue] = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"the metadata of row {row} is damaged") from error
    return values


def _damaged(path: Path, problem: str) -> DamagedFile:
    return DamagedFile(path, f"{problem}. Restore the index from a backup, or rebuild it.")
