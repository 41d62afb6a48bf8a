"""Layer-norm (where the model asks) -> truncate -> L2 re-normalise -> quantise: held here, once.

This is the only file that makes a searchable prefix of a vector. Every score in nestvec is
asymmetric: the float query times what a document's code stands for,

    score(q, x) = <prepare(q), decode(encode(x))>

so that a query loses nothing to quantisation. Which quantiser a precision is bound to stands in
``quantiser``; what is searched with codes lives in ``index``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.errors import InvalidArgument
from nestvec.quantiser import QUANTISERS, Quantiser, can_code, learn, new_index
from nestvec.types import Codes, Embeddings, Precision

ROTATION_SEED = 20260
FIT_ROWS, _FIT_SEED = 100_000, 4711  # ranges are learnt from no more vectors than that
LAYER_NORM_EPSILON = 1e-5  # torch.nn.functional.layer_norm's default, as nomic's card uses it


def layer_normalise(embeddings: Embeddings) -> Embeddings:
    """Give each vector zero mean and unit variance, [n, dim] -> [n, dim] (Ba et al. 2016)."""
    centred = embeddings - embeddings.mean(axis=1, keepdims=True)
    variance = np.mean(centred * centred, axis=1, keepdims=True)
    normalised: Embeddings = centred / np.sqrt(variance + LAYER_NORM_EPSILON)
    return normalised


def normalise(embeddings: Embeddings) -> Embeddings:
    """Give each vector unit length, [n, dim] -> [n, dim]; zero vectors stay zero."""
    lengths = np.sqrt(_squared_lengths(embeddings))[:, None].astype(np.float32)
    unit: Embeddings = np.divide(
        embeddings, lengths, out=np.zeros_like(embeddings), where=lengths > 0
    )
    return unit


def prefix(embeddings: Embeddings, dim: int, *, layer_norm: bool = False) -> Embeddings:
    """Cut vectors to their first ``dim`` dimensions and re-normalise them.

    Args:
        embeddings: [n, full_dim], as the model gives them.
        dim: Dimensions to keep, at most full_dim.
        layer_norm: Layer-normalise the whole vector first, where the model's card asks for it.

    Returns:
        [n, dim], each of unit length or zero.

    Raises:
        InvalidArgument: If ``dim`` is not within 1 and full_dim.
    """
    _check_width(embeddings, dim)
    if layer_norm:
        embeddings = layer_normalise(embeddings)
    return normalise(np.ascontiguousarray(embeddings[:, :dim], dtype=np.float32))


def prefix_scores(
    queries: Embeddings, corpus: Embeddings, dims: Sequence[int], *, layer_norm: bool = False
) -> Iterator[tuple[int, Embeddings]]:
    """Yield the cosines of every query and document at each prefix, from one full-width product.

    With A and B cut into blocks between the dims, the product of the wider prefix is the product
    of the narrower one plus one block's: U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T, and squared
    lengths add up alike.

    Args:
        queries: [n_queries, full_dim].
        corpus: [n, full_dim].
        dims: Prefixes, in any order.
        layer_norm: As in ``prefix``.

    Yields:
        (dim, scores [n_queries, n]), narrowest first; equal to
        ``prefix(queries, dim) @ prefix(corpus, dim).T`` up to rounding.
    """
    full_dim = corpus.shape[1]
    _check_width(queries, full_dim)
    queries, corpus = (prefix(side, full_dim, layer_norm=layer_norm) for side in (queries, corpus))
    product = np.zeros((len(queries), len(corpus)), dtype=np.float32)
    query_squares, corpus_squares = np.zeros(len(queries)), np.zeros(len(corpus))
    start = 0
    for stop in sorted(set(dims)):
        _check_width(corpus, stop)
        query_block, corpus_block = queries[:, start:stop], corpus[:, start:stop]
        product += query_block @ corpus_block.T
        query_squares += _squared_lengths(query_block)
        corpus_squares += _squared_lengths(corpus_block)
        scores = product * _inverse_lengths(query_squares)[:, None]
        scores *= _inverse_lengths(corpus_squares)
        yield stop, scores
        start = stop


@dataclass(frozen=True, eq=False)
class Codec:
    """Turns embeddings into the codes of one representation, and codes back into vectors.

    Made by ``Codec.fit``; saved with the index and used alike for queries and corpus.

    Attributes:
        dim: Dimensions kept.
        precision: How each is stored.
        layer_norm: Whether the whole vector is layer-normalised first.
        calibration: Ranges or centroids learnt by ``fit``, as ``quantiser.learn`` returns them;
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
        _check_width(embeddings, dim)
        if len(embeddings) == 0:
            raise InvalidArgument("cannot fit a codec on 0 vectors")
        if not can_code(dim, precision):
            raise InvalidArgument(
                f"{precision} codes dims in pairs, and dim {dim} is odd: take an even one, or int2"
            )
        quantiser, calibration = QUANTISERS[precision], np.empty(0, dtype=np.float32)
        if quantiser.learnt:
            vectors = _prepare(_sample(embeddings), dim, quantiser, layer_norm=layer_norm)
            calibration = learn(vectors, quantiser)
        return cls(dim, precision, layer_norm, calibration)

    @property
    def bytes_per_vector(self) -> int:
        """Size of one code."""
        return -(-self.dim * QUANTISERS[self.precision].bits // 8)

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """Return unit prefixes in the space that codes stand in, [n, full_dim] -> [n, dim].

        This is all that a query goes through.
        """
        quantiser = QUANTISERS[self.precision]
        return _prepare(embeddings, self.dim, quantiser, layer_norm=self.layer_norm)

    def encode(self, embeddings: Embeddings) -> Codes:
        """Return codes, [n, full_dim] -> [n, bytes_per_vector]."""
        vectors = np.ascontiguousarray(self.prepare(embeddings))
        if self.precision == "float32":
            return vectors.view(np.uint8)
        codes: Codes = self._quantiser.sa_encode(vectors)
        return codes

    def decode(self, codes: Codes) -> Embeddings:
        """Return the vectors that codes stand for, [n, bytes_per_vector] -> [n, dim]."""
        codes = np.ascontiguousarray(codes)
        if self.precision == "float32":
            return codes.view(np.float32)
        vectors: Embeddings = self._quantiser.sa_decode(codes)
        return vectors

    def new_faiss_index(self) -> Any:
        """Return an empty FAISS index of this representation, by inner product."""
        return new_index(self.dim, QUANTISERS[self.precision], self.calibration)

    @cached_property
    def _quantiser(self) -> Any:
        return self.new_faiss_index()

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a manifest; float32 survives as JSON numbers."""
        return {
            "dim": self.dim,
            "precision": self.precision,
            "layer_norm": self.layer_norm,
            "quantiser": QUANTISERS[self.precision].faiss_name,
            "calibration": self.calibration.tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Codec:
        """Read back what ``to_json`` wrote.

        Raises:
            InvalidArgument: If the codes were made by another quantiser than this version uses,
                or the calibration has another length than the dimensions need.
        """
        dim, precision = values["dim"], values["precision"]
        calibration = np.asarray(values["calibration"], dtype=np.float32)
        quantiser = QUANTISERS[precision]
        if values["quantiser"] != quantiser.faiss_name:
            raise InvalidArgument(
                f"codes of {values['quantiser']} cannot be read as {precision} "
                f"({quantiser.faiss_name}): rebuild the index"
            )
        if len(calibration) != quantiser.learnt * dim:
            raise InvalidArgument(f"{len(calibration)} calibration values do not fit {dim} dims")
        return cls(dim, precision, values["layer_norm"], calibration)


def _prepare(
    embeddings: Embeddings, dim: int, quantiser: Quantiser, *, layer_norm: bool
) -> Embeddings:
    vectors = prefix(embeddings, dim, layer_norm=layer_norm)
    return vectors @ _rotation(dim) if quantiser.rotated else vectors


def _sample(embeddings: Embeddings) -> Embeddings:
    if len(embeddings) <= FIT_ROWS:
        return embeddings
    chosen = np.random.RandomState(_FIT_SEED).permutation(len(embeddings))
    return embeddings[np.sort(chosen[:FIT_ROWS])]


def _check_width(embeddings: Embeddings, dim: int) -> None:
    if embeddings.ndim != 2:
        raise InvalidArgument(f"embeddings need the shape [n, dim], not {embeddings.shape}")
    if dim > embeddings.shape[1]:
        raise InvalidArgument(f"dim {dim} > full_dim {embeddings.shape[1]}")
    if dim < 1:
        raise InvalidArgument(f"dim {dim} < 1")


def _squared_lengths(embeddings: Embeddings) -> NDArray[np.float64]:
    """Sum squares as float64, in which the square of no float32 is 0 or infinite."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    return squares


def _inverse_lengths(squares: NDArray[np.float64]) -> NDArray[np.float32]:
    lengths = np.sqrt(squares)
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(np.float32)


@lru_cache(maxsize=16)
def _rotation(dim: int) -> Embeddings:
    """Return a random orthogonal matrix [dim, dim], the same for a dim everywhere."""
    # RandomState's stream never changes (NEP 19), default_rng's may: indexes outlive releases.
    gaussian = np.random.RandomState([ROTATION_SEED, dim]).standard_normal((dim, dim))
    q, r = np.linalg.qr(gaussian)
    return np.ascontiguousarray((q * np.sign(np.diag(r))).astype(np.float32))
