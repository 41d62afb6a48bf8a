"""Whether an index is what was written: at every opening, and to the last byte when asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.checksums import vector_checksums
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.folder import DATABASE, VECTORS, writer_is_alive
from nestvec.engines.embedded.segments import Segment
from nestvec.engines.embedded.snapshot import map_vectors, segment_of
from nestvec.engines.embedded.state import State
from nestvec.engines.manifest import Manifest
from nestvec.errors import DamagedFile

_BLOCK = 16_384  # vectors read at a time


def check_at_opening(folder: Path, manifest: Manifest, database: Database, *, sealed: bool) -> None:
    """Check that no commit is lost, and every row, by the seal or one by one.

    While somebody writes, that is their business: they have checked it before.

    Args:
        folder: The index.
        manifest: What it says of itself.
        database: Its documents.
        sealed: Whether its seal was unbroken before it was opened.

    Raises:
        DamagedFile: If something is not what was written.
    """

    def check(state: State) -> None:
        _check_witness(folder, manifest, state)
        if not sealed:
            documents.check_rows(database, state)

    if not writer_is_alive(folder):
        documents.of_one_commit(database, check)


def check_everything(folder: Path, manifest: Manifest, database: Database) -> None:
    """Check every row and every vector of a commit.

    Raises:
        DamagedFile: If something is not what was written, naming file and row.
    """

    def check(state: State) -> None:
        for (problem,) in database.execute("pragma integrity_check(1)"):
            if problem != "ok":
                problem = " ".join(problem.split())
                raise DamagedFile(database.path, f"is damaged ({problem}): restore it from a copy")
        documents.check_rows(database, state)
        vectors = map_vectors(folder, manifest, state)
        for first, block in vectors.blocks(_BLOCK):
            rows = documents.vector_sums(database, first, first + len(block))
            lines = np.fromiter((row - first for row, _ in rows), np.int64, len(rows))
            _compare(_segment_name(folder, state, first), rows, np.ascontiguousarray(block[lines]))

    documents.of_one_commit(database, check)


def check_vectors(
    folder: Path, database: Database, span: tuple[int, int], vectors: NDArray[np.floating]
) -> None:
    """Check the vectors of all documents of a range of rows against their checksums.

    Args:
        folder: The index.
        database: Its documents.
        span: The first row, and the one after the last.
        vectors: Of those rows that have a document, [n, full_dim].

    Raises:
        DamagedFile: If one is not what was written.
    """
    _compare(folder / VECTORS, documents.vector_sums(database, *span), vectors)


def _compare(place: Path, rows: list[tuple[int, int]], vectors: NDArray[np.floating]) -> None:
    for (row, written), found in zip(rows, vector_checksums(vectors), strict=True):
        if written != found:
            problem = f"holds another vector in row {row} than was written: restore it from a copy"
            raise DamagedFile(place, problem)


def _segment_name(folder: Path, state: State, row: int) -> Path:
    number = max(n for n, span in enumerate(state.segments) if span.first_row <= row)
    return folder / VECTORS / f"{state.generation}-{number}.vectors"


def _check_witness(folder: Path, manifest: Manifest, state: State) -> None:
    """Check that SQLite has all commits that the newest segment has seen."""
    for path in sorted((folder / VECTORS).glob(f"{state.generation}-*.vectors")):
        number = path.stem.partition("-")[2]
        known = number.isdigit() and int(number) < len(state.segments)
        newest = known and int(number) == len(state.segments) - 1
        at = state.segments[int(number)].first_row if known else 0
        segment = segment_of(folder, manifest, state.generation, int(number), at)
        if newest or not known:
            _compare_witness(folder, segment, state, newest=newest)


def _compare_witness(folder: Path, segment: Segment, state: State, *, newest: bool) -> None:
    database = folder / DATABASE
    try:
        counter, running_hash = segment.witness()
    except DamagedFile:
        if newest:
            raise
        return  # a file that never was committed, and may be half-written
    if counter > state.counter:
        lost = counter - state.counter
        problem = (
            f"has lost {lost} committed change{'s' if lost > 1 else ''} (a damaged or deleted log?)"
            ": restore it from a copy"
        )
        raise DamagedFile(database, problem)
    if not newest:
        return
    # The note follows the commit: a machine that stopped between both leaves it one behind.
    expected = {state.counter: state.digest, state.counter - 1: state.previous}
    if expected.get(counter) != running_hash:
        problem = f"is of other commits than {segment.path.name}: restore both from one copy"
        raise DamagedFile(database, problem)
