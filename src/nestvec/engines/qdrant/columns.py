"""The named vectors of a shard: ``full`` has the stored vectors, ``p64_float16`` their prefixes.

Qdrant searches only vectors that it stores, so each representation of a point's stages is a named
vector of its own. The file ``columns.json`` lists those of prefixes; it is written before Edge
creates one. After a crash, the next ``prepare`` completes what is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import prefix
from nestvec.engines.manifest import Stored
from nestvec.engines.qdrant.requests import Body, Step, exhaustive
from nestvec.engines.qdrant.shards import OpenShard
from nestvec.errors import DataError
from nestvec.files.atomic import replace_file
from nestvec.types import CodeKey, Embeddings, OperatingPoint

FULL = "full"
COLUMNS = "columns.json"
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

    def config(
        self,
        columns: Mapping[str, CodeKey],
        indexed: Mapping[str, Body],
        optimizers: Body,
    ) -> Body:
        """Return the configuration of a shard.

        Args:
            columns: The named vectors of prefixes.
            indexed: By name, further parameters of the vectors that have a graph.
            optimizers: The parameters of the optimizer.
        """
        keys = {FULL: (self.full_dim, self.stored), **columns}
        vectors = {
            name: {
                "size": dim,
                "datatype": precision,
                "memory": "cold" if name == FULL else "cached",
                "hnsw_config": NO_GRAPH,
                **indexed.get(name, {}),
            }
            for name, (dim, precision) in keys.items()
        }
        return {"vectors": vectors, "optimizers": optimizers}


NO_GRAPH: Body = {"m": 0, "ef_construct": 4, "full_scan_threshold": 1}


class NamedVectors:
    """The named vectors of prefixes of one shard."""

    def __init__(self, shard: OpenShard, layout: Layout) -> None:
        """Read which named vectors exist."""
        self._shard, self.layout = shard, layout
        self._file = shard.folder / COLUMNS

    def existing(self) -> dict[str, CodeKey]:
        """Return the named vectors that the shard has, also those that are not complete."""
        if self._shard.columns is None:
            listed = self._listed()
            self._shard.columns = {
                name: key for name, key in listed.items() if self._is_in_shard(name, key)
            }
        return self._shard.columns

    def missing(self, point: OperatingPoint) -> list[str]:
        """Return the named vectors that a point searches and that are not complete."""
        needed = self.layout.needed(point)
        return [name for name in needed if name not in self._complete()]

    def prefixes(self, vectors: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
        """Return all named vectors of documents.

        Args:
            vectors: [n, full_dim], as they are stored.

        Returns:
            By name, arrays [n, dim].
        """
        named = {name: self._prefix(vectors, key) for name, key in self.existing().items()}
        return {FULL: vectors, **named}

    def create(self, needed: Mapping[str, CodeKey]) -> None:
        """Create named vectors, and compute those of all documents."""
        with self._shard.changing:
            for name, (dim, precision) in needed.items():
                if name not in self.existing():
                    self._write({**self.existing(), name: (dim, precision)})
                    values = {"name": name, "size": dim, "datatype": precision}
                    self._shard.update({"create_vector": values})
                    self.existing()[name] = dim, precision
                self._fill(name)
            self._shard.complete |= needed.keys()

    def drop_others(self, needed: Iterable[str]) -> None:
        """Delete the named vectors that are not needed."""
        with self._shard.changing:
            for name in self.existing().keys() - set(needed):
                self._shard.update({"delete_vector": name})
                self._shard.complete.discard(name)
                del self.existing()[name]
            self._write(self.existing())

    def _fill(self, name: str) -> None:
        lacking: Body = {"must_not": [{"has_vector": name}]}
        key = self.existing()[name]
        for block in self._shard.scroll([], vectors=[FULL], where=lacking):
            rows = self._prefix(as_arrays(block), key).tolist()
            points = [
                {"id": str(point.id), "vector": {name: row}}
                for point, row in zip(block, rows, strict=True)
            ]
            self._shard.update({"update_vectors": points}, flush=False)
        self._shard.flush()

    def _complete(self) -> set[str]:
        """Return the named vectors that every document has."""
        for name in self.existing().keys() - self._shard.complete:
            if not self._shard.count({"must_not": [{"has_vector": name}]}):
                self._shard.complete.add(name)
        return self._shard.complete

    def _prefix(self, vectors: NDArray[np.floating], key: CodeKey) -> NDArray[np.floating]:
        dim, precision = key
        return prefix(vectors.astype(np.float32, copy=False), dim).astype(precision)

    def _is_in_shard(self, name: str, key: CodeKey) -> bool:
        step = Step(np.zeros(key[0], np.float32), name, 1)
        try:
            self._shard.query([exhaustive(step, None, None)])
        except DataError as error:
            if "Not existing vector name" in str(error):
                return False
            raise
        return True

    def _listed(self) -> dict[str, CodeKey]:
        try:
            names = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DataError(self._file, f"cannot be read ({error}). Rebuild the index.") from error
        matches = {name: _NAME.fullmatch(name) for name in names}
        return {name: (int(m["dim"]), m["precision"]) for name, m in matches.items() if m}  # type: ignore[misc]

    def _write(self, columns: Mapping[str, CodeKey]) -> None:
        with replace_file(self._file) as file:
            file.write_text(json.dumps(sorted(columns)), encoding="utf-8")


def as_arrays(points: Iterable[Any]) -> Embeddings:
    """Return the stored vectors of points, float32 [n, full_dim]."""
    return np.array([point.vector[FULL] for point in points], dtype=np.float32)
