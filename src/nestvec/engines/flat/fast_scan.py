"""Codes of 1, 2 and 4 bits laid out for FAISS's SIMD fast-scan, and read back from there.

Four bits of such a code are one code of a product quantizer: with fitted centroids, or
with all combinations of the values of a fixed codebook. So the same bytes can be searched 5 to 30
times faster than by the scalar quantizer's own scan (``benchmarks/scan.py``). What comes back is
rounded: ``scan`` makes it exact.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.errors import UnsupportedLibrary
from nestvec.types import Codes, Embeddings, Rows

_BITS = 4  # of one product code
_CHECKED_BYTES = 1, 3, 8  # sizes of codes that the layout is checked with
_QUERIES = 256  # whose tables are looked at together
# FAISS packs rows in blocks (pq4_fast_scan.cpp), as it also writes them to files: for each byte of
# a code, and each 32 rows of the block, 16 bytes of low halves, then 16 of high ones. Row i of the
# first 16 is the low half of byte _LANE[i], row i + 16 the high half.
_SPAN = 32
# Blocks of 64 rows, not 32 as FAISS has them, let memory give one query's scan twice the bytes a
# second. From a processor's cache, and to many queries at once, FAISS's own are a little faster.
_BLOCK, _BLOCK_CACHED, _CACHED_BYTES = 64, 32, 2**24
_LANE = np.array([0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15])


def fits(codec: Codec) -> bool:
    """Tell whether codes can be laid out so: whole bytes of at most 4 bits each dimension."""
    bits = QUANTIZERS[codec.precision].bits
    return bits <= _BITS and codec.dim * bits % 8 == 0


def fast_scan_index(codec: Codec, codes: Codes) -> Any:
    """Return a FAISS index of codes, by inner product.

    Args:
        codec: One that ``fits``.
        codes: [n, bytes_per_vector].

    Raises:
        UnsupportedLibrary: If the installed FAISS packs codes differently.
    """
    import faiss

    check_layout()
    index = product_index(codec)
    index.add_sa_codes(codes)
    return faiss.IndexPQFastScan(index, _BLOCK_CACHED if codes.nbytes <= _CACHED_BYTES else _BLOCK)


def product_index(codec: Codec) -> Any:
    """Make an empty product quantizer whose codes are, bit for bit, those of a codec."""
    import faiss

    values = centroids(codec)
    index = faiss.IndexPQ(codec.dim, len(values), _BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(values.ravel(), index.pq.centroids)
    index.is_trained = True
    return index


def centroids(codec: Codec) -> NDArray[np.float32]:
    """List what each four bits of a code stand for, [n_codes, 16, dims_each]."""
    twice = np.arange(2**_BITS, dtype=np.uint8) * 17  # in both halves of a byte
    decoded = codec.decode(np.repeat(twice[:, None], codec.bytes_per_vector, axis=1))
    by_code = decoded.reshape(2**_BITS, 2 * codec.bytes_per_vector, -1).swapaxes(0, 1)
    return np.asfortranarray(by_code)  # as ``_spans`` reads them


def packed_codes(index: Any) -> NDArray[np.uint8]:
    """Return a view of a fast-scan index's codes, [n_blocks, bytes_per_vector, spans, 2, 16]."""
    import faiss

    memory: NDArray[np.uint8] = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
    return memory.reshape(-1, index.M2 // 2, index.bbs // _SPAN, 2, _SPAN // 2)


def unpack(packed: NDArray[np.uint8], rows: Rows) -> Codes:
    """Return the codes of rows as they were laid out, [n, bytes_per_vector].

    FAISS's own ``reconstruct_batch`` does it some ten times slower, one row at a time.
    """
    block, row = np.divmod(rows, packed.shape[2] * _SPAN)
    span, row = np.divmod(row, _SPAN)
    half, lane = np.divmod(row, _SPAN // 2)
    # The two halves of a code's byte, each in the byte of its own: 0x0L0H once the other row's are
    # shifted or masked away, then 0xHL in the lower byte.
    pairs = packed[block, :, span, :, _LANE[lane]].view("<u2")[:, :, 0]
    pairs >>= (_BITS * half).astype(np.uint16)[:, None]
    pairs &= 0x0F0F
    pairs |= pairs >> _BITS
    codes: Codes = pairs.astype(np.uint8)
    return codes


@cache
def check_layout() -> None:
    """Check, once in a process, that FAISS packs codes as ``unpack`` reads them.

    The layout is not documented: another version or build of FAISS may change it, and searches
    would return wrong results without an error.

    Raises:
        UnsupportedLibrary: If the installed FAISS packs codes differently.
    """
    import faiss

    for n_bytes, block in product(_CHECKED_BYTES, (_BLOCK_CACHED, _BLOCK)):
        numbers = np.arange((2 * block + 3) * n_bytes, dtype=np.uint32).reshape(-1, n_bytes)
        codes = (numbers * np.uint32(2_654_435_761) >> 24).astype(np.uint8)  # Knuth's hash
        plain: Any = faiss.IndexPQ(2 * n_bytes, 2 * n_bytes, _BITS, faiss.METRIC_INNER_PRODUCT)
        plain.is_trained = True
        plain.add_sa_codes(codes)
        index = faiss.IndexPQFastScan(plain, block)
        if not np.array_equal(unpack(packed_codes(index), np.arange(len(codes))), codes):
            raise UnsupportedLibrary(
                f"faiss {faiss.__version__} packs codes in a way that nestvec cannot read. "
                "Install a version that nestvec is tested with: pip install 'faiss-cpu>=1.15,<1.16'"
            )


def rounding_deviation(queries: Embeddings, centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of rounded minus exact scores, for each query.

    A score adds up one table entry for each product code, each rounded to a multiple of ``step``:
    n_codes errors, uniform within half a step. A step is as small as lets the widest table fit
    8 bits and their sum 16 (FAISS's quantize_lut.cpp).

    Args:
        queries: [n_queries, dim], prepared.
        centroids: What each product code can stand for, [n_codes, 16, dims_each].
    """
    parts = range(0, len(queries), _QUERIES)
    spans = [_spans(queries[start : start + _QUERIES], centroids) for start in parts]
    widest, total = (np.concatenate(each) for each in zip(*spans, strict=True))
    step = np.maximum(widest / 255, total / 65535)
    deviation: NDArray[np.float32] = step * np.float32(np.sqrt(len(centroids) / 12))
    return deviation


def _spans(
    queries: Embeddings, centroids: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the largest and the summed span of each query's tables."""
    # Code by code, all tables at a time: these have few entries of few dims, but are many.
    by_dim = zip(queries.reshape(len(queries), len(centroids), -1).T, centroids.T, strict=True)
    tables = sum(query.T[:, None] * codes for query, codes in by_dim)
    spans = tables.max(axis=1) - tables.min(axis=1)
    return spans.max(axis=1), spans.sum(axis=1)
