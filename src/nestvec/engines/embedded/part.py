"""A part of an index: a span of rows in descending order of id, with their codes.

Stages search positions in a part, not rows: so ties, which come in ascending order of position,
come in descending order of id. Everything here can be made again from the vectors and SQLite; what
can be, lies in files, and what must be made anew is said.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.engines.embedded.checksums import digest, read_cache, write_cache
from nestvec.engines.embedded.folder import codes_name
from nestvec.engines.embedded.stacked import Stacked
from nestvec.engines.embedded.state import Span
from nestvec.engines.flat.scan import Scan
from nestvec.errors import DamagedFile, DataError
from nestvec.types import Codes, Rows

Key = TypeVar("Key", bound=Hashable)
Thing = TypeVar("Thing")
_BLOCK = 16_384  # vectors coded at a time
_Key = tuple[str, bytes]
_logger = logging.getLogger(__name__)


class Once(Generic[Key, Thing]):
    """Things by key, each made by the thread that asks for it first; may be used by many."""

    def __init__(self, known: Mapping[Key, Thing]) -> None:
        """Take those that are made already."""
        self._lock = threading.Lock()
        self._things: dict[Key, Future[Thing]] = {}
        for key, thing in known.items():
            self._things[key] = Future()
            self._things[key].set_result(thing)

    @property
    def made(self) -> Mapping[Key, Thing]:
        """All that are made by now."""
        with self._lock:
            things = dict(self._things)
        return {key: future.result() for key, future in things.items() if future.done()}

    def get(self, key: Key, make: Callable[[], Thing]) -> Thing:
        """Return the thing of a key, made now if it is not yet, or waited for if it is being made.

        What ``make`` raises is raised to all who wait; the next one tries again.
        """
        with self._lock:
            future = self._things.get(key)
            if mine := future is None:
                future = self._things[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    del self._things[key]
                future.set_exception(error)
                raise
        return future.result()


class Part:
    """The rows of a span that were there when it was coded, searchable in any representation."""

    def __init__(
        self,
        folder: Path,
        span: Span,
        vectors: Stacked,
        read_ids: Callable[[], Sequence[tuple[int, str]]],
        *,
        expected: frozenset[str] = frozenset(),
    ) -> None:
        """Map what is there, and make what is not.

        Args:
            folder: Where its files lie; they are written where they may be.
            span: Its rows.
            vectors: Of all rows.
            read_ids: Returns rows and ids of the span, in descending order of id.
            expected: Files that were there before: if one is missing, that is said.
        """
        self.folder, self.span = folder, span
        self._expected = expected
        self._vectors = vectors
        self._codes: Once[_Key, Codes] = Once({})
        self._scans: Once[_Key, Scan] = Once({})
        self._load_order(read_ids)
        self._identity = f"{span.token} {digest(self.rows.tobytes()).hex()}"
        empty = self._cached("empty", self._identity, self._find_empty)
        self.empty: Rows = empty.view(np.int64)

    def __len__(self) -> int:
        """Count the positions."""
        return len(self.rows)

    def ids(self, positions: Rows) -> list[str]:
        """Return the ids of positions, in their order."""
        text, offsets = self._texts, self._offsets
        starts, ends = offsets[positions].tolist(), offsets[positions + 1].tolist()
        return [str(text[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]

    def codes(self, codec: Codec) -> Codes:
        """Return the codes of one representation, [n, bytes_per_vector], memory-mapped."""
        return self._codes.get(_key(codec), lambda: self._cached_codes(codec))

    def scan(self, codec: Codec) -> Scan:
        """Return the first stage over one representation, its codes in memory."""
        return self._scans.get(
            _key(codec), lambda: Scan(codec, self.codes(codec), empty=self.empty)
        )

    def _load_order(self, read_ids: Callable[[], Sequence[tuple[int, str]]]) -> None:
        read: list[Sequence[tuple[int, str]]] = []

        def once() -> Sequence[tuple[int, str]]:
            if not read:
                read.append(read_ids())
            return read[0]

        label = f"{self.span.token} order"
        rows = self._cached("rows", label, lambda: _as_bytes([row for row, _ in once()]))
        self.rows: Rows = rows.view(np.int64)
        label = f"{label} {digest(self.rows.tobytes()).hex()}"

        def id_table() -> NDArray[np.uint8]:
            names = dict(once())  # without those that are gone since: nobody asks for their ids
            return _id_table([names.get(row, "") for row in self.rows.tolist()])

        table = self._cached("ids", label, id_table)
        n = 8 * (len(self.rows) + 1)
        self._offsets: Rows = table[:n].view(np.int64)
        self._texts = table[n:].data

    def _find_empty(self) -> NDArray[np.uint8]:
        found = [
            positions[~self._vectors.take(self.rows[positions]).any(axis=1)]
            for positions in self._in_order_of_rows()
        ]
        return np.sort(np.concatenate([np.empty(0, np.int64), *found])).view(np.uint8)

    def _cached_codes(self, codec: Codec) -> Codes:
        name = codes_name(codec.dim, codec.precision)
        label = f"{self._identity} {name} {digest(codec.calibration.tobytes()).hex()}"
        flat = self._cached(name, label, lambda: self._encode(codec))
        return flat.reshape(len(self), codec.bytes_per_vector)

    def _encode(self, codec: Codec) -> NDArray[np.uint8]:
        codes = np.empty((len(self), codec.bytes_per_vector), dtype=np.uint8)
        for positions in self._in_order_of_rows():
            vectors = self._vectors.take(self.rows[positions], codec.dim)
            codes[positions] = codec.encode_stored(vectors)
        return codes.reshape(-1)

    def _in_order_of_rows(self) -> list[Rows]:
        """Return all positions in blocks whose vectors stand together on disk."""
        positions = np.argsort(self.rows, kind="stable")
        return [positions[start : start + _BLOCK] for start in range(0, len(self), _BLOCK)]

    def _cached(
        self, name: str, label: str, make: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Return the content of a file, made again if it is not there."""
        path = self.folder / name
        try:
            return read_cache(path, label)
        except DamagedFile as error:
            if name in self._expected:
                _logger.warning("%s: made again from the vectors", error)
        made = make()
        try:
            write_cache(path, label, len(made), lambda content: np.copyto(content, made))
            return read_cache(path, label)
        except DataError:  # nothing may be written here: it is as good in memory
            return made


def _key(codec: Codec) -> _Key:
    return codes_name(codec.dim, codec.precision), codec.calibration.tobytes()


def _as_bytes(rows: Sequence[int]) -> NDArray[np.uint8]:
    return np.array(rows, dtype=np.int64).view(np.uint8)


def _id_table(ids: Sequence[str]) -> NDArray[np.uint8]:
    """Return where each id begins and ends, int64 [n + 1], and then their texts."""
    texts = [id_.encode() for id_ in ids]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.concatenate((ends.view(np.uint8), np.frombuffer(b"".join(texts), np.uint8)))
