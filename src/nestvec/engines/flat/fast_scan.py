"""Search codes of 1, 2 and 4 bits per dimension with the SIMD fast-scan of FAISS.

Every 4 bits of a code are treated as one code of a product quantizer. The centroids are fitted, or
they are all combinations of the values of a fixed codebook. The mean of the corpus is not part of
them: ``scan`` adds its score. FAISS then searches the same bytes 5 to 30 times faster than with a
scalar quantizer (``benchmarks/scan.py``). Its scores are rounded; ``scan`` computes exact scores
for the candidates.
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
_CHECKED_BYTES = 1, 3, 8  # sizes of codes with which ``check_layout`` tests
_QUERIES = 256  # queries whose lookup tables are computed together, to bound memory
# FAISS packs rows in blocks (pq4_fast_scan.cpp), and this layout is also its file format. For each
# byte of a code and each 32 rows of the block, 16 bytes of low halves are followed by 16 bytes of
# high halves. Row i of the first 16 rows is the low half of byte _LANE[i], and row i + 16 is the
# high half of the same byte.
_SPAN = 32
# With blocks of 64 rows, not the 32 of FAISS, the scan of one query reads twice the bytes per
# second from memory. FAISS's own blocks are slightly faster for codes in the processor's cache and
# for many queries at once.
_BLOCK, _BLOCK_CACHED, _CACHED_BYTES = 64, 32, 2**24
_LANE = np.array([0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15])


def is_supported(codec: Codec) -> bool:
    """Return whether fast-scan supports a codec: at most 4 bits per dim, and whole bytes."""
    bits = QUANTIZERS[codec.precision].bits
    return bits <= _BITS and codec.dim * bits % 8 == 0


def fast_scan_index(codec: Codec, codes: Codes) -> Any:
    """Return a FAISS index of codes that scores by inner product.

    Args:
        codec: A codec for which ``is_supported`` is True.
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
    """Return an empty product-quantizer index whose code format equals that of a codec."""
    import faiss

    values = centroids(codec)
    index = faiss.IndexPQ(codec.dim, len(values), _BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(values.ravel(), index.pq.centroids)
    index.is_trained = True
    return index


def centroids(codec: Codec) -> NDArray[np.float32]:
    """Return what every 4-bit product code decodes to, [n_codes, 16, dims_each]."""
    repeated = np.arange(2**_BITS, dtype=np.uint8) * 17  # each value in both halves of a byte
    decoded = codec.decode_quantized(np.repeat(repeated[:, None], codec.bytes_per_vector, axis=1))
    by_code = decoded.reshape(2**_BITS, 2 * codec.bytes_per_vector, -1).swapaxes(0, 1)
    return np.asfortranarray(by_code)  # the order in which ``_spans`` reads them


def packed_codes(index: Any) -> NDArray[np.uint8]:
    """Return a view of a fast-scan index's codes, [n_blocks, bytes_per_vector, spans, 2, 16]."""
    import faiss

    memory: NDArray[np.uint8] = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
    return memory.reshape(-1, index.M2 // 2, index.bbs // _SPAN, 2, _SPAN // 2)


def unpack(packed: NDArray[np.uint8], rows: Rows) -> Codes:
    """Return the codes of rows in their original format, [n, bytes_per_vector].

    FAISS's own ``reconstruct_batch`` reads row by row and is about ten times slower.
    """
    block, row = np.divmod(rows, packed.shape[2] * _SPAN)
    span, row = np.divmod(row, _SPAN)
    half, lane = np.divmod(row, _SPAN // 2)
    # Each pair of bytes contains the two halves of one byte of the code, together with the halves
    # of another row. Shifting and masking leave 0x0L0H; the last step moves 0xHL to the low byte.
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
    """Return the standard deviation of rounded minus exact scores of each query, [n_queries].

    A score is the sum of one table entry per product code. FAISS rounds each entry to a multiple
    of a step, so a score has n_codes errors, uniform within half a step. The step is the smallest
    one for which the widest table fits 8 bits and the sum of all tables fits 16 bits (FAISS's
    quantize_lut.cpp).

    Args:
        queries: [n_queries, dim], as FAISS scores them.
        centroids: The decoded values of the product codes, [n_codes, 16, dims_each].
    """
    starts = range(0, len(queries), _QUERIES)
    spans = [_spans(queries[start : start + _QUERIES], centroids) for start in starts]
    widest, total = (np.concatenate(each) for each in zip(*spans, strict=True))
    step = np.maximum(widest / 255, total / 65535)
    deviation: NDArray[np.float32] = step * np.float32(np.sqrt(len(centroids) / 12))
    return deviation


def _spans(
    queries: Embeddings, centroids: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the largest and the summed value range of each query's lookup tables."""
    # Looping over the few dims of a product code is fast: each step computes all tables at once.
    by_dim = zip(queries.reshape(len(queries), len(centroids), -1).T, centroids.T, strict=True)
    tables = sum(query.T[:, None] * codes for query, codes in by_dim)
    spans = tables.max(axis=1) - tables.min(axis=1)
    return spans.max(axis=1), spans.sum(axis=1)
