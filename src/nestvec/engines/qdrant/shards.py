"""Open shards of Qdrant Edge: one per folder and process, shared by all engine objects.

Edge lets one process open a folder, once. ``WriterLock`` reports which process that is. The calls
of a shard are serialized: Edge holds the interpreter's lock during a call, so that more threads
would not be faster.

Edge writes each change to its log before the call returns. After a kill, the next process that
opens the folder repeats the changes of the log. ``update`` also flushes them to disk, so that they
survive a power failure.

The file ``columns.json`` lists the named vectors of prefixes, because Edge does not. It is written
before Edge creates one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nestvec.engines.embedded.folder import WriterLock
from nestvec.engines.qdrant import objects
from nestvec.engines.qdrant.columns import prefix_names
from nestvec.engines.qdrant.points import BLOCK, Build, Points
from nestvec.engines.qdrant.requests import PAYLOAD_INDEXES, Body, Step, exhaustive
from nestvec.engines.tables import TableSizes
from nestvec.errors import DataError, IndexLocked, NestvecError, first_line
from nestvec.files.atomic import replace_file
from nestvec.types import CodeKey

Result = TypeVar("Result")
SHARD, COLUMNS = "shard", "columns.json"
"""The subfolder of Edge's files, and the file of the names of prefixes."""
_OPTIMIZERS: Body = {
    "default_segment_number": 1,
    "deleted_threshold": 0.01,  # by default, Edge keeps up to 20 % of deleted points
    "vacuum_min_vector_number": 1,
}
_NO_INDEXING: Body = {**_OPTIMIZERS, "indexing_threshold": 1_000_000_000}
_INDEXING: Body = {**_OPTIMIZERS, "indexing_threshold": 1}  # kB
_BLOCK_BYTES = 512  # the unit of st_blocks
_open: dict[Path, OpenShard] = {}
_registry = threading.RLock()


def create_shard(folder: Path, vectors: Body) -> None:
    """Create the shard of a new index, and the indexes of its payload.

    Args:
        folder: The folder of the index.
        vectors: The parameters of its named vectors, by name.

    Raises:
        DataError: If it cannot be created.
    """
    try:
        path = folder / SHARD
        path.mkdir(parents=True)
        shard = objects.library().EdgeShard.create(str(path), objects.config(vectors, _NO_INDEXING))
        for operation in PAYLOAD_INDEXES:
            shard.update(objects.update(operation))
        shard.close()
    except NestvecError:
        raise
    except Exception as error:  # Edge raises no narrower type
        raise DataError(folder, f"cannot be created ({first_line(error)}).") from None


class OpenShard(Points):
    """An open shard.

    Attributes:
        folder: The folder of the index.
    """

    def __init__(self, folder: Path) -> None:
        """Open the shard of a folder; use ``open_shard``.

        Raises:
            IndexLocked: If another process has opened it.
            DataError: If it cannot be opened.
        """
        super().__init__()
        self.folder = folder
        self._columns: dict[str, CodeKey] | None = None  # read when they are needed
        self._calls, self._users = threading.Lock(), 0
        self._lock: WriterLock | None = _locked(folder)
        self._shard: Any = None
        try:
            self._load(None)
        except BaseException:
            self._unlock()
            raise

    def query(self, bodies: Sequence[Body]) -> list[list[tuple[str, float]]]:
        """Return the ids and the scores of the points that each query finds, best first."""
        request = objects.library().QueryBatchRequest([objects.query(body) for body in bodies])
        found = self._call(lambda shard: shard.query_batch(request)) if bodies else []
        return [[(str(point.id), point.score) for point in points] for points in found]

    def retrieve(self, points: Sequence[str], keys: list[str], vectors: list[str]) -> list[Any]:
        """Return points with some keys of their payload and some vectors, in any order."""
        return list(
            self._call(lambda shard: shard.retrieve(list(points), keys or False, vectors or False))
        )

    def scroll(
        self, keys: list[str], *, vectors: list[str] | None = None, where: Body | None = None
    ) -> Iterator[list[Any]]:
        """Yield blocks of all points that match a filter, in ascending order of point id."""
        offset = None
        while True:
            request = objects.library().ScrollRequest(
                offset=offset,
                limit=BLOCK,
                filter=objects.filter_of(where),
                with_payload=keys or False,
                with_vector=vectors or False,
            )
            block, offset = self._call(partial(_scroll, request=request))
            if block:
                yield block
            if offset is None:
                return

    def count(self, where: Body | None = None) -> int:
        """Return the exact number of points that match a filter."""
        request = objects.library().CountRequest(exact=True, filter=objects.filter_of(where))
        return int(self._call(lambda shard: shard.count(request)))

    def has_any(self, where: Body) -> bool:
        """Return whether a point matches a filter."""
        request = objects.library().ScrollRequest(
            limit=1, filter=objects.filter_of(where), with_payload=False, with_vector=False
        )
        return bool(self._call(partial(_scroll, request=request))[0])

    def facet(self, key: str, limit: int) -> list[str]:
        """Return the different texts of a key of the payload."""
        request = objects.library().FacetRequest(key, limit=limit, exact=True)
        return [hit.value for hit in self._call(lambda shard: shard.facet(request)).hits]

    def indexed_keys(self) -> set[str]:
        """Return the keys of the payload that have an index."""
        return set(self._call(lambda shard: shard.info()).payload_schema)

    def update(self, operation: Body, *, flush: bool = True) -> None:
        """Apply one change, and flush it to disk."""
        converted = objects.update(operation)
        self._call(lambda shard: shard.update(converted))
        if flush:
            self.flush()

    def flush(self) -> None:
        """Write all changes to disk, so that they survive a power failure."""
        self._call(lambda shard: shard.flush())

    def named_vectors(self) -> dict[str, CodeKey]:
        """Return the named vectors of prefixes, also those that are not complete."""
        if self._columns is None:
            listed = prefix_names(self._listed())
            self._columns = {
                name: key for name, key in listed.items() if self._is_in_shard(name, key)
            }
        return dict(self._columns)

    def create_vector(self, name: str, key: CodeKey) -> None:
        """Create a named vector, which no point has yet."""
        columns = {**self.named_vectors(), name: key}
        self._write_names(columns)
        self.update({"create_vector": {"name": name, "size": key[0], "datatype": key[1]}})
        self._columns = columns

    def delete_vector(self, name: str) -> None:
        """Delete a named vector of all points."""
        self.update({"delete_vector": name})
        columns = self.named_vectors()
        del columns[name]
        self._columns = columns
        self._write_names(columns)

    def build(self, build: Build) -> None:
        """Open the shard again with other parameters, and build the search structures.

        Searches wait. Edge holds the interpreter's lock meanwhile: no other thread of the process
        runs.
        """
        with self._calls:
            if self._shard is not None:
                self._shard.close()
                self._load(objects.config(build.vectors, _INDEXING))
        self._call(lambda shard: shard.optimize())

    def compact(self) -> None:
        """Remove deleted points, and add new points to the search structures."""
        self._call(lambda shard: shard.optimize())
        self.flush()

    def sizes(self, first: str) -> TableSizes:
        """Return the bytes of the files of the shard, as they occupy the disk."""
        totals = {"all": 0, "texts": 0, "resident": 0}
        searched = (f"vector_storage-{first}", f"vector_index-{first}")
        for file in (self.folder / SHARD).rglob("*"):
            size = _disk_bytes(file)
            totals["all"] += size
            totals["texts"] += size * any(part.startswith("payload_") for part in file.parts)
            totals["resident"] += size * any(part in searched for part in file.parts)
        return TableSizes(totals["all"] - totals["texts"], totals["texts"], totals["resident"])

    def use(self) -> OpenShard:
        """Count one more user."""
        self._users += 1
        return self

    def release(self) -> None:
        """Close the shard if no user is left."""
        with _registry:
            self._users -= 1
            if self._users <= 0:
                self.close()

    def close(self) -> None:
        """Close the shard for all users."""
        with _registry, self._calls:
            if _open.get(self.folder) is self:
                del _open[self.folder]
            shard, self._shard = self._shard, None
            if shard is not None:
                with suppress(Exception):
                    shard.close()
            self._unlock()

    def _call(self, work: Callable[[Any], Result]) -> Result:
        with self._calls:
            if self._shard is None:
                raise DataError(self.folder, "the index is closed. Open it again.")
            try:
                return work(self._shard)
            except Exception as error:  # Edge raises no narrower type
                raise DataError(self.folder, f"Qdrant Edge: {first_line(error)}") from None

    def _listed(self) -> list[str]:
        file = self.folder / COLUMNS
        try:
            return [str(name) for name in json.loads(file.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise DataError(file, f"cannot be read ({error}). Rebuild the index.") from error

    def _write_names(self, columns: Mapping[str, CodeKey]) -> None:
        with replace_file(self.folder / COLUMNS) as file:
            file.write_text(json.dumps(sorted(columns)), encoding="utf-8")

    def _is_in_shard(self, name: str, key: CodeKey) -> bool:
        step = Step(np.zeros(key[0], np.float32), name, 1)
        try:
            self.query([exhaustive(step, None, None)])
        except DataError as error:
            if "Not existing vector name" in str(error):
                return False
            raise
        return True

    def _load(self, config: Any) -> None:
        path, library = self.folder / SHARD, objects.library()
        self._shard = None
        try:
            self._shard = library.EdgeShard.load(str(path), config)
        except Exception as error:  # Edge raises no narrower type
            text = first_line(error)
            if "WouldBlock" in text:
                problem = "is open in another process. Close the index there, or wait."
                raise IndexLocked(self.folder, problem) from None
            raise DataError(self.folder, f"cannot be opened ({text}).") from None

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _locked(folder: Path) -> WriterLock:
    """Acquire the lock of a folder, or report the process that has opened the index."""
    try:
        return WriterLock(folder)
    except IndexLocked as error:
        holder = str(error).partition("is being changed by ")[2]
        problem = f"is open in {holder} Only one process can open an index of Qdrant Edge."
        raise IndexLocked(folder, problem) from None


def _disk_bytes(file: Path) -> int:
    """Return the bytes that a file occupies; Edge reserves more for some files than it wrote."""
    try:
        status = file.stat()
    except FileNotFoundError:  # Edge has just deleted it
        return 0
    if not file.is_file():
        return 0
    blocks = getattr(status, "st_blocks", None)  # Windows has none
    return status.st_size if blocks is None else min(status.st_size, blocks * _BLOCK_BYTES)


def _scroll(shard: Any, request: Any) -> Any:
    return shard.scroll(request)


def open_shard(folder: Path) -> OpenShard:
    """Return the shard of a folder; each caller must release it.

    Raises:
        IndexLocked: If another process has opened it.
        DataError: If it cannot be opened.
    """
    folder = folder.resolve()
    with _registry:
        if folder not in _open:
            _open[folder] = OpenShard(folder)
        return _open[folder].use()


def check_unlocked(folder: Path) -> None:
    """Check that no other process has opened the shard of a folder.

    Raises:
        IndexLocked: If another process has opened it.
    """
    with _registry:
        if folder.exists() and folder.resolve() not in _open:
            _locked(folder).release()


@contextmanager
def closed_shard(folder: Path) -> Iterator[None]:
    """Close the shard of a folder in this process, so that the folder can be moved or deleted.

    Raises:
        IndexLocked: If another process has opened it.
    """
    folder = folder.resolve()
    with _registry:
        if folder in _open:
            _open[folder].close()
        lock = _locked(folder)
        try:
            yield
        finally:
            lock.release()
