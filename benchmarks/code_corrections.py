"""Ways to score the codes of few bits: with values stored for each vector, and by leading bits.

A residual r is what a codec quantizes, and d is its decoded code. Published quantizers store
different values for each vector: RaBitQ an unbiased factor, TurboQuant the length, Elasticsearch's
optimized scalar quantization the ends of a range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.center import Center
from nestvec.codec.codec import Codec
from nestvec.codec.quantizer import QUANTIZERS, new_index
from nestvec.types import Embeddings, Precision

Values = NDArray[np.float32]
Storage = Literal["free", "byte", "float16"]
_BYTES: Mapping[Storage, int] = {"free": 0, "byte": 1, "float16": 2}
PRECISION_OF_BITS: Mapping[int, Precision] = {1: "binary", 2: "int2", 4: "int4"}
_SMALLEST = 1e-12
_LEVELS_OF_BITS = {4: "QT_4bit_tqmse", 8: "QT_8bit_tqmse"}


@dataclass(frozen=True, eq=False)
class Queries:
    """Queries for decoded residuals.

    Attributes:
        weighted: Queries with the codec's weight along the mean, [n_queries, dim].
        full: Queries without this weight, [n_queries, dim].
        offsets: Scores of the mean, [n_queries].
    """

    weighted: Embeddings
    full: Embeddings
    offsets: Values

    @classmethod
    def prepare(cls, codec: Codec, embeddings: Embeddings) -> Queries:
        """Prepare queries, [n_queries, full_dim], for a codec with a center."""
        prepared, center = codec.prepare(embeddings), codec.center
        assert center is not None, "the precision has no center"
        weighted, offsets = center.split_queries(prepared)
        return cls(weighted, prepared * np.float32(center.scale), offsets)

    def of(self, way: Way) -> Embeddings:
        """Return the queries that a way multiplies with decoded residuals."""
        return self.full if way.full_mean else self.weighted


@dataclass(frozen=True)
class Way:
    """A way to decode and to score codes.

    Attributes:
        name: The name in tables.
        values: The number of values stored for each vector.
        fit: A function of residuals and their decoded codes, both [n, dim], and of the center,
            that returns these values, [n, values]; None without values.
        own_length: Whether residuals are divided by their own length before quantizing, and not by
            the mean length of the corpus.
        leading_of: The bits of the stored code, of which only the leading bits are decoded; 0 if
            all stored bits are decoded.
        full_mean: Whether the residual along the mean is decoded without the codec's weight.
    """

    name: str
    values: int = 0
    fit: Callable[[Embeddings, Embeddings, Center], Values] | None = None
    own_length: bool = False
    leading_of: int = 0
    full_mean: bool = False

    @property
    def key(self) -> tuple[bool, int, bool]:
        """A key that is equal for ways with equal products of queries and decoded residuals."""
        return self.own_length, self.leading_of, self.full_mean

    def decode(self, codec: Codec, residuals: Embeddings) -> Embeddings:
        """Encode and decode residuals, [n, dim]."""
        if self.leading_of:
            return leading_bits(residuals, self.leading_of, QUANTIZERS[codec.precision].bits)
        if self.own_length:
            residuals = residuals / np.maximum(_lengths(residuals), _SMALLEST)
        return codec.decode_quantized(_quantize(codec, residuals))

    def scores(self, queries: Queries, products: Embeddings, values: Values) -> Embeddings:
        """Return the scores of queries and codes, [n_queries, n].

        Args:
            queries: The queries.
            products: Their inner products with the decoded residuals, [n_queries, n].
            values: The values of each vector as they are stored, [n, values].
        """
        offsets = queries.offsets[:, None]
        if self.fit is renormalized:
            return (products + offsets) * values[:, 0]
        scores = products * values[:, 0] if self.values else products.copy()
        if self.values > 1:
            scores += queries.of(self).sum(axis=1)[:, None] * values[:, 1]
        scores += offsets
        return scores

    def extra_bytes(self, storage: Storage) -> int:
        """Return the bytes for each vector in addition to its code."""
        return self.values * _BYTES[storage]


def _quantize(codec: Codec, residuals: Embeddings) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = codec.new_faiss_index().sa_encode(np.ascontiguousarray(residuals))
    return codes


def _lengths(vectors: Embeddings) -> Values:
    return np.linalg.norm(vectors, axis=1, keepdims=True)


def _dots(left: Embeddings, right: Embeddings) -> Values:
    return np.einsum("nd,nd->n", left, right)[:, None]


def length(residuals: Embeddings, decoded: Embeddings, center: Center) -> Values:
    """Return the factor that restores the length of the residual."""
    return _lengths(residuals) / _lengths(decoded)


def unbiased(residuals: Embeddings, decoded: Embeddings, center: Center) -> Values:
    """Return RaBitQ's factor, with which <r, factor * d> = <r, r> (arXiv 2405.12497, eq. 6)."""
    return _dots(residuals, residuals) / np.maximum(_dots(residuals, decoded), _SMALLEST)


def least_squares(residuals: Embeddings, decoded: Embeddings, center: Center) -> Values:
    """Return the factor with the smallest error of the residual."""
    return _dots(residuals, decoded) / _dots(decoded, decoded)


def renormalized(residuals: Embeddings, decoded: Embeddings, center: Center) -> Values:
    """Return the factor with which the decoded vector has unit length."""
    return 1 / np.maximum(_lengths(center.vectors(decoded)), _SMALLEST)


def scale_and_shift(residuals: Embeddings, decoded: Embeddings, center: Center) -> Values:
    """Return the scale and shift of the decoded residual with the smallest error."""
    means = decoded.mean(axis=1, keepdims=True)
    targets = residuals.mean(axis=1, keepdims=True)
    centered = decoded - means
    scale = _dots(centered, residuals) / np.maximum(_dots(centered, centered), _SMALLEST)
    return np.hstack((scale, targets - scale * means))


PLAIN = Way("plain")
RENORMALIZED = Way("renormalized", 1, renormalized)
CORRECTED = (
    RENORMALIZED,
    Way("length", 1, length, own_length=True),
    Way("least squares", 1, least_squares, own_length=True),
    Way("unbiased", 1, unbiased, own_length=True),
    Way("unbiased, full mean", 1, unbiased, own_length=True, full_mean=True),
    Way("scale and shift", 2, scale_and_shift, own_length=True),
)
NESTED = tuple(Way(f"leading bits of {bits}", leading_of=bits) for bits in _LEVELS_OF_BITS)


def stored(values: Values, storage: Storage, sample: Values) -> Values:
    """Round values as they are stored; the range of a byte is fitted on a sample."""
    if storage == "float16":
        return values.astype(np.float16).astype(np.float32)
    if storage == "free" or not values.shape[1]:
        return values
    low, high = np.quantile(sample, [0.0005, 0.9995], axis=0)
    step = np.maximum(high - low, _SMALLEST) / 255
    rounded = low + step * np.rint(np.clip((values - low) / step, 0, 255))
    return rounded.astype(np.float32)


def leading_bits(residuals: Embeddings, bits: int, leading: int) -> Embeddings:
    """Encode residuals at ``bits`` bits, and decode only the leading ones.

    Args:
        residuals: [n, dim] with a mean squared length of 1.
        bits: Bits of the stored code of each dim.
        leading: Bits that are decoded, fewer than ``bits``.
    """
    thresholds = _thresholds(bits)[2 ** (bits - leading) - 1 :: 2 ** (bits - leading)]
    root = np.float32(np.sqrt(residuals.shape[1]))
    cells = np.searchsorted(thresholds, residuals * root)
    decoded: Embeddings = _cell_means(thresholds)[cells] / root
    return decoded


@cache
def _thresholds(bits: int) -> Values:
    """Return the thresholds between the levels of a code for normal values of variance 1."""
    dim = 8 // bits
    index = new_index(dim, QUANTIZERS["int4"] if bits == 4 else _eight_bits(), np.empty(0, "f4"))
    numbers = np.arange(2**bits, dtype=np.uint8)
    codes = numbers * 17 if bits == 4 else numbers
    levels = np.sort(index.sa_decode(codes[:, None])[:, 0]) * np.sqrt(dim)
    return np.asarray((levels[1:] + levels[:-1]) / 2, dtype=np.float32)


def _eight_bits() -> object:
    from nestvec.codec.quantizer import Quantizer

    return Quantizer("QT_8bit_tqmse", 8)


def _cell_means(thresholds: Values) -> Values:
    """Return the mean of a normal variable between each two thresholds."""
    normal = NormalDist()
    bounds = [-np.inf, *thresholds.tolist(), np.inf]
    shares = np.diff([normal.cdf(each) for each in bounds])
    densities = [normal.pdf(each) if np.isfinite(each) else 0.0 for each in bounds]
    return (-np.diff(densities) / shares).astype(np.float32)
