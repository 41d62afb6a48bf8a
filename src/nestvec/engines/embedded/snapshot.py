"""A snapshot: the searchable data of one commit.

The rows of a commit are divided into parts, whose codes are stored in files, and the tail, which
has no codes yet. A snapshot does not change; the next commit has a new snapshot, which shares
unchanged parts. Mapped files remain readable while a snapshot is in use, even after a compaction
has removed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.folder import coded_keys, codes_name, part_folder, segment_file
from nestvec.engines.embedded.part import Part, open_part
from nestvec.engines.embedded.segments import Segment
from nestvec.engines.embedded.stacked import ScatteredRows, Stacked
from nestvec.engines.embedded.state import Span, State
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.flat.scoring import ZeroPrefixes
from nestvec.engines.manifest import Manifest
from nestvec.metrics.ranking import Ranked
from nestvec.types import Hits, Rows

_ORDER = ("rows", "ids", "zeros")


@dataclass(frozen=True, eq=False)
class Tail:
    """The rows that have no codes yet, in descending order of id.

    Attributes:
        rows: Row numbers, [n].
        ids: Ids, [n].
        all_vectors: The vectors of all rows of the index.
    """

    rows: Rows
    ids: list[str]
    all_vectors: Stacked

    @cached_property
    def vectors(self) -> NDArray[np.floating]:
        """The stored vectors of the tail, [n, full_dim]."""
        return self.all_vectors.take(self.rows)

    @cached_property
    def zeros(self) -> ZeroPrefixes:
        """Positions in the tail of vectors that begin with zeros."""
        return ZeroPrefixes.find(self.vectors)


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """The documents of a snapshot that a search may return.

    Attributes:
        mask: True for their rows, [n_rows].
        allowed: Their positions in each part; None for all.
    """

    mask: NDArray[np.bool_]
    allowed: tuple[Allowed | None, ...]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The searchable data of one commit.

    A position is an index into the concatenation of all parts and the tail.

    Attributes:
        state: The commit.
        vectors: The vectors of all rows, for reading in order.
        scattered: The same vectors, for reading single rows.
        parts: The rows that have codes.
        deleted: Rows of deleted documents, ascending.
        tail: The rows that have no codes yet.
    """

    state: State
    vectors: Stacked
    scattered: ScatteredRows
    parts: tuple[Part, ...]
    deleted: Rows
    tail: Tail

    @cached_property
    def starts(self) -> Rows:
        """The first position of each part and of the tail."""
        return np.cumsum([0, *map(len, self.parts)], dtype=np.int64)

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """True for rows whose document is not deleted, [n_rows]."""
        live = np.ones(self.state.n_rows, dtype=bool)
        live[self.deleted] = False
        return live

    @cached_property
    def allowed(self) -> tuple[Allowed | None, ...]:
        """For each part, the positions of documents that are not deleted; None if no one is."""
        return tuple(
            None if self._all_live(part) else Allowed(self.live[part.rows]) for part in self.parts
        )

    def select(self, mask: NDArray[np.bool_]) -> SelectedRows:
        """Return the documents in a mask that are not deleted.

        Args:
            mask: True for each allowed row, [n_rows].
        """
        both = mask & self.live if len(self.deleted) else mask
        return SelectedRows(both, tuple(Allowed(both[part.rows]) for part in self.parts))

    def rows(self, positions: Rows) -> Rows:
        """Return the rows at positions."""
        return Stacked.of([*(part.rows for part in self.parts), self.tail.rows]).take(positions)

    @cached_property
    def positions(self) -> Rows:
        """The position of each row, [n_rows]; -1 for rows without a document."""
        numbers = np.arange(int(self.starts[-1]) + len(self.tail.ids))
        positions = np.full(self.state.n_rows, -1, dtype=np.int64)
        if len(numbers):
            positions[self.rows(numbers)] = numbers
        return positions

    def ids(self, positions: Rows) -> list[str]:
        """Return the ids at positions."""
        if len(self.parts) == 1 and not len(self.tail.ids):
            return self.parts[0].ids(positions)
        numbers = np.searchsorted(self.starts, positions, side="right") - 1
        found = np.empty(len(positions), dtype=object)
        for number in np.unique(numbers):
            lines = np.flatnonzero(numbers == number)
            own = positions[lines] - self.starts[number]
            if number < len(self.parts):
                found[lines] = self.parts[number].ids(own)
            else:
                found[lines] = [self.tail.ids[position] for position in own]
        ids: list[str] = found.tolist()
        return ids

    def hits(self, found: Ranked) -> Hits:
        """Convert the positions that a search returned to ids."""
        n_queries, width = found.rows.shape
        ids = self.ids(found.rows.ravel())
        starts = range(0, n_queries * width, width) if width else [0] * n_queries
        return Hits([ids[start : start + width] for start in starts], found.scores.tolist())

    def with_parts(self, folder: Path, database: Database, spans: Sequence[Span]) -> Snapshot:
        """Return a snapshot of the same commit with other parts and without a tail.

        The new parts are not committed yet.

        Args:
            folder: The index folder.
            database: The database of documents.
            spans: The rows of each part. Parts that exist are reused.
        """
        parts = _parts(folder, database, self.vectors, (self.state.generation, spans), self.parts)
        no_tail = Tail(np.empty(0, np.int64), [], self.vectors)
        return replace(self, parts=parts, tail=no_tail)

    def _all_live(self, part: Part) -> bool:
        first, end = np.searchsorted(self.deleted, (part.span.first_row, part.span.end))
        return len(part) == part.span.n_rows and bool(first == end)


def take_snapshot(
    folder: Path, manifest: Manifest, database: Database, before: Snapshot | None = None
) -> Snapshot:
    """Return a snapshot of the last commit.

    Args:
        folder: The index folder.
        manifest: The manifest of the index.
        database: The database of documents.
        before: An older snapshot, whose unchanged parts are shared.

    Raises:
        DamagedFile: If a file of the snapshot is missing, or differs from what was written.
    """

    def taken(state: State) -> Snapshot:
        if before is not None and state == before.state:
            return before
        return _assemble(folder, manifest, database, before, state)

    return documents.read_one_commit(database, taken)


def segment_of(folder: Path, manifest: Manifest, generation: int, number: int, at: int) -> Segment:
    """Return the segment file with a number, whose first row is ``at``."""
    file = segment_file(folder, generation, number)
    return Segment(file, manifest.stored, manifest.model.full_dim, generation, at)


def map_vectors(
    folder: Path, manifest: Manifest, state: State, *, scattered: bool = False
) -> Stacked:
    """Map the vectors of all rows of a commit, for reading in order or, if scattered, any rows."""
    mapped = [
        segment_of(folder, manifest, state.generation, number, span.first_row).map(
            span.n_rows, scattered=scattered
        )
        for number, span in enumerate(state.segments)
    ]
    empty = np.empty((0, manifest.model.full_dim), dtype=manifest.stored)
    return Stacked.of(mapped or [empty])


def _assemble(
    folder: Path,
    manifest: Manifest,
    database: Database,
    before: Snapshot | None,
    state: State,
) -> Snapshot:
    deleted = documents.deleted_rows(database)
    usable = state.parts if state.is_calibrated else ()
    tail = documents.ids_from(database, usable[-1].end if usable else 0, state.n_rows)
    vectors = map_vectors(folder, manifest, state)
    scattered = ScatteredRows(map_vectors(folder, manifest, state, scattered=True))
    same = before is not None and before.state.generation == state.generation
    known = before.parts if before is not None and same else ()
    coded = {key for key in coded_keys(manifest.point) if key in manifest.codecs}
    files = frozenset(codes_name(*key) for key in coded) | frozenset(_ORDER)
    # Missing code files are reported when the index is opened. A new part has no code files yet.
    expected = frozenset() if before else files
    parts = _parts(folder, database, vectors, (state.generation, usable), known, expected=expected)
    rows = np.fromiter((row for row, _ in tail), np.int64, len(tail))
    ids = [id_ for _, id_ in tail]
    return Snapshot(state, vectors, scattered, parts, deleted, Tail(rows, ids, vectors))


def _parts(
    folder: Path,
    database: Database,
    vectors: Stacked,
    spans: tuple[int, Sequence[Span]],
    known: Sequence[Part],
    *,
    expected: frozenset[str] = frozenset(),
) -> tuple[Part, ...]:
    """Return the part of each span: a known part, or a part that is opened now."""
    by_span = {part.span: part for part in known}
    generation, requested = spans

    def opened(span: Span) -> Part:
        place = part_folder(folder, generation, span.first_row, span.n_rows)
        read_ids = partial(documents.ids_from, database, span.first_row, span.end)
        return open_part(place, span, vectors, read_ids, expected=expected)

    return tuple(by_span.get(span) or opened(span) for span in requested)
