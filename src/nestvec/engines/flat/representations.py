"""Encode a corpus at each dim and precision when the codes are first used.

The corpus may be memory-mapped: it is read and encoded in blocks, never as a whole. Codes that are
requested together are encoded in one pass. Codes are stored in memory up to a limit, then in
temporary files.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec, sample_rows
from nestvec.codec.prefix import as_stored, prefix
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.codec.rows import EmbeddingRows
from nestvec.engines.flat.code_store import CodeStore, StoredCodes, StoredFile
from nestvec.engines.flat.scoring import ZeroPrefixes, is_in
from nestvec.types import CodeKey, Codes, Embeddings, Precision, Rows

BLOCK_BYTES = 8 * 2**20  # of float32 embeddings encoded at a time: blocks fit the caches
FROM_EMBEDDINGS = ("float32", "float16")
"""Precisions in which single documents are decoded without codes of the whole corpus."""
FLOAT_CODES_BYTES = 2**29  # maximum size of stored float32 codes
_PAIRS = 4_096  # pairs of documents compared at a time


@dataclass(frozen=True)
class Representation:
    """The codes of a corpus with their codec.

    Attributes:
        codec: The codec, fitted on the whole corpus.
        codes: [n, bytes_per_vector]; may be memory-mapped. Codes of float32 are searched but not
            used for ranking. Only the first ``FLOAT_CODES_BYTES`` are stored.
        build_s: Seconds to fit the codec and to encode the whole corpus.
    """

    codec: Codec
    codes: Codes
    build_s: float


@dataclass
class _Encoded:
    """The stored codes of a corpus, the seconds that they cost so far, and their number."""

    codes: StoredCodes
    build_s: float
    n_rows: int


class Representations:
    """All representations of one corpus; each is computed once, when it is first used.

    As a context manager, it deletes the temporary files on exit. The codes cannot be read after
    that.
    """

    def __init__(self, corpus: Embeddings | EmbeddingRows, *, layer_norm: bool) -> None:
        """Store a reference to the embeddings; nothing is encoded yet.

        Args:
            corpus: [n, full_dim], as the model returns them; may be memory-mapped.
            layer_norm: Whether the model requires layer normalization before truncation.
        """
        self.layer_norm = layer_norm
        self._corpus = corpus
        self._rows: Rows | None = None  # None: all rows
        self._store = CodeStore()
        self._codecs: dict[CodeKey, tuple[Codec, float]] = {}
        self._encoded: dict[CodeKey, _Encoded] = {}
        self._vectors: StoredFile | None = None  # at float16, as an index stores them

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
        self._encoded.clear()
        self._vectors = None
        self._store.close()

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
        part = copy(self)  # shares the codecs and the codes
        part._rows = rows if self._rows is None else self._rows[rows]
        _, found, own = np.intersect1d(self.zeros.rows, rows, return_indices=True)
        part.zeros = ZeroPrefixes(own.astype(np.int64), self.zeros.lengths[found])
        return part

    @cached_property
    def zeros(self) -> ZeroPrefixes:
        """The rows that begin with zeros."""
        return ZeroPrefixes.concatenated(
            (start, ZeroPrefixes.find(as_stored(block, layer_norm=self.layer_norm)))
            for start, block in self._blocks()
        )

    @property
    def empty(self) -> Rows:
        """The rows of zero vectors, ascending."""
        return self.zeros.within(self.full_dim)

    def codec(self, key: CodeKey) -> Codec:
        """Return the codec of (dim, precision), fitted on the whole corpus."""
        self._fit([key])
        return self._codecs[key][0]

    @property
    def vectors_file(self) -> Path | None:
        """A file of the vectors as an index stores them, float16 [n, full_dim].

        None if ``encode`` has not stored them, and for a subset.
        """
        return None if self._vectors is None or self._rows is not None else self._vectors.path

    def encode(self, keys: Iterable[CodeKey], *, with_vectors: bool = False) -> None:
        """Encode the whole corpus at each (dim, precision), in one pass over the embeddings.

        Args:
            keys: Each (dim, precision).
            with_vectors: Whether to store the vectors of an index at float16, in a temporary file.
                They are then not computed again for later stages.
        """
        missing = [key for key in dict.fromkeys(keys) if key not in self._encoded]
        vectors = None
        if with_vectors and self._vectors is None:
            vectors = self._store.create_file((len(self._corpus), 2 * self.full_dim))
        if not missing and vectors is None:
            return
        encoded, zeros = self._new_codes(missing), []
        for first_row, block in self._blocks():
            start = time.perf_counter()
            halves, unit = _stored(block, layer_norm=self.layer_norm)
            zeros.append((first_row, ZeroPrefixes.find(halves)))
            self._append(encoded, first_row, halves, unit, start=start)
            if vectors is not None:
                vectors.append(halves.view(np.uint8))
        self._encoded |= encoded
        self._vectors = vectors or self._vectors
        if self._rows is None:
            self.zeros = ZeroPrefixes.concatenated(zeros)  # without another pass

    def _new_codes(self, keys: list[CodeKey]) -> dict[CodeKey, _Encoded]:
        """Fit codecs, and return codes without rows."""
        self._fit(keys)
        encoded: dict[CodeKey, _Encoded] = {}
        # The smallest codes are stored first, because the first codes are stored in memory.
        for key in sorted(keys, key=lambda key: self._codecs[key][0].bytes_per_vector):
            codec, fit_s = self._codecs[key]
            shape = self._n_stored(key), codec.bytes_per_vector
            encoded[key] = _Encoded(self._store.create(shape), fit_s, shape[0])
        return encoded

    def _append(
        self,
        encoded: Mapping[CodeKey, _Encoded],
        first_row: int,
        halves: NDArray[np.floating],
        unit: NDArray[np.floating],
        *,
        start: float,
    ) -> None:
        """Encode a block of stored vectors, which was read and normalized since ``start``."""
        rounded = halves.astype(np.float32)
        prefixes: dict[tuple[int, bool], Embeddings] = {}
        shared = time.perf_counter() - start
        for key, each in encoded.items():
            if first_row + len(halves) > each.n_rows:
                continue
            start, name = time.perf_counter(), (key[0], key[1] == "float32")
            if name not in prefixes:
                prefixes[name] = prefix(unit if name[1] else rounded, key[0])
            each.codes.append(self._codecs[key][0].encode_prefixes(prefixes[name]))
            each.build_s += shared + time.perf_counter() - start

    def __getitem__(self, key: CodeKey) -> Representation:
        """Return the representation of (dim, precision)."""
        self.encode([key])
        codes = self._encoded[key].codes.array()
        if self._rows is not None:
            codes = codes[self._rows]
        build_s = self._encoded[key].build_s * len(self._corpus) / max(1, self._encoded[key].n_rows)
        return Representation(self._codecs[key][0], codes, build_s)

    def embeddings(self, rows: slice | Rows) -> Embeddings:
        """Return the embeddings of a block of documents, [n, full_dim]."""
        return self._corpus[self._selected(rows)]

    def quantized(self, key: CodeKey, rows: slice | Rows) -> Embeddings:
        """Return what ``Codec.decode_quantized`` returns for a block of documents, [n, dim].

        Prefixes of zeros are not treated separately.
        """
        self.encode([key])
        codes = self._encoded[key].codes.array()
        return self._codecs[key][0].decode_quantized(codes[self._selected(rows)])

    def decoded(self, key: CodeKey, rows: slice | Rows = slice(None)) -> Embeddings:
        """Return the decoded codes of a block of documents, [n, dim].

        A prefix of zeros is decoded as zeros. Its code is ignored. Floats are converted from the
        embeddings if the corpus has no codes of this key.

        Args:
            key: (dim, precision).
            rows: The documents, as a slice or as row numbers in any order.
        """
        codec = self.codec(key)
        if key[1] == "float32" or (key[1] in FROM_EMBEDDINGS and key not in self._encoded):
            vectors = codec.decode_stored(self._stored_vectors(rows, key[1])[:, : key[0]])
        else:
            self.encode([key])
            vectors = codec.decode(self._encoded[key].codes.array()[self._selected(rows)])
        empty = self.zeros.within(key[0])
        if len(empty):
            numbers = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
            vectors[is_in(empty, numbers)] = 0
        return vectors

    def equal_codes(self, key: CodeKey, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """Return whether pairs of documents have equal codes, [n].

        For float32, their embeddings are compared.

        Args:
            key: (dim, precision).
            rows: The first document of each pair, [n].
            others: The second document of each pair, [n].
        """
        equal = np.empty(len(rows), dtype=bool)
        for start in range(0, len(rows), _PAIRS):
            pairs = slice(start, start + _PAIRS)
            one, two = (self._comparable(key, each[pairs]) for each in (rows, others))
            equal[pairs] = (one == two).all(axis=1)
        return equal

    def _comparable(self, key: CodeKey, rows: Rows) -> NDArray[np.generic]:
        if key[1] == "float32":
            return self.embeddings(rows)
        if key in self._encoded:
            return self._encoded[key].codes.array()[self._selected(rows)]
        return self.decoded(key, rows)

    def _n_stored(self, key: CodeKey) -> int:
        """Return the number of rows whose codes are stored: all, or whole blocks for float32."""
        n, size = len(self._corpus), self._block_rows()
        limit = FLOAT_CODES_BYTES // (4 * key[0])
        return n if key[1] != "float32" or n <= limit else min(n, max(1, limit // size) * size)

    def _stored_vectors(self, rows: slice | Rows, precision: Precision) -> NDArray[np.floating]:
        """Return vectors as an index stores them for a precision, [n, full_dim]."""
        if precision != "float32" and self._vectors is not None:
            return self._vectors.array().view(np.float16)[self._selected(rows)]
        halves, unit = _stored(self.embeddings(rows), layer_norm=self.layer_norm)
        return unit if precision == "float32" else halves

    def _selected(self, rows: slice | Rows) -> slice | Rows:
        return rows if self._rows is None else self._rows[rows]

    def _fit(self, keys: Iterable[CodeKey]) -> None:
        """Fit codecs on one sample of the whole corpus."""
        missing = [key for key in keys if key not in self._codecs]
        fitted = any(QUANTIZERS[precision].fits for _, precision in missing)
        if not missing:
            return
        start = time.perf_counter()
        rows = sample_rows(len(self._corpus), "int8" if fitted else "float32")
        sample = np.empty((len(rows), self.full_dim), dtype=np.float16)
        size = self._block_rows()
        for at in range(0, len(rows), size):
            block = self._corpus[rows[at : at + size]]
            sample[at : at + size] = _stored(block, layer_norm=self.layer_norm)[0]
        shared = time.perf_counter() - start
        for key in missing:
            start = time.perf_counter()
            # Vectors are encoded from float16 at all precisions that are fitted.
            own = sample[:, : key[0]] if QUANTIZERS[key[1]].fits else sample[:1, : key[0]]
            codec = Codec.fit_stored(own, *key, layer_norm=self.layer_norm)
            seconds = time.perf_counter() - start
            self._codecs[key] = codec, seconds + (shared if QUANTIZERS[key[1]].fits else 0.0)

    def _block_rows(self) -> int:
        return max(1, BLOCK_BYTES // (4 * self.full_dim))

    def _blocks(self) -> Iterator[tuple[int, Embeddings]]:
        size = self._block_rows()
        for start in range(0, len(self._corpus), size):
            yield start, self._corpus[start : start + size]


def _stored(
    embeddings: Embeddings, *, layer_norm: bool
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return vectors as an index stores them, as float16 and as float32.

    An index stores float32 vectors only if a stage uses float32. All other codes are computed from
    vectors rounded to float16.
    """
    unit = as_stored(embeddings, layer_norm=layer_norm)
    return unit.astype(np.float16), unit
