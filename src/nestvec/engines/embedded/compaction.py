"""Compaction: write what is there into a new generation, without what was deleted.

The new files are complete and on disk before one commit switches to them. Readers that have the
old ones mapped go on reading until they look for the next commit.
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
    """Commit a generation without what was deleted.

    Raises:
        DataError: If the disk is full; then nothing has changed.
    """
    try:
        segments = _copy_vectors(writer)
        writer.renumber(_renumbered(writer), segments)
    finally:
        writer.remove_leftovers()  # of whichever generation does not count


def give_back(database: Database) -> int:
    """Give room that the database does not need back to the disk; return what readers still pin.

    What was deleted is overwritten already, so a disk that is too full for the copy that this
    takes leaves the file larger than it need be, and nothing else.
    """
    try:
        database.execute("vacuum")
    except DataError as error:
        _logger.warning("%s: not made smaller", error)
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
        documents.check_row(writer.database.path, row)  # a checksum made anew would hide damage
        values = (number, *row[1:-1])
        yield Row(*values, row_checksum(values))
