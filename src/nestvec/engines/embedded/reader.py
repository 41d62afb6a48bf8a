"""An index folder open for reading: searches, documents, statistics and checks.

``engine`` adds the methods that change the index.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nestvec.codec.prefix import as_stored
from nestvec.engines.checks import check_search
from nestvec.engines.embedded import documents
from nestvec.engines.embedded.checking import check_everything, check_on_open
from nestvec.engines.embedded.codecs import Codecs, make_codes
from nestvec.engines.embedded.database import Database, ReadConnections, is_sealed
from nestvec.engines.embedded.exact_search import search_exactly
from nestvec.engines.embedded.filtering import Filter, RecentFilters
from nestvec.engines.embedded.folder import DATABASE, check_file_system, load_manifest
from nestvec.engines.embedded.searching import PointSearch, trace_stages
from nestvec.engines.embedded.shared_searches import SharedSearches
from nestvec.engines.embedded.sizes import (
    folder_bytes,
    ram_bytes,
    read_bytes,
    text_bytes,
    vector_bytes,
)
from nestvec.engines.embedded.snapshot import SelectedRows, Snapshot, take_snapshot
from nestvec.engines.embedded.state import TAIL_ROWS, next_parts
from nestvec.engines.filters.condition import Condition
from nestvec.engines.manifest import Manifest
from nestvec.engines.results import Explained, PointBytes, StageTrace, Stats
from nestvec.errors import DamagedFile
from nestvec.models.adapter import Adapter
from nestvec.models.adapter_file import adapter_path, load_adapter
from nestvec.types import Document, Embeddings, Hits, OperatingPoint


class EmbeddedReader:
    """An index folder that is open for reading. Several threads may use it."""

    def __init__(self, path: Path, *, verify: bool = False) -> None:
        """Open a folder, and check its manifest, its documents and the codes of its point.

        Args:
            path: The index folder.
            verify: Also check every vector.

        Raises:
            DataError: If the folder is not an index of a supported version, or cannot be read.
            DamagedFile: If a file is missing, truncated or changed.
        """
        self.path = path
        self._manifest = load_manifest(path)
        check_file_system(path)
        self._lock = threading.RLock()  # protects the fields below; never locked for long
        self._changing = threading.RLock()  # one thread changes the index; others can search
        self._compacting = False
        self._shared = SharedSearches()
        self._codecs = Codecs(self.manifest.model, self.manifest.codecs)
        self._searches: dict[OperatingPoint, PointSearch] = {}
        self._snapshot: Snapshot
        sealed = is_sealed(path)  # before a connection is open
        self._database = Database(path / DATABASE, write=False)
        self._reads = ReadConnections(self._database)
        try:
            check_on_open(path, self.manifest, self._database, sealed=sealed)
            self._version = self._database.version()
            self._refresh(None)
            self._filter, self._selections = Filter(self._reads), RecentFilters()
            self._warm_up()
            if verify:
                self.verify()
        except BaseException:
            self._reads.close()
            self._database.close()
            raise

    def __len__(self) -> int:
        """Return the number of documents."""
        return documents.read_state(self._database).n_documents

    def __contains__(self, id_: object) -> bool:
        """Return whether the index contains a document with this id."""
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
        """The model, the operating point and the codecs of the index."""
        return self._manifest

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that transformed the vectors; None if the manifest names no adapter.

        Raises:
            DataError: If the adapter is missing or cannot be read.
            DamagedFile: If it is not the adapter that the manifest names.
        """
        expected = self.manifest.model.adapter
        if not expected:
            return None
        path = adapter_path(self.path)
        adapter = load_adapter(path)
        if adapter.digest() != expected:
            problem = "is not the adapter that transformed the index's vectors."
            raise DamagedFile(path, f"{problem} Restore the original file.")
        return adapter

    def bytes(self) -> PointBytes:
        """Return the bytes that the index requires, averaged over its documents."""
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
        """Return the best ``k`` documents of each query, as ``Engine.search`` does.

        Args:
            embeddings: [n_queries, full_dim], as the model returns them.
            k: At least 1. Fewer hits are returned if the index or the last shortlist is smaller.
            where: Return only documents that match this condition; None for all documents.
            point: The operating point of this search; None for the index's own.
            exact: Score every document by its full stored vector.

        Raises:
            InvalidArgument: If k is below 1, the index cannot be searched by the point, a query
                contains NaN or infinity, or ``check_fields`` refuses the condition.
            ModelMismatch: If the width of the queries is not the ``full_dim`` of the index.
        """
        embeddings = check_search(self.manifest, embeddings, k, point)
        if len(embeddings) == 0:
            return Hits([], [])
        if exact:
            snapshot, selection = self._select(where)
            queries = as_stored(embeddings, layer_norm=self.manifest.model.layer_norm)
            return snapshot.hits(search_exactly(snapshot, queries, k, selection))
        search, selection = self._search_and_selection(point, where)
        return self._shared.search(search, embeddings, k, selection)

    def explain(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
    ) -> Explained:
        """Search as ``search`` does, and also return the result of each stage."""
        embeddings = check_search(self.manifest, embeddings, k, point)
        search, selection = self._search_and_selection(point, where)
        traced = trace_stages(search, embeddings, k, selection)
        traces = [
            StageTrace(stage, found.rows.shape[1], milliseconds, size, read_hits)
            for stage, (found, milliseconds, size, read_hits) in zip(
                search.point.stages, traced, strict=True
            )
        ]
        return Explained(traces[-1].hits, tuple(traces))

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id, in the order of ``ids``; unknown ids are left out."""
        with self._reads.borrow() as database:
            return documents.get(database, ids)

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """Return stored vectors, in the order of ``ids``; unknown ids are left out.

        Returns:
            float32 [n, full_dim], of unit length up to the rounding of the stored precision.
        """
        snapshot = self.snapshot()
        with self._reads.borrow() as database:
            found = documents.rows_of(database, ids)
        rows = np.fromiter((row for row, _ in found.values()), np.int64, len(found))
        return snapshot.vectors.floats(rows, self.manifest.model.full_dim)

    def verify(self) -> None:
        """Check every row and every vector; codes are checked when they are opened.

        Raises:
            DamagedFile: If stored data differs from what was written; names the file and the row.
        """
        with self._reads.borrow() as database:
            check_everything(self.path, self.manifest, database)

    def stats(self) -> Stats:
        """Return the counts and sizes of the index."""
        snapshot = self.snapshot()
        state, manifest = snapshot.state, self.manifest
        return Stats(
            documents=state.n_documents,
            deleted=len(snapshot.deleted),
            model=manifest.model.name,
            encoder=manifest.encoding_model,
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
            canaries=None if manifest.canaries is None else manifest.canaries.summary,
        )

    def close(self) -> None:
        """Close the files."""
        self._reads.close()
        with self._lock:
            self._database.close()

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the last commit; during a compaction, of the commit before it."""
        with self._lock:
            version = self._database.version()
            if version != self._version and not self._compacting:
                if self.in_place():
                    self._refresh(self._snapshot)
                self._version = version
            return self._snapshot

    def in_place(self) -> bool:
        """Return whether the folder still contains the index that was opened.

        If the index was replaced, searches use the last snapshot of the old index.
        """
        return self._reads.in_place()

    def _refresh(self, before: Snapshot | None) -> None:
        """Load the snapshot of the last commit, and the manifest if it has changed."""
        manifest = load_manifest(self.path)
        if manifest.to_json() != self.manifest.to_json():
            self._manifest = manifest
            self._codecs = Codecs(manifest.model, manifest.codecs)
        taken = take_snapshot(self.path, manifest, self._database, before)
        # An interrupted load leaves a long tail. It is encoded here, as a writer would do.
        due = taken.state.codes_are_due
        parts = next_parts(taken.state, at_least=TAIL_ROWS + 1) if due else None
        self._snapshot = taken.with_parts(self.path, self._database, parts) if parts else taken
        if parts and len(parts) == 1:  # the codecs of the manifest fit fewer rows
            self._codecs = Codecs(manifest.model, {})
        self._searches = {}

    def _select(self, where: Condition | None) -> tuple[Snapshot, SelectedRows | None]:
        """Return the last snapshot, and the documents that match a filter; None for all."""
        while True:
            snapshot = self.snapshot()
            if where is None:
                return snapshot, None
            selection = self._selections.get(where, snapshot)
            if selection is None:
                mask = self._filter.mask(where, snapshot)
                if mask is not None:
                    selection = self._selections.add(where, snapshot, snapshot.select(mask))
            if selection is not None:
                return snapshot, selection
            with self._changing:  # wait for the end of a compaction, which may renumber rows
                pass

    def _search_and_selection(
        self, point: OperatingPoint | None, where: Condition | None
    ) -> tuple[PointSearch, SelectedRows | None]:
        """Return the search of the last snapshot by a point, and the documents of a filter."""
        while True:
            snapshot, selection = self._select(where)
            search = self._search_of(snapshot, point or self.manifest.point)
            if search is not None:
                return search, selection

    def _search_of(self, snapshot: Snapshot, point: OperatingPoint) -> PointSearch | None:
        """Return the search of a snapshot; None if it is not the last snapshot any more."""
        with self._lock:
            if snapshot is not self._snapshot:
                return None  # the codecs belong to a later snapshot
            known, codecs = self._searches.get(point), self._codecs
        if known is None:
            known = PointSearch(snapshot, point, codecs.of(point, snapshot))
            with self._lock:
                if snapshot is self._snapshot:
                    self._searches[point] = known
        return known

    def _warm_up(self) -> None:
        """Check the codes of the index's own point, and load those of its first stage."""
        first, *_ = self._codecs.of(self.manifest.point, self._snapshot)
        for part in self._snapshot.parts:
            part.scan(first)
        make_codes(self._codecs, self._snapshot, self.manifest.point)
