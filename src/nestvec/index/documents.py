"""The documents of an index: a SQLite file from row numbers to ids, texts and metadata.

Written once by a build and read by searches, from any thread; what changes documents in place
comes with the mutable index.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nestvec.errors import DamagedFile, InvalidArgument
from nestvec.types import Document

_SCHEMA = """
create table documents (
  row integer primary key,
  id text not null unique,
  title text not null,
  text text not null,
  metadata text not null
)
"""


def write_documents(path: Path, corpus: Mapping[str, Document]) -> None:
    """Write documents in the corpus's order; row numbers count from 0.

    Raises:
        InvalidArgument: If a text holds half of a surrogate pair, which no encoding can store.
        OSError: If the file cannot be written.
    """
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute(_SCHEMA)
            connection.executemany(
                "insert into documents values (?, ?, ?, ?, ?)",
                (
                    (row, id_, document.title, document.text, json.dumps(dict(document.metadata)))
                    for row, (id_, document) in enumerate(corpus.items())
                ),
            )
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"a document's id, title or text is not Unicode: {error}") from error
    except sqlite3.OperationalError as error:  # a full disk is one of these, not an OSError
        raise OSError(None, str(error)) from error
    finally:
        connection.close()


class Documents:
    """Reads the documents of an index."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading only.

        Raises:
            DamagedFile: If it is not a database of documents.
        """
        self._path = path
        self._lock = threading.Lock()  # of the connection, which all threads share
        # Immutable: an index folder is replaced whole, so no journal can be left over.
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        try:
            [(self._count,)] = self._select("select count(*) from documents")
        except DamagedFile:
            self.close()
            raise

    def __len__(self) -> int:
        """Count the documents."""
        return int(self._count)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of rows, in their order.

        Raises:
            DamagedFile: If one is not there.
        """
        # The numbers come from our own search; SQLite limits bound parameters, not this list.
        wanted = json.dumps(list(map(int, rows)))
        query = (
            "select d.id from json_each(?) as wanted "
            "join documents as d on d.row = wanted.value order by wanted.key"
        )
        found = [id_ for (id_,) in self._select(query, wanted)]
        if len(found) != len(rows):
            problem = f"lacks {len(rows) - len(found)} of {len(rows)} documents: rebuild the index"
            raise DamagedFile(self._path, problem)
        return found

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order asked.

        Raises:
            DamagedFile: If one cannot be read.
        """
        # One by one: SQLite's JSON ends a text at NUL, and bound parameters are limited.
        query = "select title, text, metadata from documents where id = ?"
        return {
            id_: Document(text, title, self._metadata(id_, metadata))
            for id_ in ids
            for title, text, metadata in self._select(query, id_)
        }

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _select(self, query: str, *values: str) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> DamagedFile:
        return DamagedFile(self._path, f"cannot be read ({error}): rebuild the index")

    def _metadata(self, id_: str, text: str) -> dict[str, str | int | float]:
        try:
            values: dict[str, str | int | float] = json.loads(text)
        except ValueError as error:
            problem = f"holds damaged metadata of {id_!r} ({error}): rebuild the index"
            raise DamagedFile(self._path, problem) from error
        return values
