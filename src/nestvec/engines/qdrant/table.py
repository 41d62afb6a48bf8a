"""The documents of one index as points of Qdrant: changes, searches and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.checks import existing_id
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.fields import FieldKinds
from nestvec.engines.filters.qdrant import FIELDS, compile_condition, has_field, ordered_keys
from nestvec.engines.filters.tokens import field_of, kinds_of
from nestvec.engines.manifest import Manifest, Settings
from nestvec.engines.qdrant.columns import FULL, Layout, NamedVectors
from nestvec.engines.qdrant.indexing import NO_QUANTIZATION, Graph
from nestvec.engines.qdrant.payloads import DOCUMENT, ID, payload, point_id, read_document
from nestvec.engines.qdrant.points import Points, UnpreparedPoint
from nestvec.engines.qdrant.requests import Body
from nestvec.engines.qdrant.searching import Searcher
from nestvec.engines.tables import DocumentTable, TableSizes
from nestvec.errors import DataError
from nestvec.types import Document, Embeddings, Hits, OperatingPoint, Stage

FILTERED_EXHAUSTIVE = 20_000
"""Up to this number of documents that match a filter, a search scores all of them."""
_QUERIES = 256  # of one call, whose results are in memory together
_MOST_FIELDS = 1_000_000


class PointTable(DocumentTable):
    """The documents of one index."""

    def __init__(self, points: Points, manifest: Manifest, shown: str, quantization: str) -> None:
        """Use the points of an index.

        Args:
            points: The points.
            manifest: The manifest of the index.
            shown: The URL of the index, for error messages.
            quantization: The quantization that the URL requests; empty to leave it as it is.
        """
        self.manifest = manifest
        self._points, self._shown, self._quantization = points, shown, quantization
        layout = Layout(manifest.model.full_dim, manifest.stored)
        self._columns, self._searcher = NamedVectors(points, layout), Searcher(points, layout)
        self._graph = Graph(points, self._columns, self._searcher)
        self._exact = (Stage(layout.full_dim, layout.stored),)

    def add(
        self, added: Mapping[str, Document], vectors: NDArray[np.floating], *, replace: bool
    ) -> None:
        """Add all documents in one change, as ``DocumentTable.add`` does.

        Edge writes the change to its log in one step, and so does each shard of a server. A process
        that is killed before leaves no document of the batch, and one that is killed later leaves
        all. If two processes add the same id to a server at the same time, one replaces the other.
        """
        payloads = {point_id(id_): payload(id_, document) for id_, document in added.items()}
        if len(payloads) < len(added):
            raise DataError(self._shown, "two ids of the batch have one UUID. Rename one of them.")
        with self._points.changing:
            existing = self.existing(list(added))
            if existing and not replace:
                raise existing_id([id_ for id_ in added if id_ in existing])
            self.upsert(payloads, vectors)

    def upsert(self, payloads: Mapping[str, Body], vectors: NDArray[np.floating]) -> set[str]:
        """Write points with all named vectors, and return the names of these vectors.

        Args:
            payloads: The payloads by point id.
            vectors: As in ``add``.
        """
        columns = self._columns.prefixes(vectors)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        points = [
            {"id": point, "vector": dict(zip(columns, row, strict=True)), "payload": values}
            for (point, values), row in zip(payloads.items(), rows, strict=True)
        ]
        self._points.update({"upsert": points})
        return set(columns)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one change, and return the number of deleted documents."""
        with self._points.changing:
            existing = self.existing(ids)
            if existing:
                self._points.update({"delete": [point_id(id_) for id_ in existing]})
            return len(existing)

    def count(self, where: Condition | None = None) -> int:
        """Return the exact number of documents that match a condition."""
        return self._points.count(self._filter(where))

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents, in the order of their UUIDs, in blocks."""
        for block in self._points.scroll([ID]):
            yield from (point.payload[ID] for point in block)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the table contains.

        Raises:
            DataError: If another id has the UUID of one of them.
        """
        return set(self._read(ids, [ID], []))

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id; unknown ids are left out."""
        read = self._read(ids, [ID, DOCUMENT], [])
        return {id_: read_document(values) for id_, (values, _) in read.items()}

    def vectors(self, ids: Sequence[str]) -> dict[str, Embeddings]:
        """Return stored vectors, float32 [full_dim], by id; unknown ids are left out."""
        read = self._read(ids, [ID], [FULL])
        return {id_: np.array(vector[FULL], np.float32) for id_, (_, vector) in read.items()}

    def search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Condition | None
    ) -> Hits:
        """Return the best ``k`` documents of each query, as ``DocumentTable.search`` does."""
        if point is not None and self._columns.missing(point):
            problem = f"{point}: the index has no vectors of this point."
            remedy = f"Run nestvec index use {self._shown} '{point}'"
            raise UnpreparedPoint(f"{problem} {remedy}, or search without a point.")
        compiled = self._filter(where)
        hits = Hits([], [])
        for start in range(0, len(queries), _QUERIES):
            found = self._search(queries[start : start + _QUERIES], k, point, compiled)
            hits.ids.extend(found.ids)
            hits.scores.extend(found.scores)
        return hits

    def field_kinds(self, fields: Iterable[str], limit: int | None) -> dict[str, FieldKinds]:
        """Return the kinds of values of fields; an index of the payload has those of all."""
        return {
            name: kinds_of(name, lambda token: self._points.has_any(has_field(token)))
            for name in fields
        }

    def field_names(self) -> Iterable[str]:
        """Return the fields of all documents."""
        names = map(field_of, self._points.facet(FIELDS, _MOST_FIELDS))
        return [name for name in names if name is not None]

    def prepare(self, point: OperatingPoint) -> Settings:
        """Compute the vectors that a point searches, and build the graph of its first stage.

        Searches continue to use the former point while vectors are computed. They wait while Edge
        builds the graph, but not while a server builds it.
        """
        with self._points.changing:
            self._columns.create(self._columns.layout.needed(point))
            recorded = str(self.manifest.settings.get("quantization", NO_QUANTIZATION))
            return self._graph.prepare(point, self._quantization or recorded)

    def remove_unused(self, point: OperatingPoint) -> None:
        """Delete the vectors that a point does not search."""
        self._columns.drop_others(self._columns.layout.needed(point))

    def compact(self) -> None:
        """Free the space of deleted documents, and add new documents to the graph."""
        with self._points.changing:
            self._points.compact()

    def sizes(self) -> TableSizes:
        """Return the bytes of the points."""
        first = self.manifest.point.stages[0].representation
        return self._points.sizes(self._columns.layout.name(first))

    def _search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Body | None
    ) -> Hits:
        stages = self._exact if point is None else point.stages
        params = None if point is None else self._graph.params(point, self.manifest.settings, k)
        matching = None if where is None or params is None else self._points.count(where)
        if params is None or (matching is not None and matching <= FILTERED_EXHAUSTIVE):
            return self._searcher.exhaustive(queries, stages, k, where)
        hits = self._searcher.approximate(queries, stages, k, where, params)
        wanted = min([k, *(stage.keep for stage in stages if stage.keep is not None)])
        if any(len(ids) < wanted for ids in hits.ids):
            return self._searcher.exhaustive(queries, stages, k, where)
        return hits

    def _filter(self, where: Condition | None) -> Body | None:
        """Compile a filter, and index the floats that it compares."""
        if where is None:
            return None
        compiled = compile_condition(where)
        keys = set(ordered_keys(compiled))
        for key in sorted(keys - self._points.indexed_keys() if keys else keys):
            values = {"field_name": key, "field_schema": "float"}
            self._points.update({"create_index": values})
        return compiled

    def _read(
        self, ids: Sequence[str], keys: list[str], vectors: list[str]
    ) -> dict[str, tuple[Body, Body]]:
        """Return the payload and the vectors of documents by id."""
        points = {point_id(id_): id_ for id_ in ids}
        read = {}
        for point in self._points.retrieve(list(points), keys, vectors) if points else ():
            id_, stored = points[str(point.id)], point.payload[ID]
            if stored != id_:
                problem = f"ids {id_!r:.60} and {stored!r:.60} have one UUID."
                raise DataError(self._shown, f"{problem} Rename one of them.")
            read[id_] = point.payload, point.vector
        return read
