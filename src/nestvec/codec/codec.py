"""A prefix, renormalized, then quantized: what is searched is made here, once.

How a prefix is cut stands in ``prefix``. Every score in nestvec is asymmetric: the float query
times what a document's code stands for,

    score(q, x) = <prepare(q), decode(encode(x))>

so that a query loses nothing to quantization. Which quantizer a precision is bound to stands in
``quantizer``; what is searched with codes lives in ``index``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.codec.prefix import check_width, prefix
from nestvec.codec.quantizer import (
    QUANTIZERS,
    RANGE,
    Quantizer,
    check_codable,
    code_bytes,
    fit_quantizer,
    new_index,
)
from nestvec.errors import InvalidArgument
from nestvec.types import Codes, Embeddings, Precision

ROTATION_SEED = 20260
_EARLIER_NAME = "quantiser"  # of the quantizer, in files of earlier versions
FIT_ROWS, _FIT_SEED = 100_000, 4711  # ranges are learnt from no more vectors than that
# A factor this near to 1 moves no float16 by half of the least distance to the next, 2^-12 of it.
_UNIT = 2.0**-13


def sample_rows(n: int, precision: Precision) -> NDArray[np.int64]:
    """Return which of ``n`` vectors to fit a codec on, ascending; one where it learns nothing."""
    if not QUANTIZERS[precision].fitted_values:
        return np.arange(min(n, 1), dtype=np.int64)
    return np.arange(n, dtype=np.int64) if n <= FIT_ROWS else _drawn(n)


@dataclass(frozen=True, eq=False)
class Codec:
    """Turns embeddings into the codes of one representation, and codes back into vectors.

    Made by ``Codec.fit``; saved with the index and used alike for queries and corpus.

    Attributes:
        dim: Dimensions kept.
        precision: How each is stored.
        layer_norm: Whether the whole vector is layer-normalized first.
        calibration: Ranges or centroids learnt by ``fit``, as ``quantizer.fit_quantizer`` returns them;
            empty where the precision learns nothing.
    """

    dim: int
    precision: Precision
    layer_norm: bool
    calibration: NDArray[np.float32]

    @classmethod
    def fit(
        cls, embeddings: Embeddings, dim: int, precision: Precision, *, layer_norm: bool = False
    ) -> Codec:
        """Learn what the precision needs from a sample of at most ``FIT_ROWS`` of the corpus.

        Args:
            embeddings: [n, full_dim], as the model gives them; n > 0; may be memory-mapped.
            dim: Dimensions to keep.
            precision: How to store each.
            layer_norm: As in ``prefix``.

        Raises:
            InvalidArgument: If ``dim`` is above full_dim, or the precision cannot code it, or
                there are no vectors.
        """
        check_width(embeddings, dim)
        if len(embeddings) == 0:
            raise InvalidArgument("cannot fit a codec on 0 vectors")
        check_codable(dim, precision)
        quantizer, calibration = QUANTIZERS[precision], np.empty(0, dtype=np.float32)
        if quantizer.fitted_values:
            vectors = _prepare(_sample(embeddings), dim, quantizer, layer_norm=layer_norm)
            calibration = fit_quantizer(vectors, quantizer)
        return cls(dim, precision, layer_norm, calibration)

    @property
    def bytes_per_vector(self) -> int:
        """Size of one code."""
        return code_bytes(self.dim, self.precision)

    @property
    def ranges(self) -> tuple[Embeddings, Embeddings] | None:
        """The least and the greatest value of each dimension that was learnt, [dim] each.

        None where the precision learns no ranges.
        """
        if QUANTIZERS[self.precision].fitted_values != RANGE:
            return None
        low, extent = self.calibration.reshape(RANGE, self.dim)
        return low, low + extent

    @classmethod
    def fit_stored(
        cls, stored: Embeddings, dim: int, precision: Precision, *, layer_norm: bool = False
    ) -> Codec:
        """Learn from vectors that are kept ``as_stored``, as ``fit`` does.

        Args:
            stored: [n, full_dim] at float16 or float32, layer-normalized already.
            dim: As in ``fit``.
            precision: As in ``fit``.
            layer_norm: Whether queries are to be layer-normalized, as the stored vectors were.
        """
        return replace(cls.fit(_rounded(stored, precision), dim, precision), layer_norm=layer_norm)

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """Return unit prefixes in the space that codes stand in, [n, full_dim] -> [n, dim].

        This is all that a query goes through.
        """
        quantizer = QUANTIZERS[self.precision]
        return _prepare(embeddings, self.dim, quantizer, layer_norm=self.layer_norm)

    def encode(self, embeddings: Embeddings) -> Codes:
        """Return codes, [n, full_dim] -> [n, bytes_per_vector]."""
        vectors = np.ascontiguousarray(self.prepare(embeddings))
        if self.precision == "float32":
            return vectors.view(np.uint8)
        codes: Codes = self._quantizer.sa_encode(vectors)
        return codes

    def encode_stored(self, stored: NDArray[np.floating]) -> Codes:
        """Return codes of vectors that are kept ``as_stored``, the same at float16 and float32.

        Args:
            stored: [n, at least dim]; layer-normalized already, where the model asks for it.
        """
        return self._of_stored.encode(_rounded(stored, self.precision))

    def decode_stored(self, stored: NDArray[np.floating]) -> Embeddings:
        """Return what the codes of stored vectors stand for, ``decode(encode_stored(stored))``.

        At full width, float16 is its own code wherever it is so nearly of unit length that to
        renormalize it rounds to itself again: all but vectors of a few dims.

        Args:
            stored: [n, at least dim], as for ``encode_stored``.
        """
        itself = self.precision == "float16" and stored.dtype == np.float16
        if itself and stored.shape[1] == self.dim:
            vectors = self.decode(np.ascontiguousarray(stored).view(np.uint8))
            squares = np.einsum("nd,nd->n", vectors, vectors)
            if ((np.abs(squares - 1) < _UNIT) | (squares == 0)).all():
                return vectors
        return self.decode(self.encode_stored(stored))

    def decode(self, codes: Codes) -> Embeddings:
        """Return the vectors that codes stand for, [n, bytes_per_vector] -> [n, dim]."""
        codes = np.ascontiguousarray(codes)
        if self.precision == "float32":
            return codes.view(np.float32)
        vectors: Embeddings = self._quantizer.sa_decode(codes)
        return vectors

    def new_faiss_index(self) -> Any:
        """Return an empty FAISS index of this representation, by inner product."""
        return new_index(self.dim, QUANTIZERS[self.precision], self.calibration)

    @cached_property
    def _of_stored(self) -> Codec:
        return replace(self, layer_norm=False)

    @cached_property
    def _quantizer(self) -> Any:
        return self.new_faiss_index()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a manifest; float32 survives as JSON numbers."""
        return {
            "dim": self.dim,
            "precision": self.precision,
            "layer_norm": self.layer_norm,
            "quantizer": QUANTIZERS[self.precision].faiss_name,
            "calibration": self.calibration.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Codec:
        """Read back what ``to_json`` wrote.

        Raises:
            InvalidArgument: If the codes were made by another quantizer than this version uses,
                or the calibration has another length than the dimensions need.
        """
        dim, precision = values["dim"], values["precision"]
        calibration = np.asarray(values["calibration"], dtype=np.float32)
        quantizer = QUANTIZERS[precision]
        coded_by = values["quantizer" if "quantizer" in values else _EARLIER_NAME]
        if coded_by != quantizer.faiss_name:
            raise InvalidArgument(
                f"codes of {coded_by} cannot be read as {precision} "
                f"({quantizer.faiss_name}): rebuild the index"
            )
        if len(calibration) != quantizer.fitted_values * dim:
            raise InvalidArgument(f"{len(calibration)} calibration values do not fit {dim} dims")
        return cls(dim, precision, values["layer_norm"], calibration)


def _prepare(
    embeddings: Embeddings, dim: int, quantizer: Quantizer, *, layer_norm: bool
) -> Embeddings:
    vectors = prefix(embeddings, dim, layer_norm=layer_norm)
    return vectors @ _rotation(dim) if quantizer.rotated else vectors


def _rounded(stored: NDArray[np.floating], precision: Precision) -> Embeddings:
    """Round as an index does that keeps float16, but for what only one of float32 can give."""
    return (stored if precision == "float32" else stored.astype(np.float16)).astype(np.float32)


def _sample(embeddings: Embeddings) -> Embeddings:
    n = len(embeddings)
    return embeddings if n <= FIT_ROWS else embeddings[_drawn(n)]


def _drawn(n: int) -> NDArray[np.int64]:
    chosen = np.random.RandomState(_FIT_SEED).permutation(n)
    return np.sort(chosen[:FIT_ROWS]).astype(np.int64)


@lru_cache(maxsize=16)
def _rotation(dim: int) -> Embeddings:
    """Return a random orthogonal matrix [dim, dim], the same for a dim everywhere."""
    # RandomState's stream never changes (NEP 19), default_rng's may: indexes outlive releases.
    gaussian = np.random.RandomState([ROTATION_SEED, dim]).standard_normal((dim, dim))
    q, r = np.linalg.qr(gaussian)
    return np.ascontiguousarray((q * np.sign(np.diag(r))).astype(np.float32))
