"""The corpus at each dim and precision, encoded when first asked for, and read by blocks.

Nothing here holds the corpus as floats beyond a block: it may be memory-mapped. Codes lie in
memory as long as they are few, and in a temporary file from there on.
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
from nestvec.engines.flat.scoring import empty_rows
from nestvec.types import CodeKey, Codes, Embeddings, Rows

MEMORY_BYTES = 2**30  # of all codes of a corpus together; the rest lies in a file
BLOCK_BYTES = 64 * 2**20  # of the embeddings that are encoded at a time
_PAIRS = 16_384  # of documents compared at a time


@dataclass(frozen=True)
class Representation:
    """The codes of a corpus and what they were made with.

    Attributes:
        codec: Fitted on the whole corpus.
        codes: [n, bytes_per_vector]; may be memory-mapped.
        build_s: Seconds to fit, and to encode the whole corpus.
    """

    codec: Codec
    codes: Codes
    build_s: float


class Representations:
    """Every representation of one corpus, each made once.

    A context manager: leaving it deletes the temporary file, and codes cannot be read any more.
    """

    def __init__(self, corpus: Embeddings, *, layer_norm: bool) -> None:
        """Take the embeddings, [n, full_dim], as the model gives them; may be memory-mapped."""
        self.layer_norm = layer_norm
        self.empty = empty_rows(corpus)
        self._corpus = corpus
        self._rows: Rows | None = None  # all
        self._codes = _CodeStore()
        self._made: dict[CodeKey, Representation] = {}

    def __enter__(self) -> Representations:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete the temporary file."""
        self.close()

    def close(self) -> None:
        """Delete the temporary file; of a part, too, as they share it."""
        self._made.clear()
        self._codes.close()

    def __len__(self) -> int:
        """Count the documents."""
        return len(self._corpus) if self._rows is None else len(self._rows)

    @property
    def full_dim(self) -> int:
        """Width of the embeddings."""
        width: int = self._corpus.shape[1]
        return width

    def part(self, rows: Rows) -> Representations:
        """Return some documents, with the codecs that were fitted on all of them.

        Args:
            rows: Which of these documents, ascending; theirs is the order in the part.
        """
        part = copy(self)  # shares all that was made, and what will be
        part._rows = rows if self._rows is None else self._rows[rows]
        part.empty = np.flatnonzero(np.isin(rows, self.empty)).astype(np.int64)
        return part

    def __getitem__(self, key: CodeKey) -> Representation:
        """Return the representation of (dim, precision)."""
        made = self._of_all(key)
        if self._rows is None:
            return made
        return Representation(made.codec, made.codes[self._rows], made.build_s)

    def embeddings(self, lines: slice) -> Embeddings:
        """Return the vectors of a block of documents as the model gives them, [n, full_dim]."""
        return self._corpus[self._selected(lines)]

    def decoded(self, key: CodeKey, lines: slice = slice(None)) -> Embeddings:
        """Return what the codes of a block stand for, [n, dim]; zero vectors are zero."""
        made = self._of_all(key)
        vectors = made.codec.decode(made.codes[self._selected(lines)])
        start, stop, _ = lines.indices(len(self))
        first, last = np.searchsorted(self.empty, (start, stop))
        vectors[self.empty[first:last] - start] = 0
        return vectors

    def same(self, key: CodeKey, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """Tell which documents have the codes of others, [n] each; float32 ones: the vectors."""
        held = self._corpus if key[1] == "float32" else self._of_all(key).codes
        if self._rows is not None:
            rows, others = self._rows[rows], self._rows[others]
        equal = np.empty(len(rows), dtype=bool)
        for start in range(0, len(rows), _PAIRS):
            pairs = slice(start, start + _PAIRS)
            equal[pairs] = (held[rows[pairs]] == held[others[pairs]]).all(axis=1)
        return equal

    def _selected(self, lines: slice) -> slice | Rows:
        return lines if self._rows is None else self._rows[lines]

    def _of_all(self, key: CodeKey) -> Representation:
        if key not in self._made:
            start = time.perf_counter()
            codec = self._fit(key)
            blocks = (
                codec.encode_stored(self._stored(block, key)) for block in _blocks(self._corpus)
            )
            codes = self._codes.keep(blocks, (len(self._corpus), codec.bytes_per_vector))
            self._made[key] = Representation(codec, codes, time.perf_counter() - start)
        return self._made[key]

    def _fit(self, key: CodeKey) -> Codec:
        rows = sample_rows(len(self._corpus), key[1])
        sample = self._stored(self._corpus[rows], key).astype(np.float32)
        return Codec.fit_stored(sample, *key, layer_norm=self.layer_norm)

    def _stored(self, embeddings: Embeddings, key: CodeKey) -> NDArray[np.floating]:
        """Return vectors as an index stores them, so that their codes are the index's codes.

        An index stores float32 only where a stage needs it, so all other codes are made of
        vectors that were rounded to float16.
        """
        unit = as_stored(embeddings, layer_norm=self.layer_norm)
        return unit if key[1] == "float32" else unit.astype(np.float16)


class _CodeStore:
    """Holds arrays of codes in memory up to a limit, and beyond it in files."""

    def __init__(self) -> None:
        self._in_memory = 0
        self._folder: TemporaryDirectory[str] | None = None
        self._files = 0

    def keep(self, blocks: Iterator[Codes], shape: tuple[int, int]) -> Codes:
        """Return the blocks as one array."""
        size = shape[0] * shape[1]
        if self._in_memory + size > MEMORY_BYTES:
            return self._keep_in_file(blocks, shape)
        self._in_memory += size
        codes = np.empty(shape, dtype=np.uint8)
        start = 0
        for block in blocks:
            codes[start : start + len(block)] = block
            start += len(block)
        return codes

    def _keep_in_file(self, blocks: Iterator[Codes], shape: tuple[int, int]) -> Codes:
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


def _blocks(corpus: Embeddings) -> Iterator[Embeddings]:
    size = max(1, BLOCK_BYTES // (4 * corpus.shape[1]))
    for start in range(0, len(corpus), size):
        yield corpus[start : start + size]
