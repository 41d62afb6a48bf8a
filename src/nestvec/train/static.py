"""Train a static Matryoshka model from scratch: a table of token vectors, a text is their mean.

Texts are tokenised once. A step touches only the rows of the tokens in its batch: forward and
backward are products with a sparse matrix of token shares, and the optimiser (Adam) updates those
rows alone, where ``EmbeddingBag`` would go over the whole table. Negatives that come with the pairs
are not used: each pair sees the other positives of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestvec.data.pairs import TrainingPairs
from nestvec.errors import InvalidArgument, NestvecError, require
from nestvec.models.static import token_counts
from nestvec.train.nested import nested_ranking_loss
from nestvec.train.objective import Prefixes, Ranking
from nestvec.train.tokenizer import train_tokenizer
from nestvec.types import Embeddings, OnProgress, Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults
_WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class StaticConfig:
    """How to train a static model.

    Attributes:
        dims: Widths trained for; the widest is the model's. One width trains a plain model.
        vocab_size: Tokens at most.
        epochs: Passes over the pairs.
        batch_size: Pairs of a step; each sees the others' positives as negatives.
        learning_rate: Peak, after a linear warm-up and before a linear decay to 0.
        scale: Inverse temperature of the loss.
        max_tokens: Longer texts are cut in training (not when the model is used).
        seed: Of the initial table and the order of pairs.
    """

    dims: tuple[int, ...] = (512, 256, 128, 64, 32)
    vocab_size: int = 32_000
    epochs: int = 10
    batch_size: int = 512
    learning_rate: float = 0.4
    scale: float = 20.0
    max_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if not self.dims or min(self.dims) < 1 or len(set(self.dims)) < len(self.dims):
            raise InvalidArgument(f"dims {self.dims} need distinct widths of at least 1")
        for name in ("epochs", "vocab_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} {getattr(self, name)} < 1")
        if self.batch_size < 2:
            raise InvalidArgument(
                f"batch_size {self.batch_size} < 2: a pair needs others beside it"
            )
        for name in ("learning_rate", "scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidArgument(f"{name} {getattr(self, name)} is not above 0 and finite")


@dataclass(frozen=True)
class StaticModel:
    """What training gives.

    Attributes:
        tokenizer: A ``tokenizers.Tokenizer``.
        table: One vector for each token, [vocab, max(dims)].
        losses: Mean loss of the last epoch at each dim, narrowest first.
    """

    tokenizer: Any
    table: Embeddings
    losses: dict[int, float]


@dataclass(frozen=True)
class TokenisedPairs:
    """Pairs as token shares, so that models that differ in dims only tokenise once.

    Attributes:
        tokenizer: A ``tokenizers.Tokenizer``.
        anchors: Each text's tokens, shared out to sum to 1, sparse [n, vocab].
        positives: The same.
    """

    tokenizer: Any
    anchors: csr_array
    positives: csr_array


def tokenise(pairs: TrainingPairs, config: StaticConfig) -> TokenisedPairs:
    """Train a tokenizer on the pairs and tokenise them with it."""
    tokenizer = train_tokenizer([*pairs.anchors, *pairs.positives], vocab_size=config.vocab_size)
    anchors, positives = (
        _shares(tokenizer, texts, config.max_tokens) for texts in (pairs.anchors, pairs.positives)
    )
    return TokenisedPairs(tokenizer, anchors, positives)


def _shares(tokenizer: Any, texts: list[str], max_tokens: int) -> csr_array:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    token_ids = [encoding.ids[:max_tokens] for encoding in encodings]
    shares = token_counts(token_ids, tokenizer.get_vocab_size())
    shares.data /= np.repeat(np.diff(shares.indptr), np.diff(shares.indptr))
    shares.sum_duplicates()
    return shares


def train_static(
    pairs: TokenisedPairs,
    config: StaticConfig,
    *,
    on_progress: OnProgress = lambda done, total: None,
) -> StaticModel:
    """Train a token table on pairs, from random vectors.

    Args:
        pairs: What ``tokenise`` gave.
        config: How. A batch larger than the pairs shrinks to them.
        on_progress: Called with steps done and in total.

    Raises:
        InvalidArgument: If there are fewer than 2 pairs.
        MissingExtra: If torch is not installed.
        NestvecError: If the loss turns NaN or infinite.
    """
    n = pairs.anchors.shape[0]
    if n < 2:
        raise InvalidArgument(f"{n} pairs < 2: a pair needs others beside it")
    torch = require("torch", extra="train")
    dims = sorted(config.dims)
    rng = np.random.default_rng(config.seed)
    vocab = pairs.tokenizer.get_vocab_size()
    optimiser = _RowAdam(rng.standard_normal((vocab, dims[-1]), dtype=np.float32))
    batch_size = min(config.batch_size, n)
    steps = config.epochs * (n // batch_size)
    losses = []
    for step, chosen in enumerate(_batches(n, batch_size, steps, rng)):
        tokens, (anchors, positives) = _compact(pairs.anchors[chosen], pairs.positives[chosen])
        vectors = optimiser.rows(tokens)
        with _one_thread():
            result = nested_ranking_loss(
                torch.from_numpy(anchors @ vectors),
                torch.from_numpy(positives @ vectors),
                Prefixes(config.dims),
                Ranking(config.scale),
            )
        if not torch.isfinite(result.losses).all():
            problem = f"the loss is not finite at step {step + 1} of {steps}"
            raise NestvecError(f"{problem}: lower learning_rate {config.learning_rate:g}")
        gradient = anchors.T @ result.anchors.numpy() + positives.T @ result.candidates.numpy()
        optimiser.step(tokens, gradient, config.learning_rate * _schedule(step, steps))
        losses.append(result.losses.numpy())
        on_progress(step + 1, steps)
    last_epoch = np.mean(losses[-(n // batch_size) :], axis=0)
    return StaticModel(
        pairs.tokenizer, optimiser.table, dict(zip(dims, last_epoch.tolist(), strict=True))
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread of PyTorch.

    Most of a step is NumPy's and SciPy's. PyTorch's other threads would spin meanwhile: no gain
    where cores are free, and many times slower where they are busy.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _batches(n: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield ``steps`` batches of positions, each position at most once in an epoch."""
    per_epoch = n // size
    for step in range(steps):
        if step % per_epoch == 0:
            order = rng.permutation(n)
        start = step % per_epoch * size
        yield order[start : start + size]


def _compact(*shares: csr_array) -> tuple[Rows, list[csr_array]]:
    """Leave out the columns of tokens that stand in none of the texts.

    Returns:
        The tokens that do, ascending, and the matrices over these alone.
    """
    from scipy.sparse import csr_array

    seen = np.zeros(shares[0].shape[1], dtype=bool)
    for each in shares:
        seen[each.indices] = True
    tokens = np.flatnonzero(seen)
    position = np.cumsum(seen) - 1
    return tokens, [
        csr_array(
            (each.data, position[each.indices], each.indptr), shape=(each.shape[0], len(tokens))
        )
        for each in shares
    ]


def _schedule(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then linear decay to 0."""
    warm_up = max(1, math.ceil(steps * _WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return (steps - step) / max(1, steps - warm_up)


class _RowAdam:
    """Adam (Kingma and Ba 2015) that reads and writes only the rows of a step.

    Moments of other rows stand still, as in PyTorch's ``SparseAdam``.
    """

    def __init__(self, table: Embeddings) -> None:
        self.table = table
        self._first = np.zeros_like(table)
        self._second = np.zeros_like(table)
        self._steps = 0

    def rows(self, tokens: Rows) -> Embeddings:
        return self.table[tokens]

    def step(self, tokens: Rows, gradient: Embeddings, learning_rate: float) -> None:
        self._steps += 1
        first = self._first[tokens]
        first += (1 - _BETA1) * (gradient - first)
        self._first[tokens] = first
        second = self._second[tokens]
        second += (1 - _BETA2) * (gradient * gradient - second)
        self._second[tokens] = second
        unbias_first, unbias_second = 1 - _BETA1**self._steps, 1 - _BETA2**self._steps
        np.sqrt(second / unbias_second, out=second)
        second += _EPSILON
        self.table[tokens] -= learning_rate / unbias_first * (first / second)
