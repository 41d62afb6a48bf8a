"""Encode a corpus at each dim and precision when the codes are first used.

The corpus may be memory-mapped: it is read and encoded in blocks, never as a whole. Codes are
stored in memory up to a limit, then in temporary files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec, sample_rows
from nestvec.codec.prefix import as_stored
from nestvec.engines.flat.scoring import ZeroPrefixes
from nestvec.types import CodeKey, Codes, Embeddings, Rows

MEMORY_BYTES = 2**30  # for all codes of a corpus in memory; further codes are stored in files
BLOCK_BYTES = 64 * 2**20  # of float32 embeddings encoded at a time
_PAIRS = 16_384  # pairs of documents compared at a time


@dataclass(frozen=True)
class Representation:
    """The codes of a corpus with their codec.

    Attributes:
        codec: The codec, fitted on the whole corpus.
        codes: [n, bytes_per_vector]; may be memory-mapped.
        build_s: Seconds to fit the codec and to encode the whole corpus.
    """

    codec: Codec
    codes: Codes
    build_s: float


class Representations:
    """All representations of one corpus; each is computed once, when it is first used.

    As a context manager, it deletes the temporary files on exit. The codes cannot be read after
    that.
    """

    def __init__(self, corpus: Embeddings, *, layer_norm: bool) -> None:
        """Store a reference to the embeddings; nothing is encoded yet.

        Args:
            corpus: [n, full_dim], as the model returns them; may be memory-mapped.
            layer_norm: Whether the model requires layer normalization before truncation.
        """
        self.layer_norm = layer_norm
        self.zeros = _find_zeros(corpus, layer_norm=layer_norm)
        self._corpus = corpus
        self._rows: Rows | None = None  # None: all rows
        self._codes = _CodeStore()
        self._cached: dict[CodeKey, Representation] = {}

    def __enter__(self) -> Representations:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete the temporary files."""
        self.close()

    def close(self) -> None:
        """Delete the temporary files, which are shared with all subsets (``part``)."""
        self._cached.clear()
        self._codes.close()

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self._corpus) if self._rows is None else len(self._rows)

    @property
    def full_dim(self) -> int:
        """Width of the embeddings."""
        width: int = self._corpus.shape[1]
        return width

    def part(self, rows: Rows) -> Representations:
        """Return a subset of the documents, with codecs fitted on the whole corpus.

        Args:
            rows: The rows of the subset, ascending.
        """
        part = copy(self)  # shares the cached representations
        part._rows = rows if self._rows is None else self._rows[rows]
        _, found, own = np.intersect1d(self.zeros.rows, rows, return_indices=True)
        part.zeros = ZeroPrefixes(own.astype(np.int64), self.zeros.lengths[found])
        return part

    @property
    def empty(self) -> Rows:
        """The rows of zero vectors, ascending."""
        return self.zeros.within(self.full_dim)

    def __getitem__(self, key: CodeKey) -> Representation:
        """Return the representation of (dim, precision)."""
        whole = self._whole(key)
        if self._rows is None:
            return whole
        return Representation(whole.codec, whole.codes[self._rows], whole.build_s)

    def embeddings(self, block: slice) -> Embeddings:
        """Return the embeddings of a block of documents, [n, full_dim]."""
        return self._corpus[self._selected(block)]

    def decoded(self, key: CodeKey, block: slice = slice(None)) -> Embeddings:
        """Return the decoded codes of a block of documents, [n, dim].

        A prefix of zeros is decoded as zeros. Its code is ignored.
        """
        whole = self._whole(key)
        vectors = whole.codec.decode(whole.codes[self._selected(block)])
        start, stop, _ = block.indices(len(self))
        empty = self.zeros.within(key[0])
        first, last = np.searchsorted(empty, (start, stop))
        vectors[empty[first:last] - start] = 0
        return vectors

    def equal_codes(self, key: CodeKey, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """Return whether pairs of documents have equal codes, [n].

        For float32, their embeddings are compared.

        Args:
            key: (dim, precision).
            rows: The first document of each pair, [n].
            others: The second document of each pair, [n].
        """
        values = self._corpus if key[1] == "float32" else self._whole(key).codes
        if self._rows is not None:
            rows, others = self._rows[rows], self._rows[others]
        equal = np.empty(len(rows), dtype=bool)
        for start in range(0, len(rows), _PAIRS):
            pairs = slice(start, start + _PAIRS)
            equal[pairs] = (values[rows[pairs]] == values[others[pairs]]).all(axis=1)
        return equal

    def _selected(self, block: slice) -> slice | Rows:
        return block if self._rows is None else self._rows[block]

    def _whole(self, key: CodeKey) -> Representation:
        """Return the representation of the whole corpus, not only of the subset."""
        if key not in self._cached:
            start = time.perf_counter()
            codec = self._fit(key)
            blocks = (
                codec.encode_stored(self._stored(block, key)) for block in _blocks(self._corpus)
            )
            codes = self._codes.store(blocks, (len(self._corpus), codec.bytes_per_vector))
            self._cached[key] = Representation(codec, codes, time.perf_counter() - start)
        return self._cached[key]

    def _fit(self, key: CodeKey) -> Codec:
        rows = sample_rows(len(self._corpus), key[1])
        sample = self._stored(self._corpus[rows], key).astype(np.float32)
        return Codec.fit_stored(sample, *key, layer_norm=self.layer_norm)

    def _stored(self, embeddings: Embeddings, key: CodeKey) -> NDArray[np.floating]:
        """Return vectors as an index stores them, so that their codes equal those of an index.

        An index stores float32 vectors only if a stage uses float32. All other codes are computed
        from vectors rounded to float16.
        """
        unit = as_stored(embeddings, layer_norm=self.layer_norm)
        return unit if key[1] == "float32" else unit.astype(np.float16)


class _CodeStore:
    """Stores arrays of codes in memory up to ``MEMORY_BYTES``, and further arrays in files."""

    def __init__(self) -> None:
        self._in_memory = 0
        self._folder: TemporaryDirectory[str] | None = None
        self._files = 0

    def store(self, blocks: Iterator[Codes], shape: tuple[int, int]) -> Codes:
        """Store blocks, and return them as one array of a shape."""
        size = shape[0] * shape[1]
        if self._in_memory + size > MEMORY_BYTES:
            return self._store_in_file(blocks, shape)
        self._in_memory += size
        codes = np.empty(shape, dtype=np.uint8)
        start = 0
        for block in blocks:
            codes[start : start + len(block)] = block
            start += len(block)
        return codes

    def _store_in_file(self, blocks: Iterator[Codes], shape: tuple[int, int]) -> Codes:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="nestvec-codes-")
        path = Path(self._folder.name) / str(self._files)
        self._files += 1
        with path.open("wb") as file:
            for block in blocks:
                file.write(block.data)
        return np.memmap(path, dtype=np.uint8, mode="r", shape=shape)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._in_memory = 0


def _find_zeros(corpus: Embeddings, *, layer_norm: bool) -> ZeroPrefixes:
    starts = np.cumsum([0, *(len(block) for block in _blocks(corpus))]).tolist()
    found = (ZeroPrefixes.find(as_stored(each, layer_norm=layer_norm)) for each in _blocks(corpus))
    return ZeroPrefixes.concatenated(zip(starts, found, strict=False))


def _blocks(corpus: Embeddings) -> Iterator[Embeddings]:
    size = max(1, BLOCK_BYTES // (4 * corpus.shape[1]))
    for start in range(0, len(corpus), size):
        yield corpus[start : start + size]
