"""FAISS indexes that read vectors or codes where they are stored, without a copy.

Their scores are sums of float32 products, whose last digits depend on the order of summation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import QUANTIZERS, SIGN
from nestvec.engines.flat import fast_scan
from nestvec.types import Codes, Embeddings

FLOAT_ERROR = 1e-5
"""The largest difference of two sums of the same products, of unit vectors."""
_BYTE = 256  # values of a byte


def vector_view(vectors: NDArray[np.floating]) -> Any:
    """Return a FAISS index of inner products with vectors.

    Args:
        vectors: float16 or float32 [n, dim], C-contiguous; may be memory-mapped.
    """
    import faiss

    dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    index: Any
    if vectors.dtype == np.float32:
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, metric)
        index.is_trained = True  # nothing is fitted
    return _viewing(index, vectors.reshape(-1).view(np.uint8), len(vectors))


class CodeViews:
    """Makes FAISS indexes of blocks of codes of one codec, each for one search."""

    def __init__(self, codec: Codec) -> None:
        """Prepare the tables of a codec whose ``precision`` is not ``sign``."""
        self.codec = codec
        self._by_byte = _decoded_bytes(codec) if fast_scan.is_supported(codec) else None

    @staticmethod
    def supports(codec: Codec) -> bool:
        """Return whether FAISS scores the codes of a codec: all except sign bits."""
        return QUANTIZERS[codec.precision].faiss_name != SIGN

    def view(self, codes: Codes) -> Any:
        """Return a FAISS index of codes, [n, bytes_per_vector], C-contiguous."""
        index = self.codec.new_faiss_index() if self._by_byte is None else self._product_index()
        return _viewing(index, codes.reshape(-1), len(codes))

    def search(
        self, codes: Codes, queries: Embeddings, k: int
    ) -> tuple[Embeddings, NDArray[np.int64]]:
        """Return the scores and lines of the best ``k`` codes of each query.

        Args:
            codes: [n, bytes_per_vector], C-contiguous.
            queries: [n_queries, dim], prepared by the codec.
            k: At most n.
        """
        offsets = None
        if self.codec.center is not None:
            queries, offsets = self.codec.center.split_queries(queries)
        scores, lines = self.view(codes).search(np.ascontiguousarray(queries), k)
        return (scores if offsets is None else scores + offsets[:, None]), lines

    def _product_index(self) -> Any:
        """Return an index that looks up the score of each byte of a code in a table.

        This is several times faster for a few thousand codes than FAISS's scalar quantizers of few
        bits, and needs no packing as the fast-scan does.
        """
        import faiss

        assert self._by_byte is not None
        n_bytes = len(self._by_byte)
        index = faiss.IndexPQ(self.codec.dim, n_bytes, 8, faiss.METRIC_INNER_PRODUCT)
        faiss.copy_array_to_vector(self._by_byte.reshape(-1), index.pq.centroids)
        index.is_trained = True
        return index


def _decoded_bytes(codec: Codec) -> NDArray[np.float32]:
    """Return what each value of each byte of a code decodes to, [n_bytes, 256, dims_each]."""
    values = np.arange(_BYTE, dtype=np.uint8)[:, None]
    decoded = codec.decode_quantized(np.repeat(values, codec.bytes_per_vector, axis=1))
    by_byte = decoded.reshape(_BYTE, codec.bytes_per_vector, -1).swapaxes(0, 1)
    return np.ascontiguousarray(by_byte)


def _viewing(index: Any, memory: Codes, n: int) -> Any:
    """Let an index read ``n`` vectors or codes from memory."""
    import faiss

    views: Any = faiss.MaybeOwnedVectorUInt8  # its type stub lacks the function
    owner = index.codes.owner  # no owner: FAISS never frees the memory
    index.codes = views.create_view(faiss.swig_ptr(memory), memory.size, owner)
    index.ntotal = n
    index.referenced_objects = [memory]  # FAISS does not free the memory, and Python must not
    return index
