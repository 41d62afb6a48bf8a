"""The documents of one index in a server, which several processes may change at the same time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.condition import Condition
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant.points import UnpreparedPoint
from nestvec.engines.qdrant.requests import Body
from nestvec.engines.qdrant.table import PointTable
from nestvec.engines.qdrant_server.collection import ServerCollection
from nestvec.engines.qdrant_server.connection import QdrantConnection
from nestvec.engines.tables import Record
from nestvec.errors import DataError
from nestvec.sources.qdrant_failures import MissingVector, UnknownCollection
from nestvec.types import Embeddings, Hits, OperatingPoint

_ATTEMPTS = 5
"""Number of times that a call is repeated while other processes change the index."""


class ServerTable(PointTable):
    """The documents of one index.

    Attributes:
        reread: Returns the present record of the index; None if it was deleted.
    """

    def __init__(self, connection: QdrantConnection, record: Record) -> None:
        """Use the collection of an index."""
        self._connection = connection
        self._former: set[OperatingPoint] = set()  # of manifests that were replaced
        self.reread: Callable[[], Record | None] = lambda: None
        self._open(record.table, record.manifest)

    def upsert(self, payloads: Mapping[str, Body], vectors: NDArray[np.floating]) -> set[str]:
        """Write points with all named vectors, also those that are created meanwhile."""
        for attempt in range(_ATTEMPTS):
            try:
                written = super().upsert(payloads, vectors)
            except MissingVector:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            if self._points.named_vectors().keys() <= written:
                return written
        problem = (
            "other processes change the vectors of the index. Add the batch again with upsert."
        )
        raise DataError(self._shown, problem)

    def search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Condition | None
    ) -> Hits:
        """Return the best ``k`` documents of each query, as ``DocumentTable.search`` does.

        If another process has replaced the index or its point, the search is repeated.
        """
        used = point
        for _ in range(_ATTEMPTS):
            try:
                return super().search(queries, k, used, where)
            except (MissingVector, UnknownCollection, UnpreparedPoint) as error:
                is_changed = self._follow(error)
                present = self.manifest.point if point in self._former else point
                if not is_changed and present == used:
                    raise
                used = present
        return super().search(queries, k, used, where)

    def _follow(self, error: Exception) -> bool:
        """Open the present collection, and return whether the search can succeed now.

        Raises:
            DataError: If the index was replaced by one of another model.
        """
        record = self.reread()
        if record is None:
            return False
        if record.manifest.model != self.manifest.model:
            problem = "the index was replaced by one of another model. Open it again."
            raise DataError(self._shown, problem) from None
        if (record.table, record.manifest.point) == (self._name, self.manifest.point):
            # Vectors that were known to be complete are gone. The next attempt names the point.
            self._points.complete.clear()
            return isinstance(error, MissingVector)
        self._former |= {self.manifest.point}
        self._open(record.table, record.manifest)
        return True

    def _open(self, name: str, manifest: Manifest) -> None:
        location = self._connection.location
        points, self._name = ServerCollection(self._connection, name), name
        super().__init__(points, manifest, location.shown, location.quantization)
