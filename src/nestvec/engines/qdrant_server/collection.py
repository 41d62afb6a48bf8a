"""The points of one index in a collection of a server.

Every body is converted to the classes of qdrant-client, which refuse unknown keys and wrong types.
A change is repeated until the server has applied it. The server builds its search structures in the
background.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from nestvec.engines.qdrant.columns import FULL, prefix_names
from nestvec.engines.qdrant.indexing import M
from nestvec.engines.qdrant.points import BLOCK, Build, Points
from nestvec.engines.qdrant.requests import Body, as_filter
from nestvec.engines.qdrant_server.batches import batches, json_bytes
from nestvec.engines.qdrant_server.connection import CHANGE_S, QdrantConnection
from nestvec.engines.tables import TableSizes
from nestvec.errors import DataError
from nestvec.sources.qdrant_failures import RefusedKey, UnknownCollection
from nestvec.types import CodeKey

NO_INDEXING: Body = {"indexing_threshold": 1_000_000_000}  # kB
_VACUUM: Body = {"deleted_threshold": 0.01, "vacuum_min_vector_number": 100}
_NO_VACUUM: Body = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1_000}
"""The defaults of the server."""
_SEGMENTS = 50
"""A segment gets a graph if it has at least one of so many parts of all vectors."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_logger = logging.getLogger(__name__)
_SAMPLED = 1_000  # points whose payloads are measured


class ServerCollection(Points):
    """The points of one index in a server.

    Attributes:
        name: The name of the collection.
    """

    def __init__(self, connection: QdrantConnection, name: str) -> None:
        """Use a collection."""
        super().__init__()
        self.name = name
        self._connection, self._models = connection, connection.models

    def query(self, bodies: Sequence[Body]) -> list[list[tuple[str, float]]]:
        """Return the ids and the scores of the points that each query finds, best first."""
        found: list[list[tuple[str, float]]] = []
        for batch in batches(map(_query, bodies)):
            requests = [self._models.QueryRequest.model_validate(body) for body in batch]
            for answer in self._run("query_batch_points", requests):
                found.append([(str(point.id), point.score) for point in answer.points])
        return found

    def retrieve(self, points: Sequence[str], keys: list[str], vectors: list[str]) -> list[Any]:
        """Return points with some keys of their payload and some vectors, in any order."""
        wanted, found = iter(points), list[Any]()
        while block := list(islice(wanted, BLOCK)):
            found += self._run("retrieve", block, keys or False, vectors or False)
        return found

    def scroll(
        self, keys: list[str], *, vectors: list[str] | None = None, where: Body | None = None
    ) -> Iterator[list[Any]]:
        """Yield blocks of all points that match a filter, in ascending order of point id."""
        offset, filtered = None, self._filter(where)
        while True:
            block, offset = self._run(
                "scroll",
                scroll_filter=filtered,
                limit=BLOCK,
                offset=offset,
                with_payload=keys or False,
                with_vectors=vectors or False,
            )
            if block:
                yield block
            if offset is None:
                return

    def count(self, where: Body | None = None) -> int:
        """Return the exact number of points that match a filter."""
        return int(self._run("count", self._filter(where), exact=True).count)

    def has_any(self, where: Body) -> bool:
        """Return whether a point matches a filter."""
        block, _ = self._run(
            "scroll", scroll_filter=self._filter(where), limit=1, with_payload=False
        )
        return bool(block)

    def facet(self, key: str, limit: int) -> list[str]:
        """Return the different texts of a key of the payload."""
        return [hit.value for hit in self._run("facet", key, limit=limit, exact=True).hits]

    def indexed_keys(self) -> set[str]:
        """Return the keys of the payload that have an index."""
        return set(self._info().payload_schema)

    def named_vectors(self) -> dict[str, CodeKey]:
        """Return the named vectors of prefixes, also those that are not complete."""
        return prefix_names(self._info().config.params.vectors)

    def create_vector(self, name: str, key: CodeKey) -> None:
        """Create a named vector, which no point has yet."""
        dense = {"size": key[0], "distance": "Dot", "datatype": key[1]}
        config = self._models.DenseVectorNameConfig.model_validate({"dense": dense})
        self._change("create_vector_name", name, config, timeout=CHANGE_S)

    def delete_vector(self, name: str) -> None:
        """Delete a named vector of all points."""
        self._change("delete_vector_name", name, timeout=CHANGE_S)

    def update(self, operation: Body, *, flush: bool = True) -> None:
        """Apply one change: its kind is the only key of the body.

        A change that is larger than ``REQUEST_BYTES`` is sent in several requests.
        """
        models, ((kind, values),) = self._models, operation.items()
        match kind:
            case "upsert":
                self._upsert(values)
            case "delete":
                for ids in batches(values):
                    self._change("delete", models.PointIdsList(points=ids))
            case "update_vectors":
                self._update_vectors(values["points"], values["update_filter"])
            case "create_index":
                self._create_index(values["field_name"], values["field_schema"])
            case _:
                raise TypeError(f"{kind} is not a known change")

    def flush(self) -> None:
        """Do nothing: the server has logged every change that it has confirmed."""

    def build(self, build: Build) -> None:
        """Let the server build the search structures, while searches continue."""
        vectors = {name: self._diff(parameters) for name, parameters in build.vectors.items()}
        threshold = max(1, build.first_stage_bytes // (1_024 * _SEGMENTS))
        optimizers = self._models.OptimizersConfigDiff(indexing_threshold=threshold)
        self._connection.configure(self.name, vectors_config=vectors, optimizers_config=optimizers)
        self._wait()

    def compact(self) -> None:
        """Let the server remove deleted points, and wait until its search structures are built."""
        diff = self._models.OptimizersConfigDiff
        try:
            self._connection.configure(self.name, optimizers_config=diff(**_VACUUM))
            self._wait()
        finally:
            self._connection.configure(self.name, optimizers_config=diff(**_NO_VACUUM))

    def sizes(self, first: str) -> TableSizes:
        """Return the bytes of the points, computed from their number.

        Payloads are measured on a sample. Files can be larger: a server keeps reserves and logs.
        """
        n, found = self.count(), self._info().config.params.vectors
        full = getattr(found[FULL].datatype, "value", "float32")
        keys = {FULL: (found[FULL].size, full), **prefix_names(found)}
        sizes = {name: dim * np.dtype(kind).itemsize for name, (dim, kind) in keys.items()}
        has_graph = getattr(found[first].hnsw_config, "m", 0) if first in found else 0
        links = 8 * M if has_graph else 0
        sample, _ = self._run("scroll", limit=_SAMPLED, with_payload=True)
        lengths = [json_bytes(point.payload) for point in sample]
        texts = round(float(np.mean(lengths)) * n) if lengths else 0
        return TableSizes(
            n * (sum(sizes.values()) + links), texts, n * (sizes.get(first, 0) + links)
        )

    def _upsert(self, bodies: Sequence[Body]) -> None:
        stored = 0
        for batch in batches(bodies):
            points = [self._models.PointStruct.model_validate(body) for body in batch]
            try:
                self._change("upsert", points)
            except DataError as error:
                if stored:
                    problem = f"{stored} of {len(bodies)} documents of the batch are stored."
                    error.args = (f"{error} {problem} Add the batch again with upsert.",)
                raise
            stored += len(batch)

    def _update_vectors(self, bodies: Sequence[Body], update_filter: Body) -> None:
        condition = self._filter(update_filter)
        for batch in batches(bodies):
            points = [self._models.PointVectors.model_validate(body) for body in batch]
            try:
                self._change("update_vectors", points, update_filter=condition)
            except DataError as error:
                if "No point with id" not in str(error):  # deleted meanwhile; others are changed
                    raise

    def _create_index(self, key: str, schema: str) -> None:
        kind = self._models.PayloadSchemaType(schema)
        try:
            self._change("create_payload_index", key, kind, timeout=CHANGE_S)
        except RefusedKey as error:  # a filter also works without an index, but more slowly
            _logger.info("%s The payload key %s has no index.", error, key)

    def _diff(self, parameters: Body) -> Any:
        kept = {name: parameters[name] for name in ("hnsw_config", "memory")}
        quantization = parameters.get("quantization_config", "Disabled")
        return self._models.VectorParamsDiff.model_validate(
            {**kept, "quantization_config": quantization}
        )

    def _wait(self) -> None:
        """Return when the server has no optimization to do, twice in a row.

        Raises:
            DataError: If an optimization failed.
        """
        status, pause, done = self._models.CollectionStatus, _FIRST_WAIT_S, 0
        while done < 2:
            info = self._info()
            problem = getattr(info.optimizer_status, "error", None)
            if problem or info.status == status.RED:
                text = " ".join(str(problem or "its status is red").split())
                raise DataError(self._connection.shown, f"an optimization failed: {text[:300]}.")
            if info.status == status.GREY:  # after a restart, optimizations wait for a change
                nothing = self._models.OptimizersConfigDiff()
                self._connection.configure(self.name, optimizers_config=nothing)
            done = done + 1 if info.status == status.GREEN else 0
            time.sleep(pause)
            pause = min(_LONGEST_WAIT_S, pause * 1.5)

    def _filter(self, body: Body | None) -> Any:
        return None if body is None else self._models.Filter.model_validate(as_filter(body))

    def _info(self) -> Any:
        info = self._connection.info(self.name)
        if info is None:
            problem = f"the collection {self.name} does not exist any more. Open the index again."
            raise UnknownCollection(self._connection.shown, problem)
        return info

    def _run(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._connection.call(method, self.name, *arguments, **options)

    def _change(self, method: str, *arguments: Any, **options: Any) -> None:
        self._connection.change(method, self.name, *arguments, **options)


def _query(body: Body) -> Body:
    """Return the body of a query, whose filters are not a condition alone."""
    nested = {"prefetch": _query(body["prefetch"])} if "prefetch" in body else {}
    filtered = {"filter": as_filter(body["filter"])} if "filter" in body else {}
    return {**body, **nested, **filtered}
