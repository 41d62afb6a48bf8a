"""Check the checksums of an index: most at every opening, all of them on request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.checksums import vector_checksums
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.folder import DATABASE, RESTORE, VECTORS, writer_is_alive
from nestvec.engines.embedded.segments import Segment
from nestvec.engines.embedded.snapshot import map_vectors, segment_of
from nestvec.engines.embedded.state import State
from nestvec.engines.manifest import Manifest
from nestvec.errors import DamagedFile

_BLOCK = 16_384  # vectors read at a time


def check_on_open(folder: Path, manifest: Manifest, database: Database, *, sealed: bool) -> None:
    """Check that no commit is lost, and that every row of documents is unchanged.

    Nothing is checked while a writer is active, as the writer checked the index when it opened.

    Args:
        folder: The index folder.
        manifest: The manifest of the index.
        database: The database of documents.
        sealed: Whether the seal matched the database file before it was opened. If True, the rows
            are not checked one by one.

    Raises:
        DamagedFile: If stored data differs from what was written.
    """

    def check(state: State) -> None:
        _check_commit_record(folder, manifest, state)
        if not sealed:
            documents.check_rows(database, state)

    if not writer_is_alive(folder):
        documents.read_one_commit(database, check)


def check_everything(folder: Path, manifest: Manifest, database: Database) -> None:
    """Check every row and every vector of the last commit.

    Raises:
        DamagedFile: If stored data differs from what was written; names the file and the row.
    """

    def check(state: State) -> None:
        for (problem,) in database.execute("pragma integrity_check(1)"):
            if problem != "ok":
                problem = f"the database is damaged ({' '.join(problem.split())})."
                raise DamagedFile(database.path, f"{problem} {RESTORE}")
        documents.check_rows(database, state)
        vectors = map_vectors(folder, manifest, state)
        for first, block in vectors.blocks(_BLOCK):
            rows = documents.vector_sums(database, first, first + len(block))
            lines = np.fromiter((row - first for row, _ in rows), np.int64, len(rows))
            _compare(_segment_name(folder, state, first), rows, np.ascontiguousarray(block[lines]))

    documents.read_one_commit(database, check)


def check_vectors(
    folder: Path, database: Database, span: tuple[int, int], vectors: NDArray[np.floating]
) -> None:
    """Check the vectors of a range of rows against their checksums.

    Args:
        folder: The index folder.
        database: The database of documents.
        span: The first row, and the row after the last.
        vectors: The vectors of those rows that have a document, [n, full_dim].

    Raises:
        DamagedFile: If a vector differs from what was written.
    """
    _compare(folder / VECTORS, documents.vector_sums(database, *span), vectors)


def _compare(path: Path, rows: list[tuple[int, int]], vectors: NDArray[np.floating]) -> None:
    for (row, written), found in zip(rows, vector_checksums(vectors), strict=True):
        if written != found:
            problem = f"the vector in row {row} differs from what was written."
            raise DamagedFile(path, f"{problem} {RESTORE}")


def _segment_name(folder: Path, state: State, row: int) -> Path:
    number = max(n for n, span in enumerate(state.segments) if span.first_row <= row)
    return folder / VECTORS / f"{state.generation}-{number}.vectors"


def _check_commit_record(folder: Path, manifest: Manifest, state: State) -> None:
    """Check that SQLite has all commits that the newest segment has recorded."""
    for path in sorted((folder / VECTORS).glob(f"{state.generation}-*.vectors")):
        number = path.stem.partition("-")[2]
        known = number.isdigit() and int(number) < len(state.segments)
        newest = known and int(number) == len(state.segments) - 1
        at = state.segments[int(number)].first_row if known else 0
        segment = segment_of(folder, manifest, state.generation, int(number), at)
        if newest or not known:
            _compare_commit_record(folder, segment, state, newest=newest)


def _compare_commit_record(folder: Path, segment: Segment, state: State, *, newest: bool) -> None:
    database = folder / DATABASE
    try:
        counter, running_hash = segment.read_commit_record()
    except DamagedFile:
        if newest:
            raise
        return  # a segment that was not committed may be half-written
    if counter > state.counter:
        lost = counter - state.counter
        changes = f"{lost} committed change{'s' if lost > 1 else ''}"
        problem = f"the database has lost {changes}; its log may be damaged or deleted."
        raise DamagedFile(database, f"{problem} {RESTORE}")
    if not newest:
        return
    # The commit is recorded after it is committed, so a crash between both leaves the record one
    # commit behind.
    expected = {state.counter: state.digest, state.counter - 1: state.previous}
    if expected.get(counter) != running_hash:
        problem = f"the database and {segment.path.name} are of different commits."
        raise DamagedFile(database, f"{problem} Restore both from the same backup.")
