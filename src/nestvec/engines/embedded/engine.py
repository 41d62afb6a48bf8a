"""The embedded engine: the methods of ``reader``, and the methods that change an index."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from nestvec.engines.canaries import Canaries
from nestvec.engines.checks import check_added
from nestvec.engines.embedded.codecs import Codecs, make_codes, measure_drift
from nestvec.engines.embedded.compaction import compact, shrink_database
from nestvec.engines.embedded.folder import (
    MANIFEST,
    coded_keys,
    codes_name,
    load_manifest,
    save_manifest,
)
from nestvec.engines.embedded.place import (
    backup_folder,
    check_place,
    create_folder,
    finish_build,
    remove_if_empty,
    remove_unfinished,
    restore_folder,
    start_build,
    unfinished_folder,
)
from nestvec.engines.embedded.reader import EmbeddedReader
from nestvec.engines.embedded.sizes import folder_bytes
from nestvec.engines.embedded.snapshot import take_snapshot
from nestvec.engines.embedded.state import next_parts
from nestvec.engines.embedded.trial import EmbeddedTrial
from nestvec.engines.embedded.writer import Writer
from nestvec.engines.engine import Capabilities
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest, Stored
from nestvec.engines.results import Compacted
from nestvec.errors import DataError
from nestvec.models.adapter import Adapter
from nestvec.types import PRECISIONS, Document, Embeddings, ModelInfo, OperatingPoint


class EmbeddedEngine(EmbeddedReader):
    """An open index folder. It becomes the writer of the index at its first change."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        scanned=frozenset(PRECISIONS),
        rescored=frozenset(PRECISIONS),
        stored=frozenset(get_args(Stored)),
    )

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """Open a folder, as ``EmbeddedReader`` does."""
        self._writer: Writer | None = None
        super().__init__(path, verify=verify)

    @classmethod
    def create(cls, place: str, manifest: Manifest, adapter: Adapter | None = None) -> Self:
        """Create the folder of an empty index and open it, as ``Engine.create`` does."""
        create_folder(Path(place), manifest, adapter)
        return cls(Path(place))

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> Self:
        """Open a folder, as ``Engine.open`` does."""
        return cls(Path(place), verify=verify)

    @classmethod
    def exists(cls, place: str) -> bool:
        """Return whether a folder contains the manifest of an index."""
        return (Path(place) / MANIFEST).is_file()

    @classmethod
    def read_manifest(cls, place: str) -> Manifest:
        """Read the manifest of a folder, as ``Engine.read_manifest`` does."""
        return load_manifest(Path(place))

    @classmethod
    @contextmanager
    def building(
        cls,
        place: str,
        manifest: Manifest,
        *,
        source: Mapping[str, str],
        adapter: Adapter | None = None,
        keep_backup: bool = False,
    ) -> Iterator[Self]:
        """Build an index in an unfinished folder, as ``Engine.building`` does."""
        path = Path(place)
        backup = backup_folder(path) if keep_backup else None
        check_place(path, backup=backup)
        folder = unfinished_folder(path)
        with remove_if_empty(folder):
            start_build(folder, manifest, source, adapter)
            try:
                engine = cls(folder)
            except DataError:  # the interrupted build is damaged
                remove_unfinished(folder)
                start_build(folder, manifest, source, adapter)
                engine = cls(folder)
            try:
                engine.lock()
                yield engine
                engine.build_codes()
            finally:
                engine.close()
        finish_build(folder, path, backup=backup)

    @classmethod
    def count_unfinished(cls, place: str) -> int:
        """Return the number of documents that an interrupted build has stored."""
        try:
            with closing(cls(unfinished_folder(Path(place)))) as engine:
                return len(engine)
        except DataError:  # there is no interrupted build
            return 0

    @classmethod
    def backup_place(cls, place: str) -> str:
        """Return the path of the backup that ``building`` keeps."""
        return str(backup_folder(Path(place)))

    @classmethod
    def restore(cls, place: str) -> None:
        """Replace a folder by its backup, as ``Engine.restore`` does."""
        restore_folder(Path(place))

    @classmethod
    def disk_bytes(cls, place: str) -> int:
        """Return the size of all files in the folder."""
        return folder_bytes(Path(place))

    @classmethod
    def trial(
        cls,
        corpus: Representations,
        ids: Sequence[str],
        documents: Mapping[str, Document],
        *,
        place: str | None = None,
    ) -> EmbeddedTrial:
        """Prepare this engine's search over vectors, as ``Engine.trial`` does."""
        return EmbeddedTrial(corpus, ids, documents)

    def add(
        self,
        added: Mapping[str, Document],
        embeddings: Embeddings,
        *,
        replace: bool = False,
        build_codes: bool = True,
    ) -> None:
        """Add documents and commit them, as ``Engine.add`` does.

        Args:
            added: Documents by id.
            embeddings: Their vectors in the same order, [n, full_dim], as the model returns them.
            replace: Replace documents that have the same id. If False, such an id is an error.
            build_codes: False to leave codes to ``build_codes``, which is faster for many batches.

        Raises:
            InvalidArgument: If an id exists and ``replace`` is False, a vector is not finite, or
                the number of vectors differs from the number of documents.
            IndexLocked: If another process changes the index.
            DataError: If the disk is full or the folder is read-only. The index is unchanged.
        """
        manifest = self.manifest
        embeddings = check_added(manifest, added, embeddings)
        stored = manifest.as_stored(embeddings)
        with self._changing:
            drift = measure_drift(manifest.codecs.values(), stored)
            self.writer.add(added, stored, replace=replace, drift=drift)
            if build_codes and self.writer.state.codes_are_due:
                self.build_codes()

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, commit, and return the number of deleted documents.

        Raises:
            IndexLocked: If another process changes the index.
            DataError: If the folder cannot be written.
        """
        with self._changing:
            return self.writer.delete(ids)

    def use(self, point: OperatingPoint) -> None:
        """Build the codes of another operating point, and make it the index's own.

        Raises:
            InvalidArgument: If the index cannot be searched by the point.
            IndexLocked: If another process changes the index.
        """
        self.manifest.check_point(point)
        with self._changing:
            writer = self.writer  # acquire the lock before codes are written
            make_codes(self._codecs, self.snapshot(), point)
            # A commit, even with the same parts, lets other readers load the new manifest.
            writer.commit_parts(writer.state.parts, fitted=self._save(self._codecs, point))
            writer.remove_codes_except({codes_name(*key) for key in coded_keys(point)})
            self.snapshot()

    def record_encoder(self, model: ModelInfo) -> None:
        """Record the model that encodes texts, as ``Engine.record_encoder`` does."""
        self._record(encoder=model)

    def record_canaries(self, canaries: Canaries) -> None:
        """Store canaries in the manifest, as ``Engine.record_canaries`` does."""
        self._record(canaries=canaries)

    def build_codes(self) -> None:
        """Build the codes of the tail.

        If all rows are encoded into one part, the codecs are fitted again.
        """
        with self._changing:
            parts = next_parts(self.writer.state)
            if parts is None:
                return
            point, codecs = self.manifest.point, self._codecs
            with self._reads.borrow() as database:
                newest = take_snapshot(self.path, self.manifest, database, self._snapshot)
                coded = newest.with_parts(self.path, database, parts)
            if len(parts) == 1:  # all rows are encoded again, with codecs fitted to all of them
                codecs = Codecs(self.manifest.model, {})
            make_codes(codecs, coded, point)
            for part in coded.parts:  # loaded before the commit, while searches use old parts
                part.scan(codecs.of(point, coded)[0])
            self.writer.commit_parts(parts, fitted=self._save(codecs, point))
            with self._lock:
                self._refresh(coded)
                if len(parts) == 1:  # codecs of other points must be fitted again, too
                    self._codecs = Codecs(self.manifest.model, self.manifest.codecs)
            self.writer.remove_leftovers()

    def compact(self) -> Compacted:
        """Remove deleted documents from disk, and fit the codecs again.

        Raises:
            IndexLocked: If another process changes the index.
            DamagedFile: If stored data differs from what was written. The index is unchanged.
            DataError: If the disk is full. The index is unchanged.
        """
        with self._changing:
            before = folder_bytes(self.path)
            self.snapshot()  # searches use this snapshot until the new codes are built
            self._compacting = True
            try:
                compact(self.writer)
                self.build_codes()
            finally:
                self._compacting = False
            pinned = shrink_database(self.writer.database)
            return Compacted(before, folder_bytes(self.path), pinned)

    def lock(self) -> None:
        """Acquire the writer's lock now, not at the first change.

        Raises:
            IndexLocked: If another process changes the index.
        """
        _ = self.writer

    def close(self) -> None:
        """Close the files, move the log into the database, and release the writer's lock."""
        with self._changing:
            super().close()
            if self._writer is not None:
                writer, self._writer = self._writer, None
                writer.close()

    @property
    def writer(self) -> Writer:
        """The writer of the index. The first use acquires the writer's lock.

        Raises:
            IndexLocked: If another process changes the index.
            DataError: If the folder cannot be written, or the index is closed.
        """
        with self._changing:
            if self._writer is None:
                self._database.version()  # raises if the index is closed or the process was forked
                if not os.access(self.path, os.W_OK):
                    raise DataError(self.path, "cannot be written: no permission")
                self._writer = Writer(self.path, self.manifest, self._check_in_place)
            return self._writer

    def _record(self, **changes: Any) -> None:
        """Change values of the manifest that affect no vector and no code."""
        with self._changing:
            writer = self.writer  # acquire the lock before the manifest is written
            save_manifest(replace(self.manifest, **changes), self.path)
            # A commit, even with the same parts, lets other readers load the new manifest.
            writer.commit_parts(writer.state.parts, fitted=False)
            self.snapshot()

    def _check_in_place(self) -> None:
        if not self.in_place():
            raise DataError(self.path, "was replaced since it was opened. Open the index again.")

    def _save(self, codecs: Codecs, point: OperatingPoint) -> bool:
        """Write the manifest if it has changed, and return whether a codec is new.

        Readers load the manifest at the next commit.
        """
        keys = {stage.representation for stage in point.stages}
        fitted = {key: codec for key, codec in codecs.fitted.items() if key in keys}
        known = self.manifest.codecs
        manifest = replace(self.manifest, point=point, codecs=fitted)
        if manifest.to_json() != self.manifest.to_json():
            save_manifest(manifest, self.path)
        return any(codec is not known.get(key) for key, codec in fitted.items())
