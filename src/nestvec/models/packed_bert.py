"""Compute BERT models on a CPU without padding, with weights in the layout of oneDNN.

The tokens of all texts of a batch form one matrix, so linear layers compute no padding. Attention
is computed for groups of texts of similar length. The weights are reordered once for oneDNN;
PyTorch would pass them to MKL, which is slower on some processors, or reorder them at each call.
With bfloat16, only the products with weights are rounded to bfloat16: sums, normalization and
attention use float32, so the vectors are closer to those of float32 than with the library.

The weights are copied: later changes of the library's model have no effect.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nestvec.types import Embeddings

if TYPE_CHECKING:
    from torch import Tensor

_TYPES = ("BertModel", "RobertaModel", "XLMRobertaModel", "CamembertModel")
_AFTER = {"Dense", "Normalize", "LayerNorm", "Dropout"}
_SIMILAR = 0.5  # the shortest text of a group has at least this share of the longest
_STEP = 16  # the number of tokens is rounded up, because oneDNN prepares code for each number
_MASKED = -1e30
_logger = logging.getLogger(__name__)

TokenIds = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True)
class _Linear:
    """A linear layer with reordered weights."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, weights: Sequence[Tensor], biases: Sequence[Tensor], dtype: Any) -> _Linear:
        """Join and reorder the weights of layers that have the same input."""
        import torch

        joined = torch.cat([each.detach() for each in weights]).to(dtype).contiguous()
        reordered = torch.ops.mkldnn._reorder_linear_weight(joined, 8 * _STEP)
        return cls(reordered, torch.cat([each.detach() for each in biases]).to(dtype))

    def __call__(self, tokens: Tensor, activation: str = "none") -> Tensor:
        """Return the output for tokens, [n, width]."""
        import torch

        algorithm = "none" if activation == "gelu" else ""  # GELU by the error function
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            tokens.to(self.bias.dtype), self.weight, self.bias, activation, [], algorithm
        )
        return product


@dataclass(frozen=True)
class _Norm:
    """A layer normalization in float32."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> _Norm:
        return cls(module.weight.detach().float(), module.bias.detach().float(), module.eps)

    def __call__(self, tokens: Tensor) -> Tensor:
        import torch

        width = tuple(self.weight.shape)
        return torch.nn.functional.layer_norm(tokens, width, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True)
class _Layer:
    """The weights of one layer."""

    heads: int
    projection: _Linear  # queries, keys and values
    output: _Linear
    after_attention: _Norm
    inner: _Linear
    outer: _Linear
    after_outer: _Norm

    @classmethod
    def of(cls, layer: Any, heads: int, dtype: Any) -> _Layer:
        own, output = layer.attention.self, layer.attention.output
        # Scale the queries here rather than each score.
        scale = (own.query.out_features // heads) ** -0.5
        weights = [own.query.weight.float() * scale, own.key.weight, own.value.weight]
        biases = [own.query.bias.float() * scale, own.key.bias, own.value.bias]
        inner, outer = layer.intermediate.dense, layer.output.dense
        return cls(
            heads,
            _Linear.of([each.float() for each in weights], biases, dtype),
            _Linear.of([output.dense.weight], [output.dense.bias], dtype),
            _Norm.of(output.LayerNorm),
            _Linear.of([inner.weight], [inner.bias], dtype),
            _Linear.of([outer.weight], [outer.bias], dtype),
            _Norm.of(layer.output.LayerNorm),
        )

    def __call__(self, tokens: Tensor, attended: Tensor, groups: Sequence[_Group]) -> Tensor:
        """Return the output for tokens, [n, width]; ``attended`` is a buffer of this shape."""
        projected = self.projection(tokens).float()
        for group in groups:
            attended[group.first : group.last] = group.attention(projected, self.heads)
        tokens = self.after_attention(self.output(attended) + tokens)
        return self.after_outer(self.outer(self.inner(tokens, "gelu")) + tokens)


@dataclass(frozen=True)
class _Group:
    """Texts of similar length, whose attention is computed together.

    Attributes:
        first, last: The range of their tokens.
        n: Number of texts.
        length: Number of tokens of the longest text.
        places: Place of each token in the padded group; None if all texts have equal length.
        mask: Added to the scores, [n, 1, 1, length]; None if all texts have equal length.
    """

    first: int
    last: int
    n: int
    length: int
    places: Tensor | None
    mask: Tensor | None

    @classmethod
    def of(cls, first: int, lengths: NDArray[np.int64]) -> _Group:
        import torch

        n, length, last = len(lengths), int(lengths[-1]), first + int(lengths.sum())
        if lengths[0] == length:
            return cls(first, last, n, length, None, None)
        used = np.arange(length) < lengths[:, None]
        mask = np.where(used, np.float32(0), np.float32(_MASKED)).reshape(n, 1, 1, length)
        places = torch.from_numpy(np.flatnonzero(used))
        return cls(first, last, n, length, places, torch.from_numpy(mask))

    def attention(self, projected: Tensor, heads: int) -> Tensor:
        """Return the weighted values of the group's tokens, [last - first, width]."""
        import torch

        own = projected[self.first : self.last]
        if self.places is not None:
            padded = own.new_zeros(self.n * self.length, own.shape[1])
            padded[self.places] = own
            own = padded
        width = own.shape[1] // 3
        shape = (self.n, self.length, 3, heads, width // heads)
        queries, keys, values = own.view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        scores = queries @ keys.transpose(-1, -2)
        if self.mask is not None:
            scores += self.mask
        found = (torch.softmax(scores, -1) @ values).transpose(1, 2)
        flat = found.reshape(self.n * self.length, width)
        return flat if self.places is None else flat[self.places]


class PackedBert:
    """The layers of a model, its pooling, and the modules after the pooling."""

    def __init__(self, library_model: Any, dtype: Any) -> None:
        """Copy and reorder the weights; ``dtype`` is that of the products with weights."""
        first, pooling, *after = library_model
        bert: Any = first.model
        embeddings, config = bert.embeddings, bert.config
        shift = 0 if type(bert).__name__ == "BertModel" else int(embeddings.padding_idx) + 1
        positions = embeddings.position_embeddings.weight.detach().float()[shift:]
        self._positions = positions + embeddings.token_type_embeddings.weight.detach().float()[0]
        self._words = embeddings.word_embeddings.weight.detach()
        self._norm = _Norm.of(embeddings.LayerNorm)
        heads = config.num_attention_heads
        self._layers = [_Layer.of(each, heads, dtype) for each in bert.encoder.layer]
        self._mean = pooling.pooling_mode == "mean"
        self._after = after

    def encode(self, ids: Sequence[TokenIds]) -> Embeddings:
        """Return the vectors of texts, [n, dim], each of at least one token."""
        import torch

        lengths = np.array([len(each) for each in ids], dtype=np.int64)
        order = np.argsort(lengths, kind="stable")
        joined = np.concatenate([np.asarray(ids[row], dtype=np.int64) for row in order])
        with torch.inference_mode():
            pooled = self._pooled(torch.from_numpy(joined), lengths[order])
            finished = self._finished(pooled).float().numpy()
        embeddings = np.empty_like(finished)
        embeddings[order] = finished
        return embeddings

    def _pooled(self, ids: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        import torch

        starts, n = np.cumsum(lengths) - lengths, len(ids)
        positions = torch.from_numpy(np.arange(n) - np.repeat(starts, lengths))
        words = self._words[ids].float() + self._positions[positions]
        tokens = words.new_zeros(-(-n // _STEP) * _STEP, words.shape[1])
        tokens[:n] = self._norm(words)
        groups, attended = _groups(lengths), torch.zeros_like(tokens)
        for layer in self._layers:
            tokens = layer(tokens, attended, groups)
        if not self._mean:
            firsts: Tensor = tokens[torch.from_numpy(starts)]
            return firsts
        sizes = torch.from_numpy(lengths)
        means: Tensor = torch.segment_reduce(tokens[:n], "mean", lengths=sizes)
        return means

    def _finished(self, pooled: Tensor) -> Tensor:
        features: Any = {"sentence_embedding": pooled}
        for module in self._after:
            parameter = next(module.parameters(), None)
            if parameter is not None:
                pooled = features["sentence_embedding"].to(parameter.dtype)
                features["sentence_embedding"] = pooled
            features = module(features)
        finished: Tensor = features["sentence_embedding"]
        return finished


def _groups(lengths: NDArray[np.int64]) -> list[_Group]:
    """Split texts, the shortest first, into groups of similar length."""
    groups, start, first = list[_Group](), 0, 0
    while start < len(lengths):
        end = int(np.searchsorted(lengths, lengths[start] / _SIMILAR, side="right"))
        group = _Group.of(first, lengths[start:end])
        groups.append(group)
        start, first = end, group.last
    return groups


def pack(library_model: Any, dtype: str) -> PackedBert | None:
    """Return a model without padding, or None if the model or the processor is not supported.

    Args:
        library_model: A ``SentenceTransformer`` for which ``exposes_tokens`` is true.
        dtype: "float32" or "bfloat16".
    """
    import torch

    if not _is_supported(library_model):
        return None
    try:
        return PackedBert(library_model, getattr(torch, dtype))
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        # A build of PyTorch without oneDNN, a processor without this data type, or a subclass.
        _logger.info("the weights were not reordered: %s", type(error).__name__)
        return None


def _is_supported(library_model: Any) -> bool:
    first, *others = library_model
    bert = first.model
    if not others or type(others[0]).__name__ != "Pooling" or type(bert).__name__ not in _TYPES:
        return False
    config = bert.config
    plain = (
        library_model.device.type == "cpu"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", None) in (None, "absolute")
        and not getattr(config, "is_decoder", False)
    )
    rest = {type(module).__name__ for module in others[1:]}
    return plain and others[0].pooling_mode in ("mean", "cls") and rest <= _AFTER
