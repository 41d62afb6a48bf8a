"""What one commit shows: its vectors, its parts, and the tail of rows that are not coded yet.

A snapshot does not change; the next commit gives the next one, which shares what is still the same.
What was mapped stays readable while a snapshot is used, even after a compaction has removed the
files.
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
from nestvec.engines.embedded.folder import codes_name, part_folder, segment_file, with_codes
from nestvec.engines.embedded.part import Part, open_part
from nestvec.engines.embedded.segments import Segment
from nestvec.engines.embedded.stacked import ScatteredRows, Stacked
from nestvec.engines.embedded.state import Span, State
from nestvec.engines.flat.scan import Allowed
from nestvec.engines.manifest import Manifest
from nestvec.metrics.ranking import Ranked
from nestvec.types import Hits, Rows

_ORDER = ("rows", "ids", "empty")


@dataclass(frozen=True, eq=False)
class Tail:
    """Rows that no part holds yet, in descending order of id.

    Attributes:
        rows: [n].
        ids: [n].
        of_all: The vectors of all rows.
    """

    rows: Rows
    ids: list[str]
    of_all: Stacked

    @cached_property
    def vectors(self) -> NDArray[np.floating]:
        """As they are stored, [n, full_dim]."""
        return self.of_all.take(self.rows)

    @cached_property
    def empty(self) -> Rows:
        """Positions of zero vectors."""
        return np.flatnonzero(~self.vectors.any(axis=1)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One commit, ready to be searched.

    Positions count through the parts, and then through the tail.

    Attributes:
        state: The commit.
        vectors: Of all rows, to be read in order.
        scattered: The same, to be read here and there.
        parts: What is coded.
        deleted: Rows whose documents are gone, ascending.
        tail: What is not coded yet.
    """

    state: State
    vectors: Stacked
    scattered: ScatteredRows
    parts: tuple[Part, ...]
    deleted: Rows
    tail: Tail

    @cached_property
    def starts(self) -> Rows:
        """The first position of each part, and of the tail."""
        return np.cumsum([0, *map(len, self.parts)], dtype=np.int64)

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """Which rows have a document, [n_rows]."""
        live = np.ones(self.state.n_rows, dtype=bool)
        live[self.deleted] = False
        return live

    @cached_property
    def allowed(self) -> tuple[Allowed | None, ...]:
        """Of each part, the positions that have a document; None where all have."""
        return tuple(
            None if self._untouched(part) else Allowed(self.live[part.rows]) for part in self.parts
        )

    def selected(self, mask: NDArray[np.bool_]) -> tuple[Allowed | None, ...]:
        """Return, of each part, the positions that have a document and are selected.

        Args:
            mask: By row, [n_rows].
        """
        both = mask & self.live if len(self.deleted) else mask
        return tuple(Allowed(both[part.rows]) for part in self.parts)

    def rows(self, positions: Rows) -> Rows:
        """Return the rows that stand at positions."""
        return Stacked.of([*(part.rows for part in self.parts), self.tail.rows]).take(positions)

    def ids(self, positions: Rows) -> list[str]:
        """Return the ids that stand at positions."""
        if len(self.parts) == 1 and not len(self.tail.ids):
            return self.parts[0].ids(positions)
        of = np.searchsorted(self.starts, positions, side="right") - 1
        found = np.empty(len(positions), dtype=object)
        for number in np.unique(of):
            lines = np.flatnonzero(of == number)
            own = positions[lines] - self.starts[number]
            if number < len(self.parts):
                found[lines] = self.parts[number].ids(own)
            else:
                found[lines] = [self.tail.ids[position] for position in own]
        ids: list[str] = found.tolist()
        return ids

    def hits(self, found: Ranked) -> Hits:
        """Return what stands at the positions that a search found."""
        n_queries, width = found.rows.shape
        ids = self.ids(found.rows.ravel())
        starts = range(0, n_queries * width, width) if width else [0] * n_queries
        return Hits([ids[start : start + width] for start in starts], found.scores.tolist())

    def coded(self, folder: Path, database: Database, spans: Sequence[Span]) -> Snapshot:
        """Return the same commit with its tail in parts, which nobody else knows of yet.

        Args:
            folder: The index.
            database: Its documents.
            spans: Rows of each part; some are among the parts that there are.
        """
        parts = _parts(folder, database, self.vectors, (self.state.generation, spans), self.parts)
        nothing = Tail(np.empty(0, np.int64), [], self.vectors)
        return replace(self, parts=parts, tail=nothing)

    def _untouched(self, part: Part) -> bool:
        first, end = np.searchsorted(self.deleted, (part.span.first_row, part.span.end))
        return len(part) == part.span.n_rows and bool(first == end)


def take_snapshot(
    folder: Path, manifest: Manifest, database: Database, before: Snapshot | None = None
) -> Snapshot:
    """Return what the last commit shows.

    Args:
        folder: The index.
        manifest: What it says of itself.
        database: Its documents.
        before: An older snapshot, to share with.

    Raises:
        DamagedFile: If a file that it needs is missing or another one.
    """

    def taken(state: State) -> Snapshot:
        if before is not None and state == before.state:
            return before
        return _assemble(folder, manifest, database, before, state)

    return documents.of_one_commit(database, taken)


def segment_of(folder: Path, manifest: Manifest, generation: int, number: int, at: int) -> Segment:
    """Return a segment file, whose first row is ``at``."""
    file = segment_file(folder, generation, number)
    return Segment(file, manifest.stored, manifest.model.full_dim, generation, at)


def map_vectors(
    folder: Path, manifest: Manifest, state: State, *, scattered: bool = False
) -> Stacked:
    """Map the vectors of all rows of a commit, to be read in order or here and there."""
    mapped = [
        segment_of(folder, manifest, state.generation, number, span.first_row).map(
            span.n_rows, scattered=scattered
        )
        for number, span in enumerate(state.segments)
    ]
    nothing = np.empty((0, manifest.model.full_dim), dtype=manifest.stored)
    return Stacked.of(mapped or [nothing])


def _assemble(
    folder: Path,
    manifest: Manifest,
    database: Database,
    before: Snapshot | None,
    state: State,
) -> Snapshot:
    deleted = documents.deleted_rows(database)
    tail = documents.ids_from(database, state.n_coded, state.n_rows)
    vectors = map_vectors(folder, manifest, state)
    scattered = ScatteredRows(map_vectors(folder, manifest, state, scattered=True))
    same = before is not None and before.state.generation == state.generation
    known = before.parts if before is not None and same else ()
    coded = {key for key in with_codes(manifest.point) if key in manifest.codecs}
    files = frozenset(codes_name(*key) for key in coded) | frozenset(_ORDER)
    # What is missing at opening is worth a word; of a part that is new nothing can be missing.
    expected = frozenset() if before else files
    parts = _parts(
        folder, database, vectors, (state.generation, state.parts), known, expected=expected
    )
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
    """Return the part of each span: one that is known already, or one that is opened now."""
    by_span = {part.span: part for part in known}
    generation, asked = spans

    def opened(span: Span) -> Part:
        place = part_folder(folder, generation, span.first_row, span.n_rows)
        read_ids = partial(documents.ids_from, database, span.first_row, span.end)
        return open_part(place, span, vectors, read_ids, expected=expected)

    return tuple(by_span.get(span) or opened(span) for span in asked)
