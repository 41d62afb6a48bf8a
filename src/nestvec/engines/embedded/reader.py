"""An index folder opened for reading: searches, documents, numbers, checks.

Takes and gives vectors and documents; what joins it to a model is ``workflows``' business, what
changes it is ``index``'.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import as_float32, as_stored
from nestvec.engines.embedded import documents
from nestvec.engines.embedded.checking import check_at_opening, check_everything
from nestvec.engines.embedded.codecs import Codecs, make_codes
from nestvec.engines.embedded.database import Database, ReadConnections, is_sealed
from nestvec.engines.embedded.filtering import Filter
from nestvec.engines.embedded.folder import DATABASE, check_file_system, load_manifest
from nestvec.engines.embedded.searching import PointSearch, search_exactly, traced
from nestvec.engines.embedded.sizes import (
    folder_bytes,
    ram_bytes,
    read_bytes,
    text_bytes,
    vector_bytes,
)
from nestvec.engines.embedded.snapshot import Snapshot, take_snapshot
from nestvec.engines.embedded.state import next_parts
from nestvec.engines.embedded.writer import TAIL_ROWS
from nestvec.engines.filters.condition import Condition
from nestvec.engines.manifest import Manifest
from nestvec.engines.results import Explained, PointBytes, StageTrace, Stats
from nestvec.errors import DamagedFile, InvalidArgument, ModelMismatch
from nestvec.models.adapter import Adapter
from nestvec.models.adapter_file import adapter_path, load_adapter
from nestvec.types import Document, Embeddings, Hits, OperatingPoint


class EmbeddedReader:
    """An index folder opened for searching, by any number of threads."""

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """Open a folder.

        The manifest, what SQLite holds, the heads of all segments and all codes are checked.

        Args:
            path: The folder.
            verify: Check every vector, too.

        Raises:
            DataError: If it is not an index folder of this version, or cannot be read.
            DamagedFile: If a file is missing, truncated or changed.
        """
        self.path = path
        self._manifest = load_manifest(path)
        check_file_system(path)
        self._lock = threading.RLock()  # held for moments: what takes long is made outside it
        self._changing = threading.RLock()  # by one thread at a time; searches go on meanwhile
        self._compacting = False
        self._codecs = Codecs(self.manifest.model, self.manifest.codecs)
        self._searches: dict[OperatingPoint, PointSearch] = {}
        self._snapshot: Snapshot
        sealed = is_sealed(path)  # while it is not open yet
        self._database = Database(path / DATABASE, write=False)
        self._reads = ReadConnections(self._database)
        try:
            check_at_opening(path, self.manifest, self._database, sealed=sealed)
            self._version = self._database.version()
            self._take(None)
            self._filter = Filter(self._reads)
            self._warm_up()
            if verify:
                self.verify()
        except BaseException:
            self._reads.close()
            self._database.close()
            raise

    def __len__(self) -> int:
        """Count the documents."""
        return documents.read_state(self._database).n_documents

    def __contains__(self, id_: object) -> bool:
        """Tell whether there is a document of that id."""
        if not isinstance(id_, str):
            return False
        with self._reads.borrow() as database:
            return bool(documents.rows_of(database, [id_]))

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents."""
        with self._reads.borrow() as database:
            ids = documents.all_ids(database)
        yield from ids

    @property
    def place(self) -> str:
        """The path of the folder."""
        return str(self.path)

    @property
    def manifest(self) -> Manifest:
        """What the index records of itself."""
        return self._manifest

    @property
    def adapter(self) -> Adapter | None:
        """What the vectors were transformed by; None where the manifest names no adapter.

        Raises:
            DataError: If it is missing or cannot be read.
            DamagedFile: If it is not the one that the manifest names.
        """
        expected = self.manifest.model.adapter
        if not expected:
            return None
        path = adapter_path(self.path)
        adapter = load_adapter(path)
        if adapter.digest() != expected:
            problem = "is not the adapter that the index's vectors went through: put that back"
            raise DamagedFile(path, problem)
        return adapter

    def bytes(self) -> PointBytes:
        """Return what the index requires, averaged over its documents; nothing if it is empty."""
        n, manifest = len(self), self.manifest
        return PointBytes(
            ram_per_vector=ram_bytes(manifest.point),
            disk_per_vector=vector_bytes(self.path) / n if n else 0.0,
            text_per_vector=text_bytes(self.path) / n if n else 0.0,
            read_per_query=read_bytes(manifest.point, manifest.stored),
        )

    def search(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
        exact: bool = False,
    ) -> Hits:
        """Return the best ``k`` documents of each query, equal scores by descending id.

        Args:
            embeddings: [n_queries, full_dim], as the model gives them.
            k: At least 1; a shortlist or corpus that holds fewer gives fewer.
            where: Which documents may be returned.
            point: Another operating point than the index's own.
            exact: Score every document by its whole stored vector: slow, and the truth.

        Raises:
            InvalidArgument: If k is below 1, the vectors cannot be searched by the point, or a
                query holds NaN or infinity.
            ModelMismatch: If the vectors have another width than the stored model's.
        """
        embeddings = self._checked(embeddings, k, point)
        if len(embeddings) == 0:
            return Hits([], [])
        if exact:
            snapshot, mask = self._selected(where)
            queries = as_stored(embeddings, layer_norm=self.manifest.model.layer_norm)
            return snapshot.hits(search_exactly(snapshot, queries, k, mask))
        search, mask = self._prepared(point, where)
        return search.snapshot.hits(search.search(embeddings, k, mask))

    def explain(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
    ) -> Explained:
        """Search as ``search`` does, and tell what each stage did."""
        embeddings = self._checked(embeddings, k, point)
        search, mask = self._prepared(point, where)
        traces = [
            StageTrace(
                stage, found.rows.shape[1], milliseconds, size, partial(search.snapshot.hits, found)
            )
            for stage, (found, milliseconds, size) in zip(
                search.point.stages, traced(search, embeddings, k, mask), strict=True
            )
        ]
        return Explained(traces[-1].hits, tuple(traces))

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order asked."""
        with self._reads.borrow() as database:
            return documents.get(database, ids)

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """Return the stored vectors of those ids that are there, in the order asked.

        Returns:
            float32 [n, full_dim], of unit length, as rounded as they are kept.
        """
        snapshot = self.snapshot()
        with self._reads.borrow() as database:
            found = documents.rows_of(database, ids)
        rows = np.fromiter((row for row, _ in found.values()), np.int64, len(found))
        return snapshot.vectors.floats(rows, self.manifest.model.full_dim)

    def verify(self) -> None:
        """Check every row and every vector; codes are checked whenever they are opened.

        Raises:
            DamagedFile: If something is not what was written, naming file and row.
        """
        with self._reads.borrow() as database:
            check_everything(self.path, self.manifest, database)

    def stats(self) -> Stats:
        """Return numbers of the index."""
        snapshot = self.snapshot()
        state, manifest = snapshot.state, self.manifest
        return Stats(
            documents=state.n_documents,
            deleted=len(snapshot.deleted),
            model=manifest.model.name,
            full_dim=manifest.model.full_dim,
            adapter=manifest.model.adapter,
            stored=manifest.stored,
            point=str(manifest.point),
            parts=len(snapshot.parts),
            uncoded=len(snapshot.tail.ids),
            outside=state.outside / state.checked if state.checked else None,
            resident_bytes=ram_bytes(manifest.point) * sum(map(len, snapshot.parts)),
            disk_bytes=folder_bytes(self.path),
            vector_bytes=vector_bytes(self.path),
            text_bytes=text_bytes(self.path),
            commits=state.counter,
            generation=state.generation,
        )

    def close(self) -> None:
        """Close the files."""
        self._reads.close()
        with self._lock:
            self._database.close()

    def snapshot(self) -> Snapshot:
        """Return what the last commit shows; while a compaction is under way, the one before it."""
        with self._lock:
            version = self._database.version()
            if version != self._version and not self._compacting:
                if self.in_place():
                    self._take(self._snapshot)
                self._version = version
            return self._snapshot

    def in_place(self) -> bool:
        """Tell whether no other index stands in the place of the one that was opened.

        What was opened is searched on then as it was: its own manifest and codes have moved.
        """
        return self._reads.in_place()

    def _take(self, before: Snapshot | None) -> None:
        manifest = load_manifest(self.path)
        if manifest.to_json() != self.manifest.to_json():
            self._manifest = manifest
            self._codecs = Codecs(manifest.model, manifest.codecs)
        taken = take_snapshot(self.path, manifest, self._database, before)
        parts = next_parts(taken.state, at_least=TAIL_ROWS + 1)
        # A load that was interrupted leaves a long tail: it is coded here as a writer would.
        self._snapshot = taken.coded(self.path, self._database, parts) if parts else taken
        self._searches = {}

    def _selected(self, where: Condition | None) -> tuple[Snapshot, NDArray[np.bool_] | None]:
        """Return the last commit, and which of its rows may be returned; None for all."""
        while True:
            snapshot = self.snapshot()
            mask = None if where is None else self._filter.mask(where, snapshot)
            if where is None or mask is not None:
                return snapshot, mask
            with self._changing:  # perhaps a compaction has numbered rows anew: wait for its end
                pass

    def _prepared(
        self, point: OperatingPoint | None, where: Condition | None
    ) -> tuple[PointSearch, NDArray[np.bool_] | None]:
        """Return what searches the last commit by a point, and which rows it may return."""
        while True:
            snapshot, mask = self._selected(where)
            search = self._search_of(snapshot, point or self.manifest.point)
            if search is not None:
                return search, mask

    def _search_of(self, snapshot: Snapshot, point: OperatingPoint) -> PointSearch | None:
        """Return what searches a snapshot; None if it is not the last one any more."""
        with self._lock:
            if snapshot is not self._snapshot:
                return None  # the codecs are those of a later one
            known, codecs = self._searches.get(point), self._codecs
        if known is None:
            known = PointSearch(snapshot, point, codecs.of(point, snapshot))
            with self._lock:
                if snapshot is self._snapshot:
                    self._searches[point] = known
        return known

    def _warm_up(self) -> None:
        """Check the codes of the index's own point, and have those of the first stage in memory."""
        first, *_ = self._codecs.of(self.manifest.point, self._snapshot)
        for part in self._snapshot.parts:
            part.scan(first)
        make_codes(self._codecs, self._snapshot, self.manifest.point)

    def _checked(self, embeddings: Embeddings, k: int, point: OperatingPoint | None) -> Embeddings:
        embeddings = as_float32(embeddings)
        stored = self.manifest.model
        if point is not None:
            self.manifest.check_point(point)
        if k < 1:
            raise InvalidArgument(f"k {k} < 1")
        if embeddings.ndim != 2 or embeddings.shape[1] != stored.full_dim:
            raise ModelMismatch(
                f"queries of shape {embeddings.shape} for an index of {stored.name}, which needs "
                f"[n, {stored.full_dim}]: encode at full width, the index truncates; "
                "or rebuild it with the other model"
            )
        if not np.isfinite(embeddings).all():
            raise InvalidArgument("a query vector holds NaN or infinity")
        return embeddings
