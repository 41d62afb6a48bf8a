"""A part of an index: a range of rows in descending order of id, with their codes.

Stages search positions in a part, not rows. Equal scores are in ascending order of position, which
is descending order of id. All files of a part are caches, which can be rebuilt from the vectors and
SQLite; a warning is logged if a file is rebuilt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
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
from nestvec.engines.flat.scoring import ZeroPrefixes
from nestvec.engines.flat.sign_scan import SignScan
from nestvec.errors import DamagedFile, DataError
from nestvec.types import Codes, Rows

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
_BLOCK = 16_384  # vectors encoded at a time
_Key = tuple[str, bytes]
_logger = logging.getLogger(__name__)


class OnceMap(Generic[Key, Result]):
    """Results by key, each computed once, by the first thread that needs it. Thread-safe."""

    def __init__(self, known: Mapping[Key, Result]) -> None:
        """Start with known results."""
        self._lock = threading.Lock()
        self._futures: dict[Key, Future[Result]] = {}
        for key, result in known.items():
            self._futures[key] = Future()
            self._futures[key].set_result(result)

    @property
    def computed(self) -> Mapping[Key, Result]:
        """The results computed so far."""
        with self._lock:
            futures = dict(self._futures)
        return {key: future.result() for key, future in futures.items() if future.done()}

    def get(self, key: Key, compute: Callable[[], Result]) -> Result:
        """Return the result of a key. Compute it, or wait for the thread that computes it.

        An exception of ``compute`` is raised in all waiting threads. The next call computes again.
        """
        with self._lock:
            future = self._futures.get(key)
            if is_first := future is None:
                future = self._futures[key] = Future()
        if is_first:
            try:
                future.set_result(compute())
            except BaseException as error:
                with self._lock:
                    del self._futures[key]
                future.set_exception(error)
                raise
        return future.result()


class Part:
    """The rows of a span that had a document when it was encoded, with codes of any codec."""

    def __init__(
        self,
        span: Span,
        rows: Rows,
        id_table: NDArray[np.uint8],
        zeros: ZeroPrefixes,
        make_codes: Callable[[Codec], Codes],
    ) -> None:
        """Create a part.

        Args:
            span: The range of rows, including rows that were deleted before encoding.
            rows: The rows of the documents, in descending order of id, [n].
            id_table: The ids of the documents, as ``id_table`` packs them.
            zeros: Positions of vectors that begin with zeros.
            make_codes: A function that returns the codes of a codec, [n, bytes_per_vector].
        """
        self.span, self.rows, self.zeros = span, rows, zeros
        n = 8 * (len(rows) + 1)
        self._id_table = id_table
        self._offsets: Rows = id_table[:n].view(np.int64)
        self._texts = id_table[n:].data
        self._make_codes = make_codes
        self._codes: OnceMap[_Key, Codes] = OnceMap({})
        self._scans: OnceMap[_Key, Scan | SignScan] = OnceMap({})

    def __len__(self) -> int:
        """Return the number of positions."""
        return len(self.rows)

    def ids(self, positions: Rows) -> list[str]:
        """Return the ids at positions, in the same order."""
        text, offsets = self._texts, self._offsets
        starts, ends = offsets[positions].tolist(), offsets[positions + 1].tolist()
        return [str(text[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]

    def codes(self, codec: Codec) -> Codes:
        """Return the codes of a codec, [n, bytes_per_vector]."""
        return self._codes.get(_key(codec), lambda: self._make_codes(codec))

    def scan(self, codec: Codec) -> Scan | SignScan:
        """Return the scan of a codec's codes, which are in memory."""
        empty, kind = self.zeros.within(codec.dim), SignScan if codec.precision == "sign" else Scan
        return self._scans.get(_key(codec), lambda: kind(codec, self.codes(codec), empty=empty))

    def remapped(self) -> Part:
        """Return a copy with the same scans, whose other codes are mapped again."""
        part = Part(self.span, self.rows, self._id_table, self.zeros, self._make_codes)
        part._scans = self._scans
        return part


def open_part(
    folder: Path,
    span: Span,
    vectors: Stacked,
    read_ids: Callable[[], Sequence[tuple[int, str]]],
    *,
    expected: frozenset[str] = frozenset(),
) -> Part:
    """Map the files of a part, and rebuild missing files.

    Args:
        folder: The folder of the part. Files are written if the folder can be written.
        span: The rows of the part.
        vectors: The vectors of all rows of the index.
        read_ids: A function that returns the rows and ids of the span, in descending order of id.
        expected: The names of files that should exist; a warning is logged if one is missing.
    """
    files = _PartFiles(folder, expected)
    label = f"{span.token} order"
    read = cache(read_ids)
    packed = files.get("rows", label, lambda: _as_bytes([row for row, _ in read()]))
    rows: Rows = packed.view(np.int64)
    rows_digest = digest(rows.tobytes()).hex()

    def make_table() -> NDArray[np.uint8]:
        names = dict(read())  # without deleted documents, whose ids are not needed
        return id_table([names.get(row, "") for row in rows.tolist()])

    table = files.get("ids", f"{label} {rows_digest}", make_table)
    identity = f"{span.token} {rows_digest}"
    packed_zeros = files.get("zeros", identity, lambda: _find_zeros(rows, vectors))
    zeros = ZeroPrefixes(*packed_zeros.view(np.int64).reshape(2, -1))

    def make_codes(codec: Codec) -> Codes:
        name = codes_name(codec.dim, codec.precision)
        label = f"{identity} {name} {digest(codec.calibration.tobytes()).hex()}"
        flat = files.get(name, label, lambda: _encode(rows, vectors, codec))
        return flat.reshape(len(rows), codec.bytes_per_vector)

    return Part(span, rows, table, zeros, make_codes)


class _PartFiles:
    """The files of a part, each with a checksum. Missing and damaged files are rebuilt."""

    def __init__(self, folder: Path, expected: frozenset[str]) -> None:
        self._folder, self._expected = folder, expected

    def get(
        self, name: str, label: str, compute: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Return the content of a file; compute and write it if the file is missing or damaged."""
        path = self._folder / name
        try:
            return read_cache(path, label)
        except DamagedFile as error:
            if name in self._expected:
                _logger.warning("%s. It is rebuilt from the vectors.", error)
        values = compute()
        try:
            write_cache(path, label, len(values), lambda content: np.copyto(content, values))
            return read_cache(path, label)
        except DataError as error:  # the array in memory can be used until the index is closed
            _logger.warning("%s. It is used from memory, and rebuilt at the next opening.", error)
            return values


def id_table(ids: Sequence[str]) -> NDArray[np.uint8]:
    """Pack ids: the offsets of their texts, int64 [n + 1], followed by the texts in UTF-8."""
    texts = [id_.encode() for id_ in ids]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.concatenate((ends.view(np.uint8), np.frombuffer(b"".join(texts), np.uint8)))


def _find_zeros(rows: Rows, vectors: Stacked) -> NDArray[np.uint8]:
    lengths = np.zeros(len(rows), dtype=np.int64)
    for positions in _in_order(rows):
        found = ZeroPrefixes.find(vectors.take(rows[positions]))
        lengths[positions[found.rows]] = found.lengths
    positions = np.flatnonzero(lengths)
    return np.concatenate((positions, lengths[positions])).view(np.uint8)


def _encode(rows: Rows, vectors: Stacked, codec: Codec) -> NDArray[np.uint8]:
    codes = np.empty((len(rows), codec.bytes_per_vector), dtype=np.uint8)
    for positions in _in_order(rows):
        codes[positions] = codec.encode_stored(vectors.take(rows[positions], codec.dim))
    return codes.reshape(-1)


def _in_order(rows: Rows) -> list[Rows]:
    """Return all positions in ascending order of row, in blocks."""
    positions = np.argsort(rows, kind="stable")
    return [positions[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _key(codec: Codec) -> _Key:
    return codes_name(codec.dim, codec.precision), codec.calibration.tobytes()


def _as_bytes(rows: Sequence[int]) -> NDArray[np.uint8]:
    return np.array(rows, dtype=np.int64).view(np.uint8)
