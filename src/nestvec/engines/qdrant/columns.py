"""The named vectors of an index: ``full`` has the stored vectors, ``p64_float16`` their prefixes.

Qdrant searches only vectors that it stores, so each representation of a point's stages is a named
vector of its own. After a crash, the next ``prepare`` completes what is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.engines.manifest import Stored
from nestvec.engines.qdrant.points import Points
from nestvec.engines.qdrant.requests import Body
from nestvec.types import CodeKey, Embeddings, OperatingPoint, Precision

FULL = "full"
_FILLS = 3  # more than one only if other processes change documents meanwhile
_NAME = re.compile(r"p(?P<dim>[0-9]+)_(?P<precision>float32|float16)")


class Layout(NamedTuple):
    """The width and the precision of the stored vectors."""

    full_dim: int
    stored: Stored

    def name(self, key: CodeKey) -> str:
        """Return the name of the vector that has a representation."""
        return FULL if key == (self.full_dim, self.stored) else f"p{key[0]}_{key[1]}"

    def needed(self, point: OperatingPoint) -> dict[str, CodeKey]:
        """Return the named vectors of prefixes that a point searches."""
        keys = {self.name(stage.representation): stage.representation for stage in point.stages}
        keys.pop(FULL, None)
        return keys

    def config(self, columns: Mapping[str, CodeKey], indexed: Mapping[str, Body]) -> Body:
        """Return the parameters of all named vectors, by name.

        Args:
            columns: The named vectors of prefixes.
            indexed: By name, further parameters of the vectors that have a graph.
        """
        keys = {FULL: (self.full_dim, self.stored), **columns}
        return {
            name: {
                "size": dim,
                "distance": "Dot",
                "datatype": precision,
                "memory": "cold" if name == FULL else "cached",
                "hnsw_config": NO_GRAPH,
                **indexed.get(name, {}),
            }
            for name, (dim, precision) in keys.items()
        }


NO_GRAPH: Body = {"m": 0, "ef_construct": 4, "full_scan_threshold": 10}


def prefix_names(names: Iterable[str]) -> dict[str, CodeKey]:
    """Return the names of prefixes among the names of vectors, with their representations."""
    matches = {name: _NAME.fullmatch(name) for name in names}
    return {
        name: (int(match["dim"]), cast(Precision, match["precision"]))
        for name, match in matches.items()
        if match
    }


class NamedVectors:
    """The named vectors of prefixes of one index."""

    def __init__(self, points: Points, layout: Layout) -> None:
        """Use the points of an index."""
        self._points, self.layout = points, layout

    def missing(self, point: OperatingPoint) -> list[str]:
        """Return the named vectors that a point searches and that are not complete."""
        known = self._points.complete
        names = [name for name in self.layout.needed(point) if name not in known]
        existing = self._points.named_vectors() if names else {}
        return [name for name in names if name not in existing or not self._is_complete(name)]

    def prefixes(self, vectors: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
        """Return all named vectors of documents.

        Args:
            vectors: [n, full_dim], as they are stored.

        Returns:
            By name, arrays [n, dim].
        """
        named = {
            name: self._prefix(vectors, key) for name, key in self._points.named_vectors().items()
        }
        return {FULL: vectors, **named}

    def create(self, needed: Mapping[str, CodeKey]) -> None:
        """Create named vectors, and compute those of all documents."""
        with self._points.changing:
            existing = self._points.named_vectors()
            for name, key in needed.items():
                if name not in existing:
                    self._points.create_vector(name, key)
                for _ in range(_FILLS):
                    self._fill(name, key)
                    if self._is_complete(name):
                        break

    def drop_others(self, needed: Iterable[str]) -> None:
        """Delete the named vectors that are not needed."""
        with self._points.changing:
            for name in self._points.named_vectors().keys() - set(needed):
                self._points.complete.discard(name)
                self._points.delete_vector(name)

    def _fill(self, name: str, key: CodeKey) -> None:
        """Compute a named vector of the points that lack it.

        A point that another process has replaced meanwhile has the vector already. The filter of
        the change prevents that an outdated vector replaces it.
        """
        lacking: Body = {"must_not": [{"has_vector": name}]}
        for block in self._points.scroll([], vectors=[FULL], where=lacking):
            rows = self._prefix(as_arrays(block), key).tolist()
            points = [
                {"id": str(point.id), "vector": {name: row}}
                for point, row in zip(block, rows, strict=True)
            ]
            change = {"points": points, "update_filter": lacking}
            self._points.update({"update_vectors": change}, flush=False)
        self._points.flush()

    def _is_complete(self, name: str) -> bool:
        """Return whether every document has a named vector."""
        if self._points.has_any({"must_not": [{"has_vector": name}]}):
            return False
        self._points.complete.add(name)
        return True

    def _prefix(self, vectors: NDArray[np.floating], key: CodeKey) -> NDArray[np.floating]:
        dim, precision = key
        return prefix(vectors.astype(np.float32, copy=False), dim).astype(precision)


def as_arrays(points: Iterable[Any]) -> Embeddings:
    """Return the stored vectors of points, float32 [n, full_dim]."""
    return np.array([point.vector[FULL] for point in points], dtype=np.float32)
