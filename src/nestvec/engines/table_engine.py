"""The protocol ``Engine`` over a database, implemented with the classes of ``tables``.

A subclass names its ``DocumentTables`` and its ``Capabilities``. An index in a database has no
checksums of its own: ``verify`` checks what the database returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Self

from nestvec.engines.canaries import Canaries
from nestvec.engines.checks import check_added
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest
from nestvec.engines.results import Compacted
from nestvec.engines.scratch import ScratchTrial
from nestvec.engines.table_reader import TableReader
from nestvec.engines.tables import DocumentTables, Record
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.adapter import Adapter
from nestvec.models.adapter_file import ADAPTER, save_adapter
from nestvec.types import Document, Embeddings, ModelInfo, OperatingPoint

UNFINISHED = "_unfinished"
"""Suffix of the name of an index that is being built."""


class TableEngine(TableReader):
    """An open index in a database. Several threads and processes may use it at the same time."""

    tables: ClassVar[type[DocumentTables]]
    default_place: ClassVar[str]
    """The URL that is used to measure the engine if none is given."""

    @classmethod
    def create(cls, place: str, manifest: Manifest, adapter: Adapter | None = None) -> Self:
        """Create an empty index and open it, as ``Engine.create`` does."""
        cls.check(manifest)
        tables = cls.tables.connect(place)
        try:
            if tables.read(tables.name) is not None:
                problem = f"already contains an index named {tables.name}."
                raise DataError(tables.shown, f"{problem} Choose another name.")
            tables.create(tables.name, Record(manifest, tables.name, _adapter_bytes(adapter)))
        except BaseException:
            tables.close()
            raise
        return cls(tables, tables.name)

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> Self:
        """Open an index, as ``Engine.open`` does."""
        tables = cls.tables.connect(place)
        engine = cls(tables, tables.name)
        if verify:
            engine.verify()
        return engine

    @classmethod
    def exists(cls, place: str) -> bool:
        """Return whether the database has a record of the index."""
        with cls._connected(place) as tables:
            return tables.read(tables.name) is not None

    @classmethod
    def read_manifest(cls, place: str) -> Manifest:
        """Read the manifest of an index, as ``Engine.read_manifest`` does."""
        with cls._connected(place) as tables:
            record = tables.read(tables.name)
            if record is None:
                raise DataError(tables.shown, tables.why_missing(tables.name))
            return record.manifest

    @classmethod
    def check(cls, manifest: Manifest) -> None:
        """Check that the engine supports the stored precision and the operating point.

        Raises:
            InvalidArgument: If it does not.
        """
        supported = cls.capabilities
        if manifest.stored not in supported.stored:
            known = " or ".join(sorted(supported.stored))
            problem = f"this engine cannot store {manifest.stored} vectors."
            raise InvalidArgument(f"{problem} Choose stored={known}.")
        if not supported.can_run(manifest.point):
            raise InvalidArgument(cls._unsupported(manifest.point))

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
        """Build an index under a temporary name, as ``Engine.building`` does."""
        if keep_backup:
            raise InvalidArgument("this engine keeps no backup of an index. Copy the index first.")
        cls.check(manifest)
        tables = cls.tables.connect(place)
        name = tables.name + UNFINISHED
        try:
            tables.lock(name)  # before the table of another build is continued or dropped
            _start(tables, name, Record(manifest, name, _adapter_bytes(adapter), dict(source)))
        except BaseException:
            tables.close()
            raise
        engine = cls(tables, name)
        try:
            engine.lock()
            yield engine
            engine.build_codes()
            engine._finish()
        finally:
            engine.close()

    @classmethod
    def count_unfinished(cls, place: str) -> int:
        """Return the number of documents that an interrupted build has stored."""
        with cls._connected(place) as tables:
            record = tables.read(tables.name + UNFINISHED)
            return 0 if record is None else tables.open(record).count()

    @classmethod
    def backup_place(cls, place: str) -> str:
        """Return the place itself: the engine keeps no backup."""
        return place

    @classmethod
    def restore(cls, place: str) -> None:
        """Raise an error: the engine keeps no backup."""
        with cls._connected(place) as tables:
            raise DataError(tables.shown, "has no backup: this engine keeps none.")

    @classmethod
    def disk_bytes(cls, place: str) -> int:
        """Return the size of an index on disk in bytes."""
        engine = cls.open(place)
        try:
            return engine.stats().disk_bytes
        finally:
            engine.close()

    @classmethod
    def trial(
        cls,
        corpus: Representations,
        ids: Sequence[str],
        documents: Mapping[str, Document],
        *,
        place: str | None = None,
    ) -> ScratchTrial:
        """Prepare this engine's search over vectors in temporary indexes.

        Args:
            corpus: As in ``Engine.trial``.
            ids: As in ``Engine.trial``.
            documents: As in ``Engine.trial``.
            place: The URL of a database; None for ``default_place``.
        """

        def create(manifest: Manifest, suffix: str) -> TableEngine:
            tables = cls.tables.connect(cls.default_place if place is None else place)
            name = tables.name + suffix
            tables.create(name, Record(manifest, name))
            return cls(tables, name)

        return ScratchTrial(create, corpus, ids, documents)

    def add(
        self,
        added: Mapping[str, Document],
        embeddings: Embeddings,
        *,
        replace: bool = False,
        build_codes: bool = True,
    ) -> None:
        """Add documents and commit them, as ``Engine.add`` does.

        The database adds new documents to its search structures itself, so ``build_codes`` has no
        effect here.
        """
        embeddings = check_added(self.manifest, added, embeddings)
        if added:
            vectors = self.manifest.as_stored(embeddings)
            self._table.add(added, vectors, replace=replace)
            self._fields_until.clear()

    def build_codes(self) -> None:
        """Build the columns and search structures of the index's own point."""
        self._use(self.manifest.point)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, commit, and return the number of deleted documents."""
        self._fields_until.clear()
        return self._table.delete(list(dict.fromkeys(ids))) if ids else 0

    def use(self, point: OperatingPoint) -> None:
        """Build the search structures of another point, and make it the index's own.

        Searches continue to use the former point until its structures are complete.

        Raises:
            InvalidArgument: If the index cannot be searched by the point.
        """
        self.manifest.check_point(point)
        self.check(replace(self.manifest, point=point))
        self._use(point)

    def record_encoder(self, model: ModelInfo) -> None:
        """Record the model that encodes texts, as ``Engine.record_encoder`` does."""
        self._write(replace(self.manifest, encoder=model))

    def record_canaries(self, canaries: Canaries) -> None:
        """Store canaries in the manifest, as ``Engine.record_canaries`` does."""
        self._write(replace(self.manifest, canaries=canaries))

    def compact(self) -> Compacted:
        """Free the space of deleted documents, and rebuild the search structures."""
        before = self._table.sizes()
        self._table.compact()
        after = self._table.sizes()
        return Compacted(before.disk, after.disk, 0)

    def lock(self) -> None:
        """Prevent changes by other processes until ``close``, if the database can."""
        self._table.lock()

    def drop(self) -> None:
        """Delete the index, and close the connection."""
        try:
            self._tables.drop(self._name)
        finally:
            self.close()

    @classmethod
    @contextmanager
    def _connected(cls, place: str) -> Iterator[DocumentTables]:
        tables = cls.tables.connect(place)
        try:
            yield tables
        finally:
            tables.close()

    def _finish(self) -> None:
        """Give the complete index its final name."""
        self._tables.write(self._name, replace(self._record, source={}))
        self._tables.replace(self._tables.name, by=self._name)

    def _use(self, point: OperatingPoint) -> None:
        settings = self._table.prepare(point)
        self._write(replace(self.manifest, point=point, settings=settings))
        self._table.remove_unused(point)

    def _write(self, manifest: Manifest) -> None:
        with self._lock:
            record = replace(self._record, manifest=manifest)
            self._tables.write(self._name, record)
            self._set(record)


def _start(tables: DocumentTables, name: str, record: Record) -> None:
    """Continue an interrupted build of equal source and manifest, or begin a new one."""
    before = tables.read(name)
    if before is not None:
        # A build adds its settings and its canaries after its documents.
        plain = replace(before.manifest, settings={}, canaries=record.manifest.canaries)
        same = plain.to_json() == record.manifest.to_json() and before.source == record.source
        if same and before.adapter == record.adapter:
            return
        tables.drop(name)
    tables.create(name, record)


def _adapter_bytes(adapter: Adapter | None) -> bytes | None:
    if adapter is None:
        return None
    with TemporaryDirectory(prefix="nestvec-adapter-") as folder:
        file = Path(folder) / ADAPTER
        save_adapter(adapter, file)
        return file.read_bytes()
