"""Everything that changes an index, one commit at a time.

The order that a power cut cannot break: vectors are on disk before SQLite commits their rows, and
the newest segment notes a commit after SQLite has it on disk. So SQLite never names a vector that
is not there, and a commit that SQLite lost is missed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.embedded import documents
from nestvec.engines.embedded.checksums import vector_checksums
from nestvec.engines.embedded.codecs import NO_DRIFT, Drift
from nestvec.engines.embedded.database import Database, write_seal
from nestvec.engines.embedded.documents import Row
from nestvec.engines.embedded.folder import (
    CODES,
    DATABASE,
    VECTORS,
    WriterLock,
    part_folder,
    segment_file,
)
from nestvec.engines.embedded.segments import Segment
from nestvec.engines.embedded.snapshot import segment_of
from nestvec.engines.embedded.state import Span, State
from nestvec.engines.manifest import Manifest
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document

TAIL_ROWS = 4_096  # more than so many rows without codes are coded as a part


class Writer:
    """The one writer of an index folder."""

    def __init__(self, folder: Path, manifest: Manifest, check: Callable[[], None]) -> None:
        """Take the lock and see what is there.

        Args:
            folder: The index.
            manifest: What was read of it before.
            check: Refuses a folder that is another since: none takes its place while it is locked.

        Raises:
            IndexLocked: If another writer holds it.
            DamagedFile: If the state is not what was written.
        """
        self.folder, self.manifest = folder, manifest
        self._lock = WriterLock(folder)
        try:
            check()
            self.database = Database(folder / DATABASE, write=True)
            self._noted = b""
            self.remove_leftovers()
        except BaseException:
            self._lock.release()
            raise

    @property
    def state(self) -> State:
        """What SQLite says: the last commit, or, within a change, what that has written so far.

        It is not kept: an interrupt at the wrong moment would leave it other than what SQLite has.
        """
        return documents.read_state(self.database)

    def add(
        self,
        added: Mapping[str, Document],
        vectors: NDArray[np.floating],
        *,
        replace: bool,
        drift: Drift = NO_DRIFT,
    ) -> None:
        """Commit documents and their vectors.

        Args:
            added: By id.
            vectors: As they are stored, [n, full_dim], in the same order.
            replace: True replaces documents of the same id; False refuses them.
            drift: How many of their values the codecs were not fitted for.

        Raises:
            InvalidArgument: If an id is there already, or a text is not Unicode.
            DataError: If the disk is full; then nothing has changed.
        """
        if not added:
            return
        before = self.state
        rows = [
            Row.of(before.n_rows + number, id_, document, vector_sum)
            for number, ((id_, document), vector_sum) in enumerate(
                zip(added.items(), vector_checksums(vectors), strict=True)
            )
        ]
        with self._committing():
            there = documents.rows_of(self.database, list(added))
            if there and not replace:
                raise InvalidArgument(_already(list(there)))
            segments = self.append(before.segments, vectors)
            changes = self._take_out(there)
            documents.insert_rows(self.database, rows)
            changes |= {
                "n_documents": changes["n_documents"] + len(rows),
                "documents_sum": reduce(
                    xor, (row.row_sum for row in rows), changes["documents_sum"]
                ),
                "segments": segments,
                "checked": before.checked + drift.checked,
                "outside": before.outside + drift.outside,
            }
            self._write(**changes)

    def delete(self, ids: Sequence[str]) -> int:
        """Commit that documents are gone, and return how many there were."""
        with self._committing():
            there = documents.rows_of(self.database, ids)
            if there:
                self._write(**self._take_out(there))
        return len(there)

    def commit_parts(self, parts: tuple[Span, ...], *, fitted: bool) -> None:
        """Commit which spans of rows are coded.

        Args:
            parts: The spans.
            fitted: Whether codecs were fitted for it: drift counts from then on.
        """
        with self._committing():
            self._write(parts=parts, **{"checked": 0, "outside": 0} if fitted else {})

    def renumber(self, rows: Iterator[Row], segments: tuple[Span, ...]) -> None:
        """Commit a new generation, whose vectors are on disk.

        Args:
            rows: Every document that is there, numbered anew from 0.
            segments: What each new segment file holds.
        """
        with self._committing():
            total = documents.replace_all(self.database, rows)
            self._write(
                generation=self.state.generation + 1,
                documents_sum=total,
                deleted_sum=0,
                segments=segments,
                parts=(),
                checked=0,
                outside=0,
            )

    def append(
        self, segments: Sequence[Span], vectors: NDArray[np.floating], *, generations: int = 0
    ) -> tuple[Span, ...]:
        """Write vectors behind those that are there, and return what segments hold then.

        Args:
            segments: What they hold before.
            vectors: As they are stored, [n, full_dim].
            generations: 1 writes the files of the next generation.
        """
        spans, state = list(segments), self.state
        generation = state.generation + generations
        while len(vectors):
            if not spans or spans[-1].n_rows >= self._segment(generation, spans).room:
                spans.append(Span(spans[-1].end if spans else 0, 0))
                file = self._segment(generation, spans)
                file.create(state.counter, state.digest)
            last, file = spans[-1], self._segment(generation, spans)
            fits = vectors[: file.room - last.n_rows]
            file.append(last.n_rows, fits)
            spans[-1] = Span(last.first_row, last.n_rows + len(fits))
            vectors = vectors[len(fits) :]
        return tuple(spans)

    def remove_leftovers(self) -> None:
        """Remove files that no commit names: of older generations, or of a write that never was.

        Who has them mapped can go on reading them.
        """
        with self.database.reading():
            state = self.state
        kept = {
            segment_file(self.folder, state.generation, number)
            for number in range(len(state.segments))
        } | {
            part_folder(self.folder, state.generation, span.first_row, span.n_rows)
            for span in state.parts
        }
        for path in [*(self.folder / VECTORS).iterdir(), *(self.folder / CODES).iterdir()]:
            if path not in kept and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path not in kept:
                path.unlink(missing_ok=True)

    def remove_codes_but(self, names: Collection[str]) -> None:
        """Remove codes of operating points that are not used any more."""
        for path in (self.folder / CODES).glob("*/*.codes"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Move the log into the database, seal it, and let others write."""
        if not self.database.ours:  # a fork: the log and the lock are the other process's
            return
        try:
            try:
                done = self.database.checkpoint()
            finally:
                self.database.close()
            if done:
                with suppress(DataError):  # without a seal, each row is checked at the next opening
                    write_seal(self.folder)
        finally:
            self._lock.release()

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Commit what the block writes; then let the newest segment bear witness."""
        self._bear_witness()  # to the commit before, if a kill or an interrupt left that out
        with self.database.transaction():
            yield
        with suppress(DataError):  # it is committed, and the next change notes it before its own
            self._bear_witness()

    def _bear_witness(self) -> None:
        """Let the newest segment note the last commit: it may be one behind, and no more."""
        state = self.state
        if state.digest != self._noted and state.segments:
            newest = self._segment(state.generation, state.segments)
            newest.bear_witness(state.counter, state.digest)
            self._noted = state.digest

    def _write(self, **changes: Any) -> None:
        documents.write_state(self.database, self.state.next(**changes))

    def _take_out(self, there: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        """Take documents out, and return what of the state is other then."""
        state, rows = self.state, [row for row, _ in there.values()]
        documents.delete_rows(self.database, rows)
        sums = (row_sum for _, row_sum in there.values())
        return {
            "n_documents": state.n_documents - len(rows),
            "documents_sum": reduce(xor, sums, state.documents_sum),
            "deleted_sum": state.deleted_sum ^ documents.deleted_sum(rows),
        }

    def _segment(self, generation: int, spans: Sequence[Span]) -> Segment:
        """Return the newest segment file."""
        at = spans[-1].first_row
        return segment_of(self.folder, self.manifest, generation, len(spans) - 1, at)


def _already(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - 1:,} more" if len(ids) > 1 else ""
    verb = "are" if len(ids) > 1 else "is"
    return f"id {ids[0]!r}{more} {verb} in the index already: upsert to replace"
