"""Compaction: write the remaining documents to the files of a new generation.

All new files are on disk before one commit switches to them. Readers that have mapped the old
files can read them until they open the next commit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.checking import check_vectors
from nestvec.engines.embedded.checksums import row_checksum
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.documents import Row
from nestvec.engines.embedded.snapshot import map_vectors
from nestvec.engines.embedded.state import Span
from nestvec.engines.embedded.writer import Writer
from nestvec.errors import DataError

_BLOCK = 16_384  # vectors copied at a time
_logger = logging.getLogger(__name__)


def compact(writer: Writer) -> None:
    """Commit a new generation without the deleted documents.

    Raises:
        DataError: If the disk is full. The index is then unchanged.
    """
    try:
        segments = _copy_vectors(writer)
        writer.commit_generation(_renumbered(writer), segments)
    finally:
        writer.remove_leftovers()  # of the old generation, or of the new one after an error


def shrink_database(database: Database) -> int:
    """Free unused disk space of the database, and return the log bytes that readers still pin.

    ``vacuum`` writes a copy of the database. If the disk is too full for the copy, the file only
    remains larger than needed: deleted data is already overwritten.
    """
    try:
        database.execute("vacuum")
    except DataError as error:
        _logger.warning("%s: the database file could not be made smaller", error)
    log = database.path.with_name(f"{database.path.name}-wal")
    done = database.checkpoint()
    return 0 if done or not log.exists() else log.stat().st_size


def _copy_vectors(writer: Writer) -> tuple[Span, ...]:
    old = map_vectors(writer.folder, writer.manifest, writer.state)
    deleted = documents.deleted_rows(writer.database)
    live = np.ones(len(old), dtype=bool)
    live[deleted] = False
    segments: tuple[Span, ...] = ()
    for first, block in old.blocks(_BLOCK):
        kept = np.ascontiguousarray(block[live[first : first + len(block)]])
        check_vectors(writer.folder, writer.database, (first, first + len(block)), kept)
        segments = writer.append(segments, kept, generations=1)
    return segments


def _renumbered(writer: Writer) -> Iterator[Row]:
    for number, row in enumerate(documents.all_rows(writer.database)):
        documents.check_row(writer.database.path, row)  # a new checksum would hide damage
        values = (number, *row[1:-1])
        yield Row(*values, row_checksum(values))
