"""What each precision is bound to: one of FAISS's quantizers, chosen by measurement.

Quantizers take and give vectors as they come; that these are normalized prefixes, rotated where a
quantizer asks for it, is ``codec``'s business. The measurement is ``benchmarks/quantizers.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.threads import one_thread
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings, Precision

PRODUCT = "PQx4"
_PRODUCT_BITS, _PAIR = 4, 2
_CENTROIDS = 2**_PRODUCT_BITS
RANGE = 2  # values learnt for each dimension where they are the ends of its range


@dataclass(frozen=True)
class Quantizer:
    """One of FAISS's quantizers.

    Attributes:
        faiss_name: The type of a ScalarQuantizer; ``PRODUCT`` for a ProductQuantizer whose codes
            of 4 bits each choose one of 16 centroids of two dims; None stores float32 as it is.
        bits: Bits for each dimension.
        rotated: True where the prefix is first turned by a random orthogonal matrix, which
            leaves inner products as they are and spreads the variance over all dimensions,
            as a codebook that is the same for each of them needs.
        fitted_values: Values learnt from a sample of the corpus, for each dimension: 2 are the ends of
            its range, 16 its coordinates of the centroids.
    """

    faiss_name: str | None
    bits: int
    rotated: bool = False
    fitted_values: int = 0


QUANTIZERS: Mapping[Precision, Quantizer] = {
    "float32": Quantizer(None, 32),
    "float16": Quantizer("QT_fp16", 16),
    "int8": Quantizer("QT_8bit", 8, fitted_values=RANGE),
    "int4": Quantizer("QT_4bit_tqmse", 4, rotated=True),
    "int2": Quantizer("QT_2bit_tqmse", 2, rotated=True),
    "binary": Quantizer("QT_1bit_tqmse", 1, rotated=True),
    "pq4": Quantizer(PRODUCT, 2, fitted_values=_CENTROIDS),
}


def can_code(dim: int, precision: Precision) -> bool:
    """Tell whether a precision can code that many dims: product codes stand for pairs."""
    return QUANTIZERS[precision].faiss_name != PRODUCT or dim % _PAIR == 0


def check_codable(dim: int, precision: Precision) -> None:
    """Refuse a dim that a precision cannot code.

    Raises:
        InvalidArgument: If it cannot.
    """
    if not can_code(dim, precision):
        raise InvalidArgument(
            f"{precision} codes dims in pairs, and dim {dim} is odd: take an even one, or int2"
        )


def code_bytes(dim: int, precision: Precision) -> int:
    """Return the size of one code."""
    return -(-dim * QUANTIZERS[precision].bits // 8)


def fit_quantizer(vectors: Embeddings, quantizer: Quantizer) -> NDArray[np.float32]:
    """Learn from a sample what a quantizer needs, the same from the same sample.

    Args:
        vectors: [n, dim], n > 0.
        quantizer: What learns.

    Returns:
        As FAISS holds them, [fitted_values * dim]: for ranges the minimum of each dimension, then its
        extent; for centroids [dim / 2, 16, 2].
    """
    import faiss

    if not quantizer.fitted_values:
        return np.empty(0, dtype=np.float32)
    index = _empty_index(vectors.shape[1], quantizer)
    if len(vectors) < _CENTROIDS:  # k-means asks for one each; copies teach nothing else
        vectors = np.resize(vectors, (_CENTROIDS, vectors.shape[1]))
    with one_thread():
        index.train(vectors)
    calibration: NDArray[np.float32] = faiss.vector_to_array(_state(index))
    return calibration


def new_index(dim: int, quantizer: Quantizer, calibration: NDArray[np.float32]) -> Any:
    """Return an empty FAISS index by inner product that codes as it has learnt."""
    import faiss

    index = _empty_index(dim, quantizer)
    if quantizer.fitted_values:
        faiss.copy_array_to_vector(calibration, _state(index))
        index.is_trained = True
    elif quantizer.faiss_name is not None:
        index.train(np.zeros((1, dim), dtype=np.float32))  # a fixed codebook learns nothing of it
    return index


def _empty_index(dim: int, quantizer: Quantizer) -> Any:
    import faiss

    name, metric = quantizer.faiss_name, faiss.METRIC_INNER_PRODUCT
    if name is None:
        return faiss.IndexFlatIP(dim)
    if name != PRODUCT:
        return faiss.IndexScalarQuantizer(dim, getattr(faiss.ScalarQuantizer, name), metric)
    index = faiss.IndexPQ(dim, dim // _PAIR, _PRODUCT_BITS, metric)
    # From more vectors FAISS draws 256 for each centroid. Below 39 it would write warnings.
    index.pq.cp.min_points_per_centroid = 1
    return index


def _state(index: Any) -> Any:
    import faiss

    return index.pq.centroids if isinstance(index, faiss.IndexPQ) else index.sq.trained
