"""An adapter: what turns frozen vectors so that their first dimensions hold what search needs.

Applied to vectors as the model gives them, before a prefix is cut; cutting and quantizing are the
codec's work. Fitting is in ``fitting``, the file in ``adapter_file``.
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
from nestvec.types import Embeddings, Kind, ModelInfo

Method = Literal["none", "svd", "whiten", "linear", "mlp"]
METHODS: tuple[Method, ...] = get_args(Method)
BLOCK = 16_384  # vectors turned at a time, so that a mapped file need not fit in memory


@dataclass(frozen=True, eq=False)
class Head:
    """x -> x W, and for an ``mlp`` + relu(x A + b) B.

    Attributes:
        matrix: W, [full_dim, full_dim].
        inner: A, [full_dim, hidden]; None where the head is linear, as the two below.
        bias: b, [hidden].
        outer: B, [hidden, full_dim].
    """

    matrix: Embeddings
    inner: Embeddings | None = None
    bias: Embeddings | None = None
    outer: Embeddings | None = None

    def __call__(self, unit: Embeddings) -> Embeddings:
        """Turn unit vectors, [n, full_dim] -> [n, full_dim]; zero vectors stay zero."""
        turned: Embeddings = unit @ self.matrix
        if self.inner is not None and self.bias is not None and self.outer is not None:
            hidden = np.maximum(unit @ self.inner + self.bias, 0)
            turned += hidden @ self.outer
            turned[~unit.any(axis=1)] = 0
        return turned

    @property
    def linear(self) -> bool:
        """Whether it is one matrix."""
        return self.inner is None

    def then(self, matrix: Embeddings) -> Head:
        """Return this head with a matrix after it, [full_dim, full_dim]."""
        outer = None if self.outer is None else self.outer @ matrix
        return replace(self, matrix=self.matrix @ matrix, outer=outer)

    def arrays(self) -> dict[str, Embeddings]:
        """Return its arrays by name."""
        named = {"matrix": self.matrix, "inner": self.inner, "bias": self.bias, "outer": self.outer}
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, eq=False)
class Adapter:
    """A fitted adapter.

    Attributes:
        method: How it was fitted; "none" leaves vectors as they are.
        dims: The widths that it was fitted for, widest first.
        base: Fingerprint of the model whose vectors it is for; "" for vectors of no known model,
            of which only the width is known.
        base_name: What that model is called in messages.
        layer_norm: Whether that model's vectors are layer-normalized first.
        documents: What documents go through.
        queries: What queries go through: the same, or a head of their own.
        seed: Of all that was drawn.
        fitted: What was measured and how it was fitted, plain values for people.
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
        """Width of the vectors, before and after."""
        return len(self.documents.matrix)

    @property
    def two_heads(self) -> bool:
        """Whether queries go through a head of their own."""
        return self.queries is not self.documents

    def apply(self, embeddings: ArrayLike, kind: Kind) -> Embeddings:
        """Turn vectors of the base model.

        Args:
            embeddings: [n, full_dim], as the model returns them (an array, a tensor or lists):
                neither normalized nor truncated.
            kind: Queries may go through another head than documents.

        Returns:
            float32 [n, full_dim], not normalized: cosines are of what the codec makes of them.

        Raises:
            InvalidArgument: If the vectors have another width.
        """
        vectors = as_embeddings(embeddings)
        turned = np.empty(vectors.shape, dtype=np.float32)
        start = 0
        for block in self.blocks(vectors, kind):
            turned[start : start + len(block)] = block
            start += len(block)
        return turned

    def blocks(self, embeddings: Embeddings, kind: Kind) -> Iterator[Embeddings]:
        """Yield what ``apply`` returns, block by block; the vectors may be memory-mapped.

        Raises:
            InvalidArgument: If the vectors have another width.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self.full_dim:
            shape = list(embeddings.shape)
            raise InvalidArgument(f"vectors of shape {shape}, adapter for {self.full_dim} dims")
        head = self.queries if kind == "query" else self.documents
        for start in range(0, len(embeddings), BLOCK):
            block = np.asarray(embeddings[start : start + BLOCK], dtype=np.float32)
            if self.method == "none":
                yield block
            else:
                yield head(prefix(block, self.full_dim, layer_norm=self.layer_norm))

    def digest(self) -> str:
        """Return a sha256 of all that decides what it makes of a vector."""
        total = hashlib.sha256(f"{self.method} {self.layer_norm} {self.two_heads}".encode())
        for name, array in self.tensors().items():
            little_endian = np.ascontiguousarray(array, dtype="<f4")
            total.update(f"\0{name} {little_endian.shape}\0".encode())
            total.update(little_endian.tobytes())
        return total.hexdigest()

    def tensors(self) -> dict[str, Embeddings]:
        """Return the arrays of both heads by name; those of queries where they have their own."""
        heads = {"documents": self.documents}
        if self.two_heads:
            heads["queries"] = self.queries
        return {
            f"{kind}.{name}": array
            for kind, head in heads.items()
            for name, array in head.arrays().items()
        }

    def matrix(self) -> Embeddings:
        """Return the one matrix that it is, [full_dim, full_dim]: row vectors @ matrix.

        Raises:
            InvalidArgument: If it is not one matrix.
        """
        if not self.documents.linear or self.two_heads:
            why = "has a head of its own for queries" if self.two_heads else "is not linear"
            out = "fit with linear, or put it behind the model (--adapter)"
            raise InvalidArgument(f"the adapter {why}, so it is not one matrix: {out}")
        return self.documents.matrix

    def check_base(self, info: ModelInfo) -> None:
        """Refuse a model that it was not fitted for.

        Raises:
            ModelMismatch: If its vectors are others than those that it was fitted on.
        """
        if info.full_dim != self.full_dim:
            widths = f"{info.full_dim} dims, the adapter is for {self.full_dim}"
            raise ModelMismatch(f"{info.name} has {widths}: fit one on its vectors")
        if info.adapter:
            raise ModelMismatch(f"{info.name} is adapted already: name what it was made of")
        if info.layer_norm != self.layer_norm:
            which = "the model, but not the adapter," if info.layer_norm else "the adapter alone"
            raise ModelMismatch(f"{info.name}: {which} layer-normalizes: fit one on that model")
        if self.base and info.fingerprint != self.base:
            raise ModelMismatch(
                f"{info.name} is not the model that the adapter was fitted on ({self.base_name}): "
                "fit one on its vectors"
            )


def adapted_info(info: ModelInfo, adapter: Adapter) -> ModelInfo:
    """Describe a model behind an adapter: another model, whose vectors mix with no others.

    Raises:
        ModelMismatch: If the adapter is not for this model.
    """
    adapter.check_base(info)
    if adapter.method == "none":
        return info
    digest = adapter.digest()
    dims = tuple(sorted({*adapter.dims, info.full_dim}, reverse=True))
    asked = info.dims_source == "asked for"
    return replace(
        info,
        fingerprint=hashlib.sha256(f"{info.fingerprint} {digest}".encode()).hexdigest(),
        dims=info.dims if asked else dims,
        dims_source=info.dims_source if asked else "adapter",
        dims_trained=set(info.dims) <= set(dims) if asked else True,
        layer_norm=False,  # done before it
        adapter=digest,
    )
