"""Adapters transform embeddings of a fixed model so that truncated vectors lose less quality.

An adapter is applied to raw model output, before truncation and quantization. ``adapt.fitting``
fits adapters, and ``adapter_file`` saves them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from nestvec.codec.arrays import as_embeddings
from nestvec.codec.prefix import prefix
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.models.prompts import REQUESTED
from nestvec.types import Embeddings, Kind, ModelInfo

Method = Literal["none", "svd", "whiten", "linear", "mlp"]
METHODS: tuple[Method, ...] = get_args(Method)
_FIT_ANOTHER = "Fit an adapter on the vectors of this model."
BLOCK = 16_384  # vectors transformed at a time, so that a mapped file can be larger than memory


@dataclass(frozen=True, eq=False)
class Head:
    """A transformation x -> x W, or for an ``mlp`` x -> x W + relu(x A + b) B.

    Attributes:
        matrix: W, [full_dim, full_dim].
        inner: A, [full_dim, hidden]; None if the head is linear.
        bias: b, [hidden]; None if the head is linear.
        outer: B, [hidden, full_dim]; None if the head is linear.
    """

    matrix: Embeddings
    inner: Embeddings | None = None
    bias: Embeddings | None = None
    outer: Embeddings | None = None

    def __call__(self, unit: Embeddings) -> Embeddings:
        """Transform unit vectors, [n, full_dim] -> [n, full_dim]; zero vectors stay zero."""
        transformed: Embeddings = unit @ self.matrix
        if self.inner is not None and self.bias is not None and self.outer is not None:
            hidden = np.maximum(unit @ self.inner + self.bias, 0)
            transformed += hidden @ self.outer
            transformed[~unit.any(axis=1)] = 0
        return transformed

    @property
    def linear(self) -> bool:
        """Whether the head is a single matrix."""
        return self.inner is None

    def then(self, matrix: Embeddings) -> Head:
        """Return this head followed by a matrix [full_dim, full_dim]."""
        outer = None if self.outer is None else self.outer @ matrix
        return replace(self, matrix=self.matrix @ matrix, outer=outer)

    def arrays(self) -> dict[str, Embeddings]:
        """Return the arrays of the head by name."""
        named = {"matrix": self.matrix, "inner": self.inner, "bias": self.bias, "outer": self.outer}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, eq=False)
class Adapter:
    """A fitted adapter.

    Attributes:
        method: The fitting method; "none" does not change vectors.
        dims: Dims that the adapter was fitted for, largest first.
        base: Fingerprint of the base model; "" if the vectors come from an unknown model.
        base_name: Name of the base model, for messages.
        layer_norm: Whether vectors are layer-normalized first.
        documents: Head that transforms documents.
        queries: Head that transforms queries; may be the same object as ``documents``.
        seed: Random seed of the fit.
        fitted: Settings and measurements of the fit, as JSON values.
    """

    method: Method
    dims: tuple[int, ...]
    base: str
    base_name: str
    layer_norm: bool
    documents: Head
    queries: Head
    seed: int
    fitted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_dim(self) -> int:
        """Number of dimensions of the vectors, before and after."""
        return len(self.documents.matrix)

    @property
    def two_heads(self) -> bool:
        """Whether queries have a separate head."""
        return self.queries is not self.documents

    def apply(self, embeddings: ArrayLike, kind: Kind) -> Embeddings:
        """Transform vectors of the base model.

        Args:
            embeddings: [n, full_dim], as the model returns them (an array, a tensor or lists):
                neither normalized nor truncated.
            kind: "query" or "document"; queries may have a separate head.

        Returns:
            float32 [n, full_dim], not normalized.

        Raises:
            InvalidArgument: If the vectors have another number of dimensions.
        """
        vectors = as_embeddings(embeddings)
        transformed = np.empty(vectors.shape, dtype=np.float32)
        start = 0
        for block in self.blocks(vectors, kind):
            transformed[start : start + len(block)] = block
            start += len(block)
        return transformed

    def blocks(self, embeddings: Embeddings, kind: Kind) -> Iterator[Embeddings]:
        """Yield the result of ``apply`` in blocks; the vectors may be memory-mapped.

        Raises:
            InvalidArgument: If the vectors have another number of dimensions.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.full_dim:
            shape = list(embeddings.shape)
            raise InvalidArgument(
                f"vectors have shape {shape}. The adapter requires [n, {self.full_dim}]."
            )
        head = self.queries if kind == "query" else self.documents
        for start in range(0, len(embeddings), BLOCK):
            block = np.asarray(embeddings[start : start + BLOCK], dtype=np.float32)
            if self.method == "none":
                yield block
            else:
                yield head(prefix(block, self.full_dim, layer_norm=self.layer_norm))

    def digest(self) -> str:
        """Return a sha256 of everything that affects transformed vectors."""
        total = hashlib.sha256(f"{self.method} {self.layer_norm} {self.two_heads}".encode())
        for name, array in self.tensors().items():
            little_endian = np.ascontiguousarray(array, dtype="<f4")
            total.update(f"\0{name} {little_endian.shape}\0".encode())
            total.update(little_endian.tobytes())
        return total.hexdigest()

    def tensors(self) -> dict[str, Embeddings]:
        """Return the arrays of both heads, or of the shared head, by name."""
        heads = {"documents": self.documents}
        if self.two_heads:
            heads["queries"] = self.queries
        return {
            f"{kind}.{name}": array
            for kind, head in heads.items()
            for name, array in head.arrays().items()
        }

    def matrix(self) -> Embeddings:
        """Return the adapter as one matrix [full_dim, full_dim]: row vectors @ matrix.

        Raises:
            InvalidArgument: If the adapter is not linear or has two heads.
        """
        if not self.documents.linear or self.two_heads:
            reason = "has a separate head for queries" if self.two_heads else "is not linear"
            advice = "Fit with method 'linear', or use it with the model (--adapter)."
            raise InvalidArgument(f"The adapter {reason}, so it is not one matrix. {advice}")
        return self.documents.matrix

    def check_base(self, info: ModelInfo) -> None:
        """Check that the adapter was fitted for a model.

        Raises:
            ModelMismatch: If the adapter was fitted for another model or number of dimensions, or
                the model is adapted already.
        """
        if info.full_dim != self.full_dim:
            dims = f"has {info.full_dim} dims, but the adapter has {self.full_dim}"
            raise ModelMismatch(f"{info.name} {dims}. {_FIT_ANOTHER}")
        if info.adapter:
            raise ModelMismatch(f"{info.name} is adapted already. Pass the model it was made from.")
        if info.layer_norm != self.layer_norm:
            which = "the model, but not the adapter" if info.layer_norm else "only the adapter"
            raise ModelMismatch(f"{info.name}: {which} uses layer normalization. {_FIT_ANOTHER}")
        if self.base and info.fingerprint != self.base:
            queries = info.query_model
            pair = "" if queries is None else f" with queries by {queries.name}"
            raise ModelMismatch(
                f"{info.name}{pair} is not the model that the adapter was fitted on "
                f"({self.base_name}). The prompts must be equal, too; in use: query "
                f"{info.query_prompt!r}, document {info.document_prompt!r}. Pass the prompts of "
                "the fit, or fit another adapter."
            )


def adapted_info(info: ModelInfo, adapter: Adapter) -> ModelInfo:
    """Return the info of a model with an adapter; its fingerprint differs from the model's.

    Raises:
        ModelMismatch: If the adapter was fitted for another model.
    """
    adapter.check_base(info)
    if adapter.method == "none":
        return info
    digest = adapter.digest()
    dims = tuple(sorted({*adapter.dims, info.full_dim}, reverse=True))
    requested = info.dims_source == REQUESTED
    return replace(
        info,
        fingerprint=_adapted(info.fingerprint, digest),
        document_fingerprint=_adapted(info.document_fingerprint, digest),
        dims=info.dims if requested else dims,
        dims_source=info.dims_source if requested else "adapter",
        dims_trained=set(info.dims) <= set(dims) if requested else True,
        min_dim=None,  # the adapter was fitted for single dims
        not_prefixes="",
        layer_norm=False,  # the adapter includes layer normalization
        adapter=digest,
    )


def _adapted(fingerprint: str, digest: str) -> str:
    return fingerprint and hashlib.sha256(f"{fingerprint} {digest}".encode()).hexdigest()
