"""The documents of an index: a SQLite file from row numbers to ids, texts and metadata.

Written once by a build and read by searches; what changes documents in place comes with the
mutable index.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from nestvec.errors import DamagedFile
from nestvec.types import Document

_SCHEMA = """
create table documents (
  row integer primary key,
  id text not null unique,
  title text not null,
  text text not null,
  metadata text not null
) strict
"""


def write_documents(path: Path, corpus: Mapping[str, Document]) -> None:
    """Write documents in the corpus's order; row numbers count from 0."""
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
        # Immutable: an index folder is replaced whole, so no journal can be left over.
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        try:
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._count = self._connection.execute("select count(*) from documents").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise DamagedFile(path, f"cannot be read ({error}): rebuild the index") from error

    def __len__(self) -> int:
        """Count the documents."""
        return int(self._count)

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of rows, in their order."""
        # The numbers come from our own search; SQLite limits bound parameters, not this list.
        wanted = json.dumps(list(map(int, rows)))
        query = (
            "select d.id from json_each(?) as wanted "
            "join documents as d on d.row = wanted.value order by wanted.key"
        )
        return [id_ for (id_,) in self._connection.execute(query, (wanted,))]

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order asked."""
        query = (
            "select d.id, d.title, d.text, d.metadata from json_each(?) as wanted "
            "join documents as d on d.id = wanted.value order by wanted.key"
        )
        found = self._connection.execute(query, (json.dumps(list(ids)),))
        return {
            id_: Document(text, title, json.loads(metadata)) for id_, title, text, metadata in found
        }

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
