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
        span: Span,
        rows: Rows,
        id_table: NDArray[np.uint8],
        empty: Rows,
        make_codes: Callable[[Codec], Codes],
    ) -> None:
        """Take what is searched.

        Args:
            span: Its rows and those that are gone.
            rows: Of the documents that are there, in descending order of id, [n].
            id_table: Their ids, as ``id_table`` packs them.
            empty: Positions of zero vectors, ascending.
            make_codes: Returns the codes of a representation, [n, bytes_per_vector].
        """
        self.span, self.rows, self.empty = span, rows, empty
        n = 8 * (len(rows) + 1)
        self._id_table = id_table
        self._offsets: Rows = id_table[:n].view(np.int64)
        self._texts = id_table[n:].data
        self._make_codes = make_codes
        self._codes: Once[_Key, Codes] = Once({})
        self._scans: Once[_Key, Scan] = Once({})

    def __len__(self) -> int:
        """Count the positions."""
        return len(self.rows)

    def ids(self, positions: Rows) -> list[str]:
        """Return the ids of positions, in their order."""
        text, offsets = self._texts, self._offsets
        starts, ends = offsets[positions].tolist(), offsets[positions + 1].tolist()
        return [str(text[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]

    def codes(self, codec: Codec) -> Codes:
        """Return the codes of one representation, [n, bytes_per_vector]."""
        return self._codes.get(_key(codec), lambda: self._make_codes(codec))

    def scan(self, codec: Codec) -> Scan:
        """Return the first stage over one representation, its codes in memory."""
        return self._scans.get(
            _key(codec), lambda: Scan(codec, self.codes(codec), empty=self.empty)
        )

    def mapped_anew(self) -> Part:
        """Return the same part with its scans, whose other codes are made or mapped again."""
        part = Part(self.span, self.rows, self._id_table, self.empty, self._make_codes)
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
    """Map the files of a part, and make those that are missing.

    Args:
        folder: Where its files are; they are written if the folder can be written.
        span: Its rows.
        vectors: Of all rows.
        read_ids: Returns rows and ids of the span, in descending order of id.
        expected: Files that were there before: a warning names one that is missing.
    """
    files = _PartFiles(folder, expected)
    label = f"{span.token} order"
    read = cache(read_ids)
    packed = files.get("rows", label, lambda: _as_bytes([row for row, _ in read()]))
    rows: Rows = packed.view(np.int64)
    rows_digest = digest(rows.tobytes()).hex()

    def make_table() -> NDArray[np.uint8]:
        names = dict(read())  # without those that are gone since: nobody asks for their ids
        return id_table([names.get(row, "") for row in rows.tolist()])

    table = files.get("ids", f"{label} {rows_digest}", make_table)
    identity = f"{span.token} {rows_digest}"
    empty = files.get("empty", identity, lambda: _find_empty(rows, vectors))

    def make_codes(codec: Codec) -> Codes:
        name = codes_name(codec.dim, codec.precision)
        made_of = f"{identity} {name} {digest(codec.calibration.tobytes()).hex()}"
        flat = files.get(name, made_of, lambda: _encode(rows, vectors, codec))
        return flat.reshape(len(rows), codec.bytes_per_vector)

    return Part(span, rows, table, empty.view(np.int64), make_codes)


class _PartFiles:
    """The files of one part, each with a checksum, made again where they are missing."""

    def __init__(self, folder: Path, expected: frozenset[str]) -> None:
        self._folder, self._expected = folder, expected

    def get(
        self, name: str, label: str, make: Callable[[], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        """Return the content of a file, rebuilt if it is not there."""
        path = self._folder / name
        try:
            return read_cache(path, label)
        except DamagedFile as error:
            if name in self._expected:
                _logger.warning("%s: made again from the vectors", error)
        made = make()
        try:
            write_cache(path, label, len(made), lambda content: np.copyto(content, made))
            return read_cache(path, label)
        except DataError as error:  # the array in memory is as good, until the index is closed
            _logger.warning("%s: used from memory, and rebuilt at the next opening", error)
            return made


def id_table(ids: Sequence[str]) -> NDArray[np.uint8]:
    """Return where each id begins and ends, int64 [n + 1], and then their texts."""
    texts = [id_.encode() for id_ in ids]
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return np.concatenate((ends.view(np.uint8), np.frombuffer(b"".join(texts), np.uint8)))


def _find_empty(rows: Rows, vectors: Stacked) -> NDArray[np.uint8]:
    found = [positions[~vectors.take(rows[positions]).any(axis=1)] for positions in _in_order(rows)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *found])).view(np.uint8)


def _encode(rows: Rows, vectors: Stacked, codec: Codec) -> NDArray[np.uint8]:
    codes = np.empty((len(rows), codec.bytes_per_vector), dtype=np.uint8)
    for positions in _in_order(rows):
        codes[positions] = codec.encode_stored(vectors.take(rows[positions], codec.dim))
    return codes.reshape(-1)


def _in_order(rows: Rows) -> list[Rows]:
    """Return all positions in blocks whose vectors are together on disk."""
    positions = np.argsort(rows, kind="stable")
    return [positions[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _key(codec: Codec) -> _Key:
    return codes_name(codec.dim, codec.precision), codec.calibration.tobytes()


def _as_bytes(rows: Sequence[int]) -> NDArray[np.uint8]:
    return np.array(rows, dtype=np.int64).view(np.uint8)
