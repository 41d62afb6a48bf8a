"""The writer: all changes of an index, one commit at a time.

Vectors are on disk before SQLite commits their rows, so every committed row has its vector after a
power failure. The newest segment records a commit after SQLite has it on disk. A commit that
SQLite lost is therefore detected.
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

from nestvec.engines.checks import existing_id
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
from nestvec.errors import DataError
from nestvec.types import Document


class Writer:
    """The one writer of an index folder."""

    def __init__(self, folder: Path, manifest: Manifest, check: Callable[[], None]) -> None:
        """Acquire the writer's lock, and remove files of interrupted writes.

        Args:
            folder: The index folder.
            manifest: The manifest, read before.
            check: Raises an error if the folder was replaced since the manifest was read. While
                the lock is held, the folder cannot be replaced.

        Raises:
            IndexLocked: If another writer holds the lock.
            DamagedFile: If the state differs from what was written.
        """
        self.folder, self.manifest = folder, manifest
        self._lock = WriterLock(folder)
        try:
            check()
            self.database = Database(folder / DATABASE, write=True)
            self._recorded = b""
            self.remove_leftovers()
        except BaseException:
            self._lock.release()
            raise

    @property
    def state(self) -> State:
        """The state in SQLite: of the last commit, or of the open transaction.

        It is read from SQLite each time. After an interrupt, a copy in memory could differ.
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
        """Add documents and their vectors, and commit.

        Args:
            added: Documents by id.
            vectors: Vectors as the index stores them, [n, full_dim], in the same order.
            replace: Replace documents that have the same id. If False, such an id is an error.
            drift: The drift of the vectors, which is added to that of the index.

        Raises:
            InvalidArgument: If an id exists and ``replace`` is False, or a text is not valid
                Unicode.
            DataError: If the disk is full. The index is then unchanged.
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
            existing = documents.rows_of(self.database, list(added))
            if existing and not replace:
                raise existing_id(list(existing))
            segments = self.append(before.segments, vectors)
            changes = self._delete_rows(existing)
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
        """Delete documents, commit, and return the number of deleted documents."""
        with self._committing():
            existing = documents.rows_of(self.database, ids)
            if existing:
                self._write(**self._delete_rows(existing))
        return len(existing)

    def commit_parts(self, parts: tuple[Span, ...], *, fitted: bool) -> None:
        """Commit the spans of rows that have codes.

        Args:
            parts: The spans.
            fitted: Whether codecs were fitted again, which resets the drift.
        """
        with self._committing():
            self._write(parts=parts, **{"checked": 0, "outside": 0} if fitted else {})

    def commit_generation(self, rows: Iterator[Row], segments: tuple[Span, ...]) -> None:
        """Commit a new generation, whose vectors are already on disk.

        Args:
            rows: All documents, with new row numbers from 0.
            segments: The rows of each new segment file.
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
        """Write vectors to segment files, and return the new rows of each segment.

        Args:
            segments: The rows of each segment before.
            vectors: Vectors as the index stores them, [n, full_dim].
            generations: 0 to write to the current generation, 1 to the next one.
        """
        spans, state = list(segments), self.state
        generation = state.generation + generations
        while len(vectors):
            if not spans or spans[-1].n_rows >= self._segment(generation, spans).capacity:
                spans.append(Span(spans[-1].end if spans else 0, 0))
                file = self._segment(generation, spans)
                file.create(state.counter, state.digest)
            last, file = spans[-1], self._segment(generation, spans)
            fits = vectors[: file.capacity - last.n_rows]
            file.append(last.n_rows, fits)
            spans[-1] = Span(last.first_row, last.n_rows + len(fits))
            vectors = vectors[len(fits) :]
        return tuple(spans)

    def remove_leftovers(self) -> None:
        """Remove files that are not in the last commit: old generations, and interrupted writes.

        Processes that have mapped such a file can still read it.
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

    def remove_codes_except(self, names: Collection[str]) -> None:
        """Remove all code files except those with one of the names."""
        for path in (self.folder / CODES).glob("*/*.codes"):
            if path.name not in names:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Move the log into the database, write its seal, and release the writer's lock."""
        if not self.database.opened_here:  # after a fork, the log and the lock belong to the parent
            return
        try:
            try:
                done = self.database.checkpoint()
            finally:
                self.database.close()
            if done:
                with suppress(DataError):  # without a seal, the next opening checks each row
                    write_seal(self.folder)
        finally:
            self._lock.release()

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """Commit the changes of the block, and record the commit in the newest segment."""
        self._record_commit()  # of the previous commit, if an interrupt prevented it
        with self.database.transaction():
            yield
        with suppress(DataError):  # the change is committed; the next change records it first
            self._record_commit()

    def _record_commit(self) -> None:
        """Record the last commit in the newest segment, which may be at most one commit behind."""
        state = self.state
        if state.digest != self._recorded and state.segments:
            newest = self._segment(state.generation, state.segments)
            newest.record_commit(state.counter, state.digest)
            self._recorded = state.digest

    def _write(self, **changes: Any) -> None:
        documents.write_state(self.database, self.state.next(**changes))

    def _delete_rows(self, existing: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
        """Delete rows, passed as (row, checksum) by id, and return the changes of the state."""
        state, rows = self.state, [row for row, _ in existing.values()]
        documents.delete_rows(self.database, rows)
        sums = (row_sum for _, row_sum in existing.values())
        return {
            "n_documents": state.n_documents - len(rows),
            "documents_sum": reduce(xor, sums, state.documents_sum),
            "deleted_sum": state.deleted_sum ^ documents.deleted_sum(rows),
        }

    def _segment(self, generation: int, spans: Sequence[Span]) -> Segment:
        """Return the newest segment file of a generation."""
        at = spans[-1].first_row
        return segment_of(self.folder, self.manifest, generation, len(spans) - 1, at)
