"""Files of the embedding cache: vectors with keys of 32 bytes, and small numbers.

Vectors are stored in shard files. Each shard is written once, so a killed process loses only
vectors that it has not yet passed to ``add``, and several processes can write at once. A shard of n
vectors contains a sha256 of the rest, n keys, and n vectors of little-endian float32. The length
of the file determines n. Each process verifies the sha256 when it first reads a shard. Damaged
shards are deleted.

Whole numbers that are slow to compute are stored in JSON files. An invalid file is treated as
missing. ``cache`` defines the keys and numbers.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from nestvec.errors import DataError
from nestvec.files.atomic import replace_file
from nestvec.types import Embeddings

Numbers = dict[str, int | None]
KEY_BYTES = 32
_SUFFIX = ".shard"
_SUM_BYTES = 32
_PARTS = 16  # small shards before they are replaced by one
_FLOAT = np.dtype("<f4")
_logger = logging.getLogger(__name__)


@contextmanager
def replace_cache_file(file: Path) -> Iterator[Path]:
    """Replace a file as ``atomic.replace_file`` does.

    Raises:
        DataError: If the file cannot be written; the message names the alternatives.
    """
    try:
        with replace_file(file) as temporary:
            yield temporary
    except DataError as error:
        advice = "Set NESTVEC_CACHE to a writable folder, or disable the cache."
        problem = f"the embedding cache cannot be written ({error.__cause__}). {advice}"
        raise DataError(file.parent, problem) from error


def read_numbers(file: Path, names: Sequence[str]) -> Numbers | None:
    """Return the numbers of a file, or None if it does not contain exactly these names."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict) or set(values) != set(names):
        return None
    return values if all(type(each) in (int, type(None)) for each in values.values()) else None


def write_numbers(file: Path, numbers: Mapping[str, int | None]) -> None:
    """Write numbers to a file.

    Raises:
        DataError: If the file cannot be written.
    """
    with replace_cache_file(file) as temporary:
        temporary.write_text(json.dumps(dict(numbers)) + "\n", encoding="utf-8")


class VectorStore:
    """The shards of one folder."""

    def __init__(self, folder: Path, dim: int) -> None:
        """Use a folder, which need not exist; shards are listed on first use."""
        self._folder = folder
        self._dim = dim
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._seen: set[Path] = set()
        self._parts: dict[Path, tuple[Sequence[bytes], Embeddings]] = {}
        self._checked: dict[Path, Embeddings] = {}  # mapped vectors of verified shards

    def fill(self, keys: Sequence[bytes], out: Embeddings) -> list[int]:
        """Copy the vectors of known keys into an array.

        Args:
            keys: [n].
            out: [n, dim]; rows of unknown keys are not changed.

        Returns:
            The rows of unknown keys, ascending.
        """
        if any(key not in self._places for key in keys):
            self._scan()
        wanted: dict[Path, list[int]] = defaultdict(list)
        missing = []
        for row, key in enumerate(keys):
            if key in self._places:
                wanted[self._places[key][0]].append(row)
            else:
                missing.append(row)
        for file, rows in wanted.items():
            vectors = self._read(file)
            if vectors is None:
                missing += rows
            else:
                out[rows] = vectors[[self._places[keys[row]][1] for row in rows]]
        return sorted(missing)

    def unknown(self, keys: Sequence[bytes]) -> list[int]:
        """Return the rows of unknown keys, ascending; no vector is read."""
        self._scan()
        return [row for row, key in enumerate(keys) if key not in self._places]

    def add(self, keys: Sequence[bytes], vectors: Embeddings) -> Path:
        """Write a shard.

        Args:
            keys: [n], 32 bytes each.
            vectors: float32 [n, dim].

        Returns:
            The file of the shard.

        Raises:
            DataError: If the file cannot be written.
        """
        content = b"".join(keys) + np.ascontiguousarray(vectors, dtype=_FLOAT).tobytes()
        file = self._folder / f"{uuid.uuid4().hex}{_SUFFIX}"
        with replace_cache_file(file) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
        self._register(file, keys)
        return file

    def add_part(self, keys: Sequence[bytes], vectors: Embeddings) -> None:
        """Write a small shard. Several of them are later replaced by one shard.

        A store maps each shard to memory, so thousands of small shards would exceed the limit of
        open files.

        Args:
            keys: [n], 32 bytes each.
            vectors: float32 [n, dim].

        Raises:
            DataError: If the file cannot be written.
        """
        self._parts[self.add(keys, vectors)] = keys, vectors
        if len(self._parts) >= _PARTS:
            self.join_parts()

    def join_parts(self) -> None:
        """Replace the small shards that this store has written by one shard.

        Raises:
            DataError: If the file cannot be written.
        """
        parts, self._parts = self._parts, {}
        if len(parts) < 2:
            return
        keys = [key for keys, _ in parts.values() for key in keys]
        self.add(keys, np.concatenate([vectors for _, vectors in parts.values()]))
        for file in parts:
            self._checked.pop(file, None)
            with suppress(OSError):  # the keys now refer to the new shard
                file.unlink()

    def _scan(self) -> None:
        for file in self._folder.glob(f"*{_SUFFIX}"):
            if file in self._seen:
                continue
            try:
                n = self._count(file.stat().st_size)
                with file.open("rb") as stream:
                    content = stream.read(_SUM_BYTES + n * KEY_BYTES)[_SUM_BYTES:]
            except (OSError, ValueError) as error:
                self._drop(file, error)
            else:
                self._register(file, _split(content, n))

    def _register(self, file: Path, keys: Sequence[bytes]) -> None:
        self._seen.add(file)
        for row, key in enumerate(keys):
            self._places[key] = file, row

    def _read(self, file: Path) -> Embeddings | None:
        """Return the vectors of a shard; verify its checksum on the first read."""
        if file not in self._checked:
            try:
                content = file.read_bytes()
                n = self._count(len(content))
                if hashlib.sha256(content[_SUM_BYTES:]).digest() != content[:_SUM_BYTES]:
                    raise ValueError("its checksum is wrong")
                start, shape = _SUM_BYTES + n * KEY_BYTES, (n, self._dim)
                mapped = np.memmap(file, dtype=_FLOAT, mode="r", offset=start, shape=shape)
            except (OSError, ValueError) as error:
                self._drop(file, error)
                return None
            self._checked[file] = mapped
        return self._checked[file]

    def _count(self, n_bytes: int) -> int:
        n, rest = divmod(n_bytes - _SUM_BYTES, KEY_BYTES + self._dim * _FLOAT.itemsize)
        if n < 1 or rest:
            raise ValueError("its length is wrong")
        return n

    def _drop(self, file: Path, error: OSError | ValueError) -> None:
        self._seen.add(file)
        self._places = {key: place for key, place in self._places.items() if place[0] != file}
        if isinstance(error, FileNotFoundError):  # deleting shards is always safe
            return
        _logger.warning("%s: cannot be used (%s); its texts are encoded again", file, error)
        if isinstance(error, ValueError):  # damaged; unreadable files of other users stay
            with suppress(OSError):
                file.unlink()


def _split(keys: bytes, n: int) -> list[bytes]:
    return [keys[i * KEY_BYTES : (i + 1) * KEY_BYTES] for i in range(n)]
