"""An open index in a database: searches, documents, statistics and checks.

``table_engine`` adds the methods that create and change an index.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np

from nestvec.codec.prefix import as_stored
from nestvec.engines.checks import check_search
from nestvec.engines.engine import Capabilities
from nestvec.engines.filters.condition import Condition, FieldTest
from nestvec.engines.filters.fields import check_fields, tests_of
from nestvec.engines.manifest import Manifest
from nestvec.engines.results import Explained, PointBytes, StageTrace, Stats
from nestvec.engines.tables import DocumentTables, Record
from nestvec.errors import DamagedFile, DataError, InvalidArgument
from nestvec.models.adapter import Adapter
from nestvec.models.adapter_file import ADAPTER, load_adapter
from nestvec.types import Document, Embeddings, Hits, OperatingPoint

MANIFEST_AGE_S = 5.0
"""A search uses the operating point of a manifest that is at most this old."""
FIELDS_AGE_S = 60.0
"""A filter whose fields another process has removed meanwhile finds nothing for so long."""
_SAMPLED = 1_000  # documents whose fields are read first to check a filter
_BLOCK = 1_024  # vectors checked at a time
_LENGTH_ERROR = 1e-2  # largest deviation of the length of a stored vector from 1


class TableReader:
    """An index in a database, open for reading. Several threads may use it."""

    capabilities: ClassVar[Capabilities]

    def __init__(self, tables: DocumentTables, name: str) -> None:
        """Open an index of a connected database.

        Args:
            tables: The connection. It is closed if there is no index.
            name: The name of the index: that of the URL, or that of an unfinished build.

        Raises:
            DataError: If there is no index.
        """
        self._tables, self._name = tables, name
        self._lock = threading.Lock()
        self._fields_until: dict[FieldTest, float] = {}  # accepted tests, and how long they are
        try:
            record = tables.read(name)
            if record is None:
                raise DataError(tables.shown, tables.why_missing(name))
            self._record, self._read_at = record, time.monotonic()
            self._table = tables.open(record)
        except BaseException:
            tables.close()
            raise

    @property
    def place(self) -> str:
        """The URL of the index, without credentials."""
        return self._tables.shown

    @property
    def manifest(self) -> Manifest:
        """The model, the operating point and the settings of the index."""
        return self._record.manifest

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that transformed the vectors, as in ``Engine.adapter``."""
        expected, content = self.manifest.model.adapter, self._record.adapter
        if not expected:
            return None
        if content is None:
            raise DataError(self.place, "lacks the adapter that its manifest names. Rebuild it.")
        with TemporaryDirectory(prefix="nestvec-adapter-") as folder:
            file = Path(folder) / ADAPTER
            file.write_bytes(content)
            adapter = load_adapter(file)
        if adapter.digest() != expected:
            raise DamagedFile(self.place, "has another adapter than its manifest. Rebuild it.")
        return adapter

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._table.count()

    def __contains__(self, id_: object) -> bool:
        """Return whether the index contains a document with this id."""
        return isinstance(id_, str) and bool(self._table.existing([id_]))

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents."""
        return self._table.ids()

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id, in the order of ``ids``; unknown ids are left out."""
        found = self._table.documents(ids)
        return {id_: found[id_] for id_ in ids if id_ in found}

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """Return stored vectors, float32 [n, full_dim]; unknown ids are left out."""
        found = self._table.vectors(ids)
        rows = [found[id_] for id_ in dict.fromkeys(ids) if id_ in found]
        full_dim = self.manifest.model.full_dim
        return np.stack(rows) if rows else np.empty((0, full_dim), dtype=np.float32)

    def search(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
        exact: bool = False,
    ) -> Hits:
        """Return the best ``k`` documents of each query, as ``Engine.search`` does."""
        manifest = self._fresh_manifest()
        embeddings = check_search(manifest, embeddings, k, point)
        if point is not None and not self.capabilities.can_run(point):
            raise InvalidArgument(self._unsupported(point))
        if len(embeddings) == 0:
            return Hits([], [])
        if where is not None and not self._may_match(where):
            return Hits([[] for _ in embeddings], [[] for _ in embeddings])
        queries = as_stored(embeddings, layer_norm=manifest.model.layer_norm)
        chosen = None if exact else point or manifest.point
        return self._table.search(queries, k, chosen, where)

    def explain(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
    ) -> Explained:
        """Search as ``search`` does, and also return the time of all stages together.

        The database runs all stages in one call, so the trace has one entry: the last stage.
        """
        start = time.perf_counter()
        hits = self.search(embeddings, k, where=where, point=point)
        milliseconds = (time.perf_counter() - start) * 1000
        last = (point or self.manifest.point).stages[-1]
        kept = max(map(len, hits.ids), default=0)
        return Explained(hits, (StageTrace(last, kept, milliseconds, 0, lambda: hits),))

    def verify(self) -> None:
        """Read every document, and check that its vector is finite and of unit length or zero.

        Raises:
            DamagedFile: If a vector is not, or a document has no vector.
        """
        ids = self.ids()
        while block := list(islice(ids, _BLOCK)):
            documents, vectors = self._table.documents(block), self._table.vectors(block)
            for id_ in block:
                vector = vectors.get(id_)
                length = 0.0 if vector is None else float(np.linalg.norm(vector))
                missing = vector is None or id_ not in documents
                if missing and id_ in self:  # otherwise it was deleted meanwhile
                    raise DamagedFile(self.place, f"document {id_!r} has no text or no vector.")
                if not missing and length != 0 and not abs(length - 1) < _LENGTH_ERROR:
                    problem = f"the vector of {id_!r} has length {length:.3f}, not 1 or 0."
                    raise DamagedFile(self.place, f"{problem} Add the document again.")

    def stats(self) -> Stats:
        """Return the counts and sizes of the index."""
        manifest, sizes = self._fresh_manifest(), self._table.sizes()
        return Stats(
            documents=len(self),
            deleted=0,
            model=manifest.model.name,
            encoder=manifest.encoding_model,
            full_dim=manifest.model.full_dim,
            adapter=manifest.model.adapter,
            stored=manifest.stored,
            point=str(manifest.point),
            parts=0,
            uncoded=0,
            outside=None,
            resident_bytes=sizes.resident,
            disk_bytes=sizes.disk,
            vector_bytes=sizes.vectors,
            text_bytes=sizes.texts,
            commits=0,
            generation=0,
            settings=manifest.settings,
            canaries=None if manifest.canaries is None else manifest.canaries.summary,
        )

    def bytes(self) -> PointBytes:
        """Return the bytes that the index requires, averaged over its documents."""
        n, sizes = max(1, len(self)), self._table.sizes()
        manifest = self.manifest
        item = 2 if manifest.stored == "float16" else 4
        rescored = sum(stage.keep or 0 for stage in manifest.point.stages)
        return PointBytes(
            ram_per_vector=sizes.resident / n,
            disk_per_vector=sizes.vectors / n,
            text_per_vector=sizes.texts / n,
            read_per_query=float(rescored * manifest.model.full_dim * item),
        )

    def close(self) -> None:
        """Close the connection."""
        self._tables.close()

    @classmethod
    def _unsupported(cls, point: OperatingPoint) -> str:
        first, later = (
            ", ".join(sorted(each))
            for each in (cls.capabilities.scanned, cls.capabilities.rescored)
        )
        return (
            f"{point} is not supported by this engine. Its first stage can use {first}; "
            f"later stages can use {later}."
        )

    def _set(self, record: Record) -> None:
        self._record, self._read_at = record, time.monotonic()
        self._table.manifest = record.manifest

    def _fresh_manifest(self) -> Manifest:
        """Return the manifest, which another process may have changed."""
        if time.monotonic() - self._read_at > MANIFEST_AGE_S:
            with self._lock, suppress(DataError):  # without a connection, the search reports it
                record = self._tables.read(self._name)
                if record is not None:
                    self._set(record)
        return self._record.manifest

    def _may_match(self, where: Condition) -> bool:
        """Check the fields of a filter; return False if the index has no documents.

        The fields of accepted filters are remembered for ``FIELDS_AGE_S``, until this engine
        changes the index.
        """
        now = time.monotonic()
        if all(self._fields_until.get(test, 0.0) > now for test in tests_of(where)):
            return True
        try:
            found = self._table.field_kinds(where.fields, _SAMPLED)
            check_fields(where, found, self._table.field_names)
        except InvalidArgument:  # rare fields and types may be outside of the sample
            if not len(self):
                return False
            found = self._table.field_kinds(where.fields, None)
            check_fields(where, found, self._table.field_names)
        self._fields_until |= dict.fromkeys(tests_of(where), now + FIELDS_AGE_S)
        return True
