"""The tables of an index: documents by row and by id, rows that are deleted, the state.

Each row of documents carries a checksum of its own, as SQLite does not notice a flipped bit in a
value. Whose vectors they are, and when what is committed, is ``writer``'s business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import xor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from nestvec.engines.embedded.checksums import checksum, row_checksum
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.state import State
from nestvec.errors import DamagedFile, InvalidArgument
from nestvec.types import Document, Rows

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
# SQLite reads JSON several times as fast as Python, but for three things that it may read
# inexactly: then the whole text comes along. Lists, objects and nulls are no values to filter by.
_FIELD = """
select d.row, e.value,
  case when e.type = 'real' or typeof(e.value) = 'real' or instr(d.metadata, '\\u0000')
    then d.metadata end
from documents as d, json_each(d.metadata) as e
where e.key = ? and d.row >= ? and e.type in ('integer', 'real', 'text', 'true', 'false')
order by d.row
"""
_FIELDS = "row, id, title, text, metadata, vector_sum, row_sum"


class Row(NamedTuple):
    """A row of documents as it is stored."""

    row: int
    id: str
    title: str
    text: str
    metadata: str
    vector_sum: int
    row_sum: int

    @classmethod
    def of(cls, row: int, id_: str, document: Document, vector_sum: int) -> Row:
        """Make a row and its checksum.

        Raises:
            InvalidArgument: If id, title or text are no strings or hold half of a surrogate pair,
                which no encoding can store, or the metadata is none of JSON's values.
        """
        if not all(isinstance(text, str) for text in (id_, document.title, document.text)):
            raise InvalidArgument(f"document {id_!r}: id, title and text have to be strings")
        try:
            metadata = json.dumps(dict(document.metadata), ensure_ascii=False, allow_nan=False)
            values = (row, id_, document.title, document.text, metadata, vector_sum)
            return cls(*values, row_checksum(values))
        except (UnicodeEncodeError, ValueError, TypeError) as error:
            what = "a text that is not Unicode" if isinstance(error, UnicodeError) else "metadata"
            raise InvalidArgument(f"document {id_!r} holds {what}: {error}") from error

    @property
    def whole(self) -> bool:
        """Whether the values are those that were written."""
        return row_checksum(self[:-1]) == self.row_sum


def create_tables(database: Database) -> None:
    """Make the tables of an empty index."""
    for statement in _SCHEMA:
        database.execute(statement)
    state = State()
    values = (state.body, state.previous, state.digest)
    database.execute("insert into state values (0, ?, ?, ?)", values)


def read_state(database: Database) -> State:
    """Return what the last commit says.

    Raises:
        DamagedFile: If it is not what was written.
    """
    try:
        [(body, previous, digest)] = database.execute("select body, previous, digest from state")
        state = State.parse(body, previous)
        whole = state.digest == digest and state.body == body
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(database.path, f"a state that cannot be read ({error!r})") from error
    if not whole:
        raise _damaged(database.path, "a state with another checksum than when written")
    return state


def of_one_commit(database: Database, work: Callable[[State], _T]) -> _T:
    """Return what ``work`` makes of the last commit, none of which changes meanwhile in SQLite.

    The files do: a compaction removes those that ``work`` is about to open, and the newest segment
    notes the next commit. Then it is done again for that commit.

    Raises:
        DamagedFile: If ``work`` raises it, and no other commit has come.
    """
    while True:
        with database.reading():
            state = read_state(database)
            try:
                return work(state)
            except DamagedFile as error:
                damage = error
        if read_state(database) == state:
            raise damage


def write_state(database: Database, state: State) -> None:
    """Replace the state, within a transaction."""
    values = (state.body, state.previous, state.digest)
    database.execute("update state set body = ?, previous = ?, digest = ?", values)


def insert_rows(database: Database, rows: Iterable[Row], *, table: str = "documents") -> None:
    """Write rows whose ids are not there yet, within a transaction."""
    database.execute_many(f"insert into {table} values (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608


def rows_of(database: Database, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the row, and its checksum, of those ids that are there."""
    query = "select row, row_sum from documents where id = ?"
    found = {id_: database.execute(query, (id_,)) for id_ in ids}
    return {id_: rows[0] for id_, rows in found.items() if rows}


def delete_rows(database: Database, rows: Sequence[int]) -> None:
    """Take documents out and note their rows, within a transaction."""
    values = [(row,) for row in rows]
    database.execute_many("delete from documents where row = ?", values)
    database.execute_many("insert into deleted values (?)", values)


def deleted_rows(database: Database) -> Rows:
    """Return the rows whose documents are not there any more, ascending."""
    found = database.execute("select row from deleted order by row")
    return np.fromiter((row for (row,) in found), np.int64, len(found))


def ids_from(database: Database, first_row: int, end: int) -> list[tuple[int, str]]:
    """Return rows and ids of a range of rows, in descending order of id."""
    query = "select row, id from documents where row >= ? and row < ?"
    found: list[tuple[int, str]] = database.execute(query, (first_row, end))
    return sorted(found, key=lambda each: each[1], reverse=True)


def all_ids(database: Database) -> list[str]:
    """Return the ids of all documents, in the order in which they came."""
    return [id_ for (id_,) in database.execute("select id from documents order by row")]


def replace_all(database: Database, rows: Iterable[Row]) -> int:
    """Write all documents anew, none of them deleted, within a transaction.

    Returns:
        The exclusive or of their checksums.
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
    """Yield every row in the order of rows, within a transaction."""
    for values in database.rows(f"select {_FIELDS} from documents order by row"):  # noqa: S608
        yield Row(*values)


def field_from(
    database: Database, field: str, first_row: int
) -> Iterator[tuple[int, str | int | float]]:
    """Yield the rows from one on that have a field of metadata, and its value, in a transaction."""
    for row, value, text in database.rows(_FIELD, (field, first_row)):
        if text is None:
            yield row, value
        else:
            yield row, _metadata(database.path, row, text)[field]


def vector_sums(database: Database, first_row: int, end: int) -> list[tuple[int, int]]:
    """Return the rows of a range that have a document, and the checksums of their vectors."""
    query = "select row, vector_sum from documents where row >= ? and row < ? order by row"
    return database.execute(query, (first_row, end))


def get(database: Database, ids: Sequence[str]) -> dict[str, Document]:
    """Return the documents of those ids that are there, in the order asked, all of one commit.

    Raises:
        DamagedFile: If one is not what was written.
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
    """Check every row against its checksum, and that none is missing.

    Raises:
        DamagedFile: If one is not what was written, naming it.
    """
    n, total = 0, 0
    for row in all_rows(database):
        check_row(database.path, row)
        n, total = n + 1, total ^ row.row_sum
    if (n, total) != (state.n_documents, state.documents_sum):
        problem = f"other documents than were committed ({n:,}, not {state.n_documents:,})"
        raise _damaged(database.path, problem)
    gone = deleted_rows(database)
    if deleted_sum(gone) != state.deleted_sum or n + len(gone) != state.n_rows:
        raise _damaged(database.path, "other deleted rows than were committed")


def deleted_sum(rows: Iterable[int]) -> int:
    """Return the exclusive or of the checksums of deleted rows."""
    return reduce(xor, (checksum(int(row).to_bytes(8, "little")) for row in rows), 0)


def check_row(path: Path, row: Row) -> None:
    """Check a row against its checksum.

    Raises:
        DamagedFile: If it is not what was written.
    """
    try:
        whole = row.whole
    except (TypeError, UnicodeEncodeError):
        whole = False
    if not whole:
        raise _damaged(path, f"row {row.row} (id {row.id!r}) that is not what was written")


def _metadata(path: Path, row: int, text: str) -> Mapping[str, str | int | float]:
    try:
        values: dict[str, str | int | float] = json.loads(text)
    except ValueError as error:
        raise _damaged(path, f"damaged metadata in row {row}") from error
    return values


def _damaged(path: Path, what: str) -> DamagedFile:
    return DamagedFile(path, f"holds {what}: restore it from a copy, or rebuild the index")
