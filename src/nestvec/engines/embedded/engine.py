"""The embedded index as an object: what ``reader`` does, and the changes of the one writer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from nestvec.codec.prefix import as_float32, as_stored
from nestvec.engines.embedded import documents
from nestvec.engines.embedded.codecs import Codecs, drift, make_codes, with_codes
from nestvec.engines.embedded.compaction import Compacted, compact, folder_bytes, give_back
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.folder import CODES, DATABASE, VECTORS, check_file_system, codes_name
from nestvec.engines.embedded.manifest import Manifest, Stored
from nestvec.engines.embedded.reader import EmbeddedReader
from nestvec.engines.embedded.snapshot import take_snapshot
from nestvec.engines.embedded.state import next_parts
from nestvec.engines.embedded.writer import TAIL_ROWS, Writer
from nestvec.errors import DataError, InvalidArgument
from nestvec.files.atomic import sync
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint


def create(path: Path, *, model: ModelInfo, point: OperatingPoint, stored: Stored) -> None:
    """Make the folder of an empty index.

    Args:
        path: A new or empty folder.
        model: Whose vectors it will hold.
        point: How it will be searched.
        stored: How full vectors are kept.

    Raises:
        InvalidArgument: If the vectors cannot be searched by the point, or not be kept so.
        DataError: If the folder holds something, cannot be written, or lies on a network.
    """
    if stored not in get_args(Stored):
        raise InvalidArgument(f"stored {stored!r} is none of {', '.join(get_args(Stored))}")
    manifest = Manifest(model, stored, point, {})
    manifest.check_point(point)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(path, "is not empty: name a new folder")
    check_file_system(path)
    made = [folder for folder in (path, *path.absolute().parents) if not folder.exists()]
    try:
        for folder in (path, path / VECTORS, path / CODES):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in made:
            sync(folder.parent)  # else a power cut could take the index with the folder's name
    except OSError as error:
        raise DataError(path, f"cannot be made ({error.strerror})") from error
    database = Database(path / DATABASE, write=True, create=True)
    try:
        with database.transaction():
            documents.create_tables(database)
        database.checkpoint()
    finally:
        database.close()
    manifest.save(path)


class EmbeddedEngine(EmbeddedReader):
    """An index folder opened for searching, and for changing by the first that begins to."""

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """Open a folder as ``EmbeddedReader`` does."""
        self._writer: Writer | None = None
        super().__init__(path, verify=verify)

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
        unit = as_stored(embeddings, layer_norm=manifest.model.layer_norm)
        stored = unit.astype(manifest.stored)
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
            newest = take_snapshot(self.path, self.manifest, self._database, self._snapshot)
            coded = newest.coded(self.path, self._database, parts)
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
            manifest.save(self.path)
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
