"""Encode embeddings as codes and decode codes to vectors.

A codec truncates, renormalizes and quantizes. ``prefix`` implements truncation, ``center``
subtracts the mean of the corpus for few bits, and ``quantizer`` maps each precision to a FAISS
quantizer. Scores are asymmetric: the query stays float, the document is decoded from its code:

    score(q, x) = <prepare(q), decode(encode(x))>

So quantization adds no error to the query. The precision ``sign`` is symmetric: ``prepare`` returns
the signs of the query, and the score is the number of dims with equal signs minus the number with
different signs, dim - 2 * (Hamming distance of the codes). Sums of these numbers are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.center import Center
from nestvec.codec.prefix import check_width, prefix
from nestvec.codec.quantizer import (
    QUANTIZERS,
    RANGE_VALUES,
    Quantizer,
    check_codable,
    code_bytes,
    decode_signs,
    encode_signs,
    fit_quantizer,
    new_index,
)
from nestvec.errors import InvalidArgument
from nestvec.types import Codes, Embeddings, Precision

ROTATION_SEED = 20260
_EARLIER_KEY = "quantiser"  # the key "quantizer" in files of earlier versions
FIT_ROWS, _FIT_SEED = 100_000, 4711  # FIT_ROWS: most vectors that a codec is fitted on
_ROTATED = 4_096  # vectors rotated at a time: a new array of many vectors is slow to allocate
_ERROR_ROWS = 1_000  # most vectors whose errors are computed
MISFIT_ERROR = 1.5  # times the 99th percentile of the errors of fitted vectors
MAX_MISFIT = 0.02
"""A codec should be fitted again if its calibration does not fit more than this share of values."""
_ROUNDING_ERROR = 1e-6
# Neighboring float16 values differ by at least 2^-11 of their size. Scaling by a factor within
# 2^-13 of 1 moves a value by less than half that distance, so the value rounds to itself.
_UNIT_TOLERANCE = 2.0**-13


def sample_rows(n: int, precision: Precision) -> NDArray[np.int64]:
    """Return the rows, of ``n`` vectors, to fit a codec on, ascending.

    One row is enough for a precision that fits nothing.
    """
    if not QUANTIZERS[precision].fits:
        return np.arange(min(n, 1), dtype=np.int64)
    return np.arange(n, dtype=np.int64) if n <= FIT_ROWS else _draw(n)


@dataclass(frozen=True, eq=False)
class Codec:
    """Encodes embeddings at one dim and precision, and decodes the codes.

    Create a codec with ``Codec.fit``. It is saved with the index and applies to documents and
    queries.

    Attributes:
        dim: Number of dimensions after truncation.
        precision: Storage format of each dimension.
        layer_norm: Whether the full vector is layer-normalized before truncation.
        calibration: The values of the ``Center``, if the precision has one, followed by fitted
            ranges or centroids, as ``fit_quantizer`` returns them. Empty if nothing is fitted. A
            precision with a center and an empty calibration subtracts no mean, as in files of
            earlier versions.
        error: 99th percentile of the squared distance between fitted vectors and their decoded
            codes; None if nothing is fitted, and for codecs of earlier versions.
    """

    dim: int
    precision: Precision
    layer_norm: bool
    calibration: NDArray[np.float32]
    error: float | None = None

    @classmethod
    def fit(
        cls, embeddings: Embeddings, dim: int, precision: Precision, *, layer_norm: bool = False
    ) -> Codec:
        """Fit a codec on a sample of at most ``FIT_ROWS`` embeddings.

        Args:
            embeddings: Raw model output [n, full_dim], n > 0; may be memory-mapped.
            dim: Number of dimensions to truncate to.
            precision: Storage format of each dimension.
            layer_norm: As in ``prefix``.

        Raises:
            InvalidArgument: If there are no embeddings, ``dim`` is larger than full_dim, or the
                precision cannot encode ``dim`` dimensions.
        """
        check_width(embeddings, dim)
        if len(embeddings) == 0:
            raise InvalidArgument("Cannot fit a codec on 0 vectors. Pass at least 1.")
        check_codable(dim, precision)
        quantizer, calibration = QUANTIZERS[precision], np.empty(0, dtype=np.float32)
        if quantizer.fits:
            vectors = _prepare(_sample(embeddings), dim, quantizer, layer_norm=layer_norm)
            if quantizer.mean_shrinkage is not None:
                center = Center.fit(vectors, quantizer.mean_shrinkage)
                calibration = center.to_array()
                if quantizer.fitted_values:
                    vectors = center.residuals(vectors)
            calibration = np.concatenate((calibration, fit_quantizer(vectors, quantizer)))
        codec = cls(dim, precision, layer_norm, calibration)
        if not quantizer.fits:
            return codec
        some = embeddings[:: -(-len(embeddings) // _ERROR_ROWS)]
        return replace(codec, error=float(np.quantile(codec.errors(some), 0.99)))

    @property
    def bytes_per_vector(self) -> int:
        """Size of one code."""
        return code_bytes(self.dim, self.precision)

    @property
    def ranges(self) -> tuple[Embeddings, Embeddings] | None:
        """The fitted minimum and maximum of each dimension, [dim] each.

        None if the precision fits no ranges.
        """
        if QUANTIZERS[self.precision].fitted_values != RANGE_VALUES:
            return None
        low, extent = self._fitted.reshape(RANGE_VALUES, self.dim)
        return low, low + extent

    @classmethod
    def fit_stored(
        cls,
        stored: NDArray[np.floating],
        dim: int,
        precision: Precision,
        *,
        layer_norm: bool = False,
    ) -> Codec:
        """Fit a codec on the vectors that an index stores (see ``as_stored``).

        Args:
            stored: Float16 or float32 [n, full_dim], already layer-normalized if the model
                requires layer normalization.
            dim: As in ``fit``.
            precision: As in ``fit``.
            layer_norm: Whether to layer-normalize queries, as the stored vectors were.
        """
        return replace(cls.fit(_rounded(stored, precision), dim, precision), layer_norm=layer_norm)

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """Return float unit prefixes, rotated if the quantizer is, [n, full_dim] -> [n, dim].

        Queries are prepared and not quantized, except for ``sign``: a query is 1 where its prefix
        is above 0, and -1 elsewhere. A zero prefix remains zero.
        """
        quantizer = QUANTIZERS[self.precision]
        prepared = _prepare(embeddings, self.dim, quantizer, layer_norm=self.layer_norm)
        if self.precision == "sign":
            signs = np.where(prepared > 0, np.float32(1), np.float32(-1))
            return signs * prepared.any(axis=1, keepdims=True)
        return prepared

    def split_queries(
        self, embeddings: Embeddings
    ) -> tuple[Embeddings, NDArray[np.float32] | None]:
        """Return queries that score ``decode_quantized``, and the score of the center.

        For each query q and code c: score(q, c) = <queries, decode_quantized(c)> + offset.

        Args:
            embeddings: [n_queries, full_dim].

        Returns:
            Queries [n_queries, dim], and offsets [n_queries] or None without a center.
        """
        prepared = self.prepare(embeddings)
        return (prepared, None) if self.center is None else self.center.split_queries(prepared)

    def encode(self, embeddings: Embeddings) -> Codes:
        """Return codes, [n, full_dim] -> [n, bytes_per_vector]."""
        return self.encode_prefixes(prefix(embeddings, self.dim, layer_norm=self.layer_norm))

    def encode_prefixes(self, prefixes: Embeddings) -> Codes:
        """Return the codes of vectors that ``prefix`` has truncated and renormalized, [n, dim]."""
        quantizer = QUANTIZERS[self.precision]
        vectors = prefixes @ _rotation(self.dim) if quantizer.rotated else prefixes
        if self.center is not None:
            vectors = self.center.residuals(vectors)
        vectors = np.ascontiguousarray(vectors)
        if self.precision == "float32":
            return vectors.view(np.uint8)
        if self.precision == "sign":
            return encode_signs(vectors)
        codes: Codes = self._quantizer.sa_encode(vectors)
        return codes

    def encode_stored(self, stored: NDArray[np.floating]) -> Codes:
        """Return the codes of vectors that an index stores (see ``as_stored``).

        Float16 and float32 copies of a vector have the same codes, except at float32 precision.

        Args:
            stored: [n, at least dim], already layer-normalized if the model requires it.
        """
        return self._of_stored.encode(_rounded(stored[:, : self.dim], self.precision))

    def decode_stored(self, stored: NDArray[np.floating]) -> Embeddings:
        """Return ``decode(encode_stored(stored))``.

        Stored float16 vectors of full width are already unit length up to rounding.
        Renormalizing and rounding again would not change a bit, so the stored bytes are used as
        the codes. Vectors of a few dims can be further from unit length and are encoded.

        Args:
            stored: [n, at least dim], as for ``encode_stored``.
        """
        is_float16 = self.precision == "float16" and stored.dtype == np.float16
        if is_float16 and stored.shape[1] == self.dim:
            vectors = self.decode(np.ascontiguousarray(stored).view(np.uint8))
            squares = np.einsum("nd,nd->n", vectors, vectors)
            if ((np.abs(squares - 1) < _UNIT_TOLERANCE) | (squares == 0)).all():
                return vectors
        return self.decode(self.encode_stored(stored))

    def decode(self, codes: Codes) -> Embeddings:
        """Return the decoded vectors, [n, bytes_per_vector] -> [n, dim]."""
        decoded = self.decode_quantized(codes)
        return decoded if self.center is None else self.center.vectors(decoded)

    def decode_quantized(self, codes: Codes) -> Embeddings:
        """Return what the quantizer encoded: residuals if the codec has a center, else vectors.

        Args:
            codes: [n, bytes_per_vector].

        Returns:
            [n, dim], as the index of ``new_faiss_index`` scores the codes.
        """
        codes = np.ascontiguousarray(codes)
        if self.precision == "float32":
            return codes.view(np.float32)
        if self.precision == "sign":
            return decode_signs(codes, self.dim)
        decoded: Embeddings = self._quantizer.sa_decode(codes)
        return decoded

    def errors(self, embeddings: Embeddings) -> Embeddings:
        """Return the squared distance of vectors from their decoded codes, [n, full_dim] -> [n]."""
        differences = self.decode(self.encode(embeddings)) - self.prepare(embeddings)
        errors: Embeddings = np.einsum("nd,nd->n", differences, differences)
        return errors

    def count_misfit(self, stored: NDArray[np.floating]) -> int | None:
        """Count the values of vectors that the calibration does not fit.

        These are values outside the fitted ranges. For other precisions, they are all ``dim``
        values of each vector whose error is more than ``MISFIT_ERROR`` times ``error``.

        Args:
            stored: Vectors that an index stores (see ``as_stored``), [n, at least dim].

        Returns:
            The number of values; None if nothing is fitted.
        """
        vectors, codec = stored.astype(np.float32), self._of_stored
        if self.ranges is not None:
            low, high = self.ranges
            values = codec.prepare(vectors)
            return int(np.count_nonzero((values < low) | (values > high)))
        if self.error is None:
            return None
        largest = MISFIT_ERROR * self.error + _ROUNDING_ERROR
        return self.dim * int(np.count_nonzero(codec.errors(vectors) > largest))

    def new_faiss_index(self) -> Any:
        """Return an empty FAISS inner-product index that stores these codes."""
        return new_index(self.dim, QUANTIZERS[self.precision], self._fitted)

    @cached_property
    def center(self) -> Center | None:
        """The mean of the corpus, which is subtracted before quantizing; None for no mean."""
        shrinkage = QUANTIZERS[self.precision].mean_shrinkage
        if shrinkage is None or not len(self.calibration):
            return None
        return Center.from_array(self.calibration[: self.dim + 1], shrinkage)

    @property
    def _fitted(self) -> NDArray[np.float32]:
        """The fitted ranges or centroids."""
        return self.calibration[QUANTIZERS[self.precision].center_values(self.dim) :]

    @cached_property
    def _of_stored(self) -> Codec:
        return replace(self, layer_norm=False)

    @cached_property
    def _quantizer(self) -> Any:
        return self.new_faiss_index()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values for a manifest. JSON numbers preserve float32 exactly."""
        return {
            "dim": self.dim,
            "precision": self.precision,
            "layer_norm": self.layer_norm,
            "quantizer": QUANTIZERS[self.precision].faiss_name,
            "calibration": self.calibration.tolist(),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Codec:
        """Create a codec from the values of ``to_json``.

        Raises:
            InvalidArgument: If this version uses another quantizer for the precision, or the
                number of calibration values does not match the number of dimensions.
        """
        dim, precision = values["dim"], values["precision"]
        calibration = np.asarray(values["calibration"], dtype=np.float32)
        quantizer = QUANTIZERS[precision]
        quantizer_name = values["quantizer" if "quantizer" in values else _EARLIER_KEY]
        if quantizer_name != quantizer.faiss_name:
            raise InvalidArgument(
                f"Codes of {quantizer_name} cannot be read as {precision} "
                f"({quantizer.faiss_name}). Rebuild the index."
            )
        expected = quantizer.fitted_values * dim
        if len(calibration) not in (expected, expected + quantizer.center_values(dim)):
            raise InvalidArgument(
                f"{len(calibration)} calibration values do not match dim={dim}. Rebuild the index."
            )
        return cls(dim, precision, values["layer_norm"], calibration, values.get("error"))


def _prepare(
    embeddings: Embeddings, dim: int, quantizer: Quantizer, *, layer_norm: bool
) -> Embeddings:
    vectors = prefix(embeddings, dim, layer_norm=layer_norm)
    if quantizer.rotated:
        for start in range(0, len(vectors), _ROTATED):
            block = vectors[start : start + _ROTATED]
            block[:] = block @ _rotation(dim)
    return vectors


def _rounded(stored: NDArray[np.floating], precision: Precision) -> Embeddings:
    """Round to float16 as an index stores vectors; float32 precision keeps every bit."""
    if precision != "float32":
        stored = stored.astype(np.float16, copy=False)
    return stored.astype(np.float32)


def _sample(embeddings: Embeddings) -> Embeddings:
    n = len(embeddings)
    return embeddings if n <= FIT_ROWS else embeddings[_draw(n)]


def _draw(n: int) -> NDArray[np.int64]:
    chosen = np.random.RandomState(_FIT_SEED).permutation(n)
    return np.sort(chosen[:FIT_ROWS]).astype(np.int64)


@lru_cache(maxsize=16)
def _rotation(dim: int) -> Embeddings:
    """Return a random orthogonal matrix [dim, dim]; each dim always has the same matrix."""
    # Stored indexes must stay readable. NEP 19 freezes the stream of RandomState, but not the
    # stream of default_rng.
    gaussian = np.random.RandomState([ROTATION_SEED, dim]).standard_normal((dim, dim))
    q, r = np.linalg.qr(gaussian)
    return np.ascontiguousarray((q * np.sign(np.diag(r))).astype(np.float32))
