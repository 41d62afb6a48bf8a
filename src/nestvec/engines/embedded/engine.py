"""The embedded index as an object: what ``reader`` does, and the changes of the one writer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self, get_args

import numpy as np

from nestvec.codec.prefix import as_float32
from nestvec.engines.embedded.codecs import Codecs, drift, make_codes
from nestvec.engines.embedded.compaction import compact, give_back
from nestvec.engines.embedded.folder import (
    MANIFEST,
    codes_name,
    load_manifest,
    save_manifest,
    with_codes,
)
from nestvec.engines.embedded.place import (
    begin,
    check_place,
    create_folder,
    kept_folder,
    kept_if_begun,
    remove,
    restore_folder,
    take_place,
    unfinished_folder,
)
from nestvec.engines.embedded.reader import EmbeddedReader
from nestvec.engines.embedded.sizes import folder_bytes
from nestvec.engines.embedded.snapshot import take_snapshot
from nestvec.engines.embedded.state import next_parts
from nestvec.engines.embedded.trial import EmbeddedTrial
from nestvec.engines.embedded.writer import TAIL_ROWS, Writer
from nestvec.engines.engine import Capabilities
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest, Stored
from nestvec.engines.results import Compacted
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.adapter import Adapter
from nestvec.types import PRECISIONS, Document, Embeddings, OperatingPoint


class EmbeddedEngine(EmbeddedReader):
    """An index folder opened for searching, and for changing by the first that begins to."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        scanned=frozenset(PRECISIONS),
        rescored=frozenset(PRECISIONS),
        stored=frozenset(get_args(Stored)),
    )

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """Open a folder as ``EmbeddedReader`` does."""
        self._writer: Writer | None = None
        super().__init__(path, verify=verify)

    @classmethod
    def create(cls, place: str, manifest: Manifest, adapter: Adapter | None = None) -> Self:
        """Make the folder of an empty index and open it, as ``Engine.create`` does."""
        create_folder(Path(place), manifest, adapter)
        return cls(Path(place))

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> Self:
        """Open a folder, as ``Engine.open`` does."""
        return cls(Path(place), verify=verify)

    @classmethod
    def exists(cls, place: str) -> bool:
        """Return whether a folder has the manifest of an index."""
        return (Path(place) / MANIFEST).is_file()

    @classmethod
    def read_manifest(cls, place: str) -> Manifest:
        """Return the manifest of a folder, as ``Engine.read_manifest`` does."""
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
        keep_replaced: bool = False,
    ) -> Iterator[Self]:
        """Build a folder beside its place, as ``Engine.building`` does."""
        path = Path(place)
        kept = kept_folder(path) if keep_replaced else None
        check_place(path, kept=kept)
        folder = unfinished_folder(path)
        with kept_if_begun(folder):
            begin(folder, manifest, source, adapter)
            try:
                engine = cls(folder)
            except DataError:  # what an interrupt left is damaged
                remove(folder)
                begin(folder, manifest, source, adapter)
                engine = cls(folder)
            try:
                engine.lock()
                yield engine
                engine.code()
            finally:
                engine.close()
        take_place(folder, path, kept=kept)

    @classmethod
    def count_unfinished(cls, place: str) -> int:
        """Return how many documents an interrupted build for this place holds."""
        try:
            with closing(cls(unfinished_folder(Path(place)))) as engine:
                return len(engine)
        except DataError:  # none was interrupted
            return 0

    @classmethod
    def kept_place(cls, place: str) -> str:
        """Return where ``building`` keeps the folder that it replaces."""
        return str(kept_folder(Path(place)))

    @classmethod
    def restore(cls, place: str) -> None:
        """Put a kept folder back, as ``Engine.restore`` does."""
        restore_folder(Path(place))

    @classmethod
    def disk_bytes(cls, place: str) -> int:
        """Return the bytes of all files in the folder."""
        return folder_bytes(Path(place))

    @classmethod
    def trial(
        cls, corpus: Representations, ids: Sequence[str], documents: Mapping[str, Document]
    ) -> EmbeddedTrial:
        """Prepare this engine's search over vectors, as ``Engine.trial`` does."""
        return EmbeddedTrial(corpus, ids, documents)

    def add(
        self,
        added: Mapping[str, Document],
        embeddings: Embeddings,
        *,
        replace: bool = False,
        code: bool = True,
    ) -> None:
        """Commit documents: they are on disk, and found by the next search, when this returns.

        Args:
            added: By id.
            embeddings: One for each in the same order, [n, full_dim], as the model gives them.
            replace: True replaces documents of the same id; False refuses them.
            code: False leaves making codes to a later call, for loads of many batches.

        Raises:
            InvalidArgument: If an id is there already, a vector is not finite or counts differ.
            IndexLocked: If another process changes the index.
            DataError: If the disk is full or the folder is read-only; then nothing has changed.
        """
        embeddings = as_float32(embeddings)
        self._check_added(added, embeddings)
        manifest = self.manifest
        stored = manifest.as_stored(embeddings)
        with self._changing:
            found = drift(manifest.codecs.values(), stored)
            self.writer.add(added, stored, replace=replace, drift=found)
            if code:
                self.code(at_least=TAIL_ROWS)

    def delete(self, ids: Sequence[str]) -> int:
        """Commit that documents are gone, and return how many of the ids were there.

        Raises:
            IndexLocked: If another process changes the index.
            DataError: If the folder cannot be written.
        """
        with self._changing:
            return self.writer.delete(ids)

    def use(self, point: OperatingPoint) -> None:
        """Search by another point from now on; its codes are made before this returns.

        Raises:
            InvalidArgument: If the vectors cannot be searched by it.
            IndexLocked: If another process changes the index.
        """
        self.manifest.check_point(point)
        with self._changing:
            writer = self.writer  # before anything is written
            make_codes(self._codecs, self.snapshot(), point)
            # Without new parts, too, so that readers look again.
            writer.commit_parts(writer.state.parts, fitted=self._save(self._codecs, point))
            writer.remove_codes_but({codes_name(*key) for key in with_codes(point)})
            self.snapshot()

    def code(self, *, at_least: int = 1) -> None:
        """Make codes of the tail, if it has so many rows; codecs are fitted when all is coded."""
        with self._changing:
            parts = next_parts(self.writer.state, at_least=at_least)
            if parts is None:
                return
            point, codecs = self.manifest.point, self._codecs
            with self._reads.borrow() as database:
                newest = take_snapshot(self.path, self.manifest, database, self._snapshot)
                coded = newest.coded(self.path, database, parts)
            if len(parts) == 1:  # everything anew: so by codecs that know all of it
                codecs = Codecs(self.manifest.model, {})
            make_codes(codecs, coded, point)
            for part in coded.parts:  # while searches still go on without it
                part.scan(codecs.of(point, coded)[0])
            self.writer.commit_parts(parts, fitted=self._save(codecs, point))
            with self._lock:
                self._take(coded)
                if len(parts) == 1:  # what other points have learnt, they learn anew, too
                    self._codecs = Codecs(self.manifest.model, self.manifest.codecs)
            self.writer.remove_leftovers()

    def compact(self) -> Compacted:
        """Remove deleted documents from the disk, and fit the codecs anew.

        Raises:
            IndexLocked: If another process changes the index.
            DamagedFile: If something is not what was written; then nothing has changed.
            DataError: If the disk is full; then nothing has changed.
        """
        with self._changing:
            before = folder_bytes(self.path)
            self.snapshot()  # what was committed until now, and searched until there are new codes
            self._compacting = True
            try:
                compact(self.writer)
                self.code()
            finally:
                self._compacting = False
            pinned = give_back(self.writer.database)
            return Compacted(before, folder_bytes(self.path), pinned)

    def lock(self) -> None:
        """Become the one writer now, not at the first change.

        Raises:
            IndexLocked: If another process changes the index.
        """
        _ = self.writer

    def close(self) -> None:
        """Close the files; what was changed is in the database itself then."""
        with self._changing:
            super().close()
            if self._writer is not None:
                writer, self._writer = self._writer, None
                writer.close()

    @property
    def writer(self) -> Writer:
        """The one writer, which this index becomes now if it was not yet.

        Raises:
            IndexLocked: If another process changes the index.
            DataError: If nothing may be written there, or the index is closed.
        """
        with self._changing:
            if self._writer is None:
                self._database.version()  # refuses if this is closed, or was opened before a fork
                if not os.access(self.path, os.W_OK):
                    raise DataError(self.path, "cannot be written: no permission")
                self._writer = Writer(self.path, self.manifest, self._check_in_place)
            return self._writer

    def _check_in_place(self) -> None:
        if not self.in_place():
            raise DataError(self.path, "was replaced since it was opened: open it again")

    def _save(self, codecs: Codecs, point: OperatingPoint) -> bool:
        """Write the manifest, which is read again with the next commit; tell if a codec is new."""
        keys = {stage.representation for stage in point.stages}
        fitted = {key: codec for key, codec in codecs.fitted.items() if key in keys}
        known = self.manifest.codecs
        manifest = replace(self.manifest, point=point, codecs=fitted)
        if manifest.to_json() != self.manifest.to_json():
            save_manifest(manifest, self.path)
        return any(codec is not known.get(key) for key, codec in fitted.items())

    def _check_added(self, added: Mapping[str, Document], embeddings: Embeddings) -> None:
        expected = (len(added), self.manifest.model.full_dim)
        if embeddings.shape != expected:
            problem = f"embeddings {embeddings.shape} for {expected[0]} documents of {expected[1]}"
            raise InvalidArgument(problem)
        spoilt = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if len(spoilt):
            row = int(spoilt[0])
            more = f", and {len(spoilt) - 1:,} more" if len(spoilt) > 1 else ""
            id_ = list(added)[row]
            raise InvalidArgument(f"vector {row} (id {id_!r}) holds NaN or infinity{more}")
