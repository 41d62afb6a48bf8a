"""The FAISS quantizer of each precision.

Quantizers expect vectors that ``codec`` has truncated, renormalized and, if ``rotated``, rotated.
``benchmarks/quantizers.py`` compares the quantizers that were considered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.threads import one_thread
from nestvec.errors import InvalidArgument
from nestvec.types import Codes, Embeddings, Precision

PRODUCT = "PQx4"
SIGN = "sign"
_PRODUCT_BITS, _DIMS_PER_CODE = 4, 2
_CENTROIDS = 2**_PRODUCT_BITS
RANGE_VALUES = 2  # fitted values of each dimension of a scalar quantizer: minimum and extent


@dataclass(frozen=True)
class Quantizer:
    """A FAISS quantizer and its settings.

    Attributes:
        faiss_name: Type of the FAISS ScalarQuantizer, such as "QT_8bit". ``PRODUCT`` selects a
            ProductQuantizer: each code of 4 bits selects one of 16 centroids of two dims. ``SIGN``
            stores one bit, 1 for a value above 0, and decodes it to 1 or -1; queries are encoded
            alike. None stores float32 unchanged.
        bits: Bits for each dimension.
        rotated: Whether vectors are first multiplied by a random orthogonal matrix. The rotation
            preserves inner products and spreads the variance evenly over the dimensions, so one
            fixed codebook suits all of them.
        fitted_values: Number of values fitted for each dimension on a sample of the corpus: 2
            for a range, 16 for the coordinates of centroids, 0 for a fixed codebook.
        mean_shrinkage: If the mean of the corpus is subtracted first, how much the residual along
            the mean is shrunk (see ``Center``); None to quantize vectors themselves.
    """

    faiss_name: str | None
    bits: int
    rotated: bool = False
    fitted_values: int = 0
    mean_shrinkage: float | None = None

    @property
    def fits(self) -> bool:
        """Whether the quantizer is fitted on a sample of the corpus."""
        return self.fitted_values > 0 or self.mean_shrinkage is not None

    def center_values(self, dim: int) -> int:
        """Return the number of values that describe the mean of the corpus."""
        return 0 if self.mean_shrinkage is None else dim + 1


QUANTIZERS: Mapping[Precision, Quantizer] = {
    "float32": Quantizer(None, 32),
    "float16": Quantizer("QT_fp16", 16),
    "int8": Quantizer("QT_8bit", 8, fitted_values=RANGE_VALUES),
    # The fewer bits, the larger the error along the mean, and the larger the best shrinkage.
    "int4": Quantizer("QT_4bit_tqmse", 4, rotated=True, mean_shrinkage=0.0),
    "int2": Quantizer("QT_2bit_tqmse", 2, rotated=True, mean_shrinkage=2 / 3),
    "binary": Quantizer("QT_1bit_tqmse", 1, rotated=True, mean_shrinkage=6.0),
    "sign": Quantizer(SIGN, 1),
    "pq4": Quantizer(PRODUCT, 2, fitted_values=_CENTROIDS),
}


def can_code(dim: int, precision: Precision) -> bool:
    """Return whether a precision can encode ``dim`` dimensions; pq4 requires an even number."""
    return QUANTIZERS[precision].faiss_name != PRODUCT or dim % _DIMS_PER_CODE == 0


def check_codable(dim: int, precision: Precision) -> None:
    """Check that a precision can encode ``dim`` dimensions.

    Raises:
        InvalidArgument: If the precision requires an even dim and ``dim`` is odd.
    """
    if not can_code(dim, precision):
        raise InvalidArgument(
            f"{precision} encodes dims in pairs, and dim={dim} is odd. "
            "Choose an even dim, or precision int2."
        )


def code_bytes(dim: int, precision: Precision) -> int:
    """Return the size of one code in bytes."""
    return -(-dim * QUANTIZERS[precision].bits // 8)


def encode_signs(vectors: Embeddings) -> Codes:
    """Return the sign bits of vectors, [n, dim] -> [n, bytes]; the first dim is the lowest bit."""
    return np.packbits(vectors > 0, axis=1, bitorder="little")


def decode_signs(codes: Codes, dim: int) -> Embeddings:
    """Return 1 for each bit that is set and -1 for the others, [n, bytes] -> [n, dim]."""
    bits = np.unpackbits(codes, axis=1, count=dim, bitorder="little")
    return bits.astype(np.float32) * 2 - 1


def fit_quantizer(vectors: Embeddings, quantizer: Quantizer) -> NDArray[np.float32]:
    """Fit the ranges or centroids of a quantizer; the result is deterministic.

    Args:
        vectors: [n, dim], n > 0.
        quantizer: The quantizer to fit.

    Returns:
        [fitted_values * dim], in FAISS's layout. Ranges: all minima, then all extents.
        Centroids: a flattened array [dim / 2, 16, 2].
    """
    import faiss

    if not quantizer.fitted_values:
        return np.empty(0, dtype=np.float32)
    index = _empty_index(vectors.shape[1], quantizer)
    if len(vectors) < _CENTROIDS:  # k-means requires one vector for each centroid; repeat them
        vectors = np.resize(vectors, (_CENTROIDS, vectors.shape[1]))
    with one_thread():
        index.train(vectors)
    calibration: NDArray[np.float32] = faiss.vector_to_array(_state(index))
    return calibration


def new_index(dim: int, quantizer: Quantizer, calibration: NDArray[np.float32]) -> Any:
    """Return an empty FAISS inner-product index.

    Args:
        dim: Number of dimensions.
        quantizer: The quantizer of the index.
        calibration: The values that ``fit_quantizer`` returned.
    """
    import faiss

    index = _empty_index(dim, quantizer)
    if quantizer.fitted_values:
        faiss.copy_array_to_vector(calibration, _state(index))
        index.is_trained = True
    elif quantizer.faiss_name is not None:
        index.train(np.zeros((1, dim), dtype=np.float32))  # a fixed codebook ignores the data
    return index


def _empty_index(dim: int, quantizer: Quantizer) -> Any:
    import faiss

    name, metric = quantizer.faiss_name, faiss.METRIC_INNER_PRODUCT
    if name is None:
        return faiss.IndexFlatIP(dim)
    if name != PRODUCT:
        return faiss.IndexScalarQuantizer(dim, getattr(faiss.ScalarQuantizer, name), metric)
    index = faiss.IndexPQ(dim, dim // _DIMS_PER_CODE, _PRODUCT_BITS, metric)
    # By default FAISS prints a warning if there are fewer than 39 vectors for each centroid.
    index.pq.cp.min_points_per_centroid = 1
    return index


def _state(index: Any) -> Any:
    import faiss

    return index.pq.centroids if isinstance(index, faiss.IndexPQ) else index.sq.trained
