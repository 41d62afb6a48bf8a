"""Train a static Matryoshka model: a table of token vectors, a text is their mean.

Texts are tokenized once. A step touches only the rows of the tokens in its batch: forward and
backward are products with a sparse matrix of token shares, and the optimizer (Adam) updates those
rows alone, where ``EmbeddingBag`` would go over the whole table. Threads share out the lines of the
batch and the rows of the table (``workers``). Negatives that come with the pairs
are not used: each pair sees the other positives of its batch.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument, NestvecError, require
from nestvec.models.static import token_counts
from nestvec.train.objective import Objective, Prefixes, Ranking, StraightThrough
from nestvec.train.regularized import regularized_ranking_loss
from nestvec.train.row_adam import RowAdam, Workers, start_workers
from nestvec.train.tokenizer import row_count, train_tokenizer
from nestvec.types import Embeddings, OnProgress, Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_logger = logging.getLogger(__name__)
_WARM_UP_SHARE = 0.1
_LEAST_LINES = 512  # of a worker; each goes over all candidates once more


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
        bfloat16: Multiply matrices in bfloat16: faster where the processor can (avx512_bf16, amx).
        weights: What each of ``dims`` counts, in the same order; none for 1 each.
        teach: Weight of what narrow prefixes learn from the widest one's ranking.
        random_dims: Further widths that each step draws and trains.
        straight_through: Codes of the positives that are ranked as well, "int8" or "binary".
        orthogonality: Weight of the squared correlations between dims; of all five, see
            ``objective``.
    """

    dims: tuple[int, ...] = (512, 256, 128, 64, 32)
    vocab_size: int = 32_000
    epochs: int = 10
    batch_size: int = 512
    learning_rate: float = 0.4
    scale: float = 20.0
    max_tokens: int = 256
    seed: int = 0
    bfloat16: bool = False
    weights: tuple[float, ...] = ()
    teach: float = 0.0
    random_dims: int = 0
    straight_through: StraightThrough | None = None
    orthogonality: float = 0.0

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        for name in ("epochs", "vocab_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} {getattr(self, name)} < 1")
        if self.batch_size < 2:
            raise InvalidArgument(
                f"batch_size {self.batch_size} < 2: a pair needs others beside it"
            )
        if not 0 < self.learning_rate < math.inf:
            raise InvalidArgument(f"learning_rate {self.learning_rate} is not above 0 and finite")
        self.objective()  # checks the rest

    def objective(self) -> Objective:
        """Return what is asked of a batch.

        Raises:
            InvalidArgument: If a setting of it is out of range or unknown.
        """
        return Objective(
            Prefixes(self.dims, self.weights),
            Ranking(self.scale, teach=self.teach, bfloat16=self.bfloat16),
            self.random_dims,
            self.straight_through,
            self.orthogonality,
        )


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
class TokenizedPairs:
    """Pairs as token shares, so that models that differ in dims only tokenize once.

    Attributes:
        tokenizer: A ``tokenizers.Tokenizer``.
        anchors: Each text's tokens, shared out to sum to 1, sparse [n, vocab].
        positives: The same.
    """

    tokenizer: Any
    anchors: csr_array
    positives: csr_array


def tokenize(
    pairs: TrainingPairs, config: StaticConfig, *, tokenizer: Any = None
) -> TokenizedPairs:
    """Tokenize the pairs.

    Args:
        pairs: The texts.
        config: How to train.
        tokenizer: A ``tokenizers.Tokenizer``, whose padding is turned off; without one, it is
            trained on the pairs.
    """
    if tokenizer is None:
        texts = [*pairs.anchors, *pairs.positives]
        tokenizer = train_tokenizer(texts, vocab_size=config.vocab_size)
    tokenizer.no_padding()
    anchors, positives = (
        _shares(tokenizer, texts, config.max_tokens) for texts in (pairs.anchors, pairs.positives)
    )
    return TokenizedPairs(tokenizer, anchors, positives)


def _shares(tokenizer: Any, texts: list[str], max_tokens: int) -> csr_array:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    token_ids = [encoding.ids[:max_tokens] for encoding in encodings]
    shares = token_counts(token_ids, row_count(tokenizer))
    shares.data /= np.repeat(np.diff(shares.indptr), np.diff(shares.indptr))
    shares.sum_duplicates()
    return shares


def train_static(
    pairs: TokenizedPairs,
    config: StaticConfig,
    *,
    start: Embeddings | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> StaticModel:
    """Train a token table on pairs.

    Args:
        pairs: What ``tokenize`` gave.
        config: How. A batch larger than the pairs shrinks to them.
        start: A table to start from, [vocab, at least max(dims)], whose tokenizer the pairs were
            tokenized with; its first dims are taken. Without one, vectors are random.
        on_progress: Called with steps done and in total.

    Raises:
        InvalidArgument: If there are fewer than 2 pairs, or the table does not fit or has no scale.
        MissingExtra: If torch is not installed.
        NestvecError: If the loss turns NaN or infinite.
    """
    n = pairs.anchors.shape[0]
    if n < 2:
        raise InvalidArgument(f"{n} pairs < 2: a pair needs others beside it")
    require("torch", extra="train")
    from scipy.sparse import vstack

    rng = np.random.default_rng(config.seed)
    optimizer = RowAdam(_first_table(start, pairs.anchors.shape[1], config, rng))
    batch_size = min(config.batch_size, n)
    if batch_size < config.batch_size:
        _logger.warning("batch_size %d > %d pairs, all in one batch", config.batch_size, n)
    steps = config.epochs * (n // batch_size)
    objective, widths = config.objective(), rng.spawn(1)[0]
    losses = []
    with start_workers() as workers:
        for step, chosen in enumerate(_batches(n, batch_size, steps, rng)):
            texts = vstack([pairs.anchors[chosen], pairs.positives[chosen]], format="csr")
            result = _lose(texts, optimizer.table, objective, workers, drawn=objective.draw(widths))
            if not np.isfinite(result.losses).all():
                problem = f"the loss is not finite at step {step + 1} of {steps}"
                raise NestvecError(f"{problem}: lower learning_rate {config.learning_rate:g}")
            rate = config.learning_rate * _schedule(step, steps)
            optimizer.step(texts.T.tocsr(), result.gradient, rate, workers)
            losses.append(result.losses)
            on_progress(step + 1, steps)
    last_epoch = np.mean(losses[-(n // batch_size) :], axis=0)
    return StaticModel(
        pairs.tokenizer,
        optimizer.table,
        dict(zip(sorted(config.dims), last_epoch.tolist(), strict=True)),
    )


class _Loss(NamedTuple):
    """What a batch says.

    Attributes:
        losses: Of each prefix, narrowest first, [n_dims].
        gradient: Of the texts' vectors, [2 * batch, dim].
    """

    losses: NDArray[np.float32]
    gradient: Embeddings


def _lose(
    texts: csr_array,
    table: Embeddings,
    objective: Objective,
    workers: Workers,
    *,
    drawn: tuple[int, ...] = (),
) -> _Loss:
    """Compute the loss of a batch.

    Args:
        texts: Token shares of the anchors, then of their positives, [2 * batch, vocab].
        table: [vocab, dim].
        objective: What is asked of it.
        workers: Each embeds a part of the texts, then ranks a part of the anchors.
        drawn: Further widths of this step.
    """
    import torch

    embedded = workers.map(lambda part: texts[part] @ table, texts.shape[0], least=_LEAST_LINES)
    anchors, positives = torch.from_numpy(np.concatenate(embedded)).chunk(2)

    def rank(lines: slice) -> list[NDArray[np.float32]]:
        found = regularized_ranking_loss(anchors, positives, objective, drawn=drawn, lines=lines)
        share = (lines.stop - lines.start) / len(anchors)
        return [each.mul_(share).numpy() for each in found]

    ranked = workers.map(rank, len(anchors), least=_LEAST_LINES)
    losses, _, *gradients = (reduce(np.add, parts) for parts in zip(*ranked, strict=True))
    return _Loss(losses, np.concatenate(gradients))


def _first_table(
    start: Embeddings | None, vocab: int, config: StaticConfig, rng: np.random.Generator
) -> Embeddings:
    """Return a table of unit variance, which learning rates are made for: cosines have no scale."""
    dim = max(config.dims)
    if start is None:
        return rng.standard_normal((vocab, dim), dtype=np.float32)
    if start.ndim != 2 or len(start) != vocab or start.shape[1] < dim:
        fits = f"[{vocab}, at least {dim}]: the tokenizer's tokens, the widest of dims"
        raise InvalidArgument(f"a table of shape {list(start.shape)} to start from is not {fits}")
    taken = start[:, :dim].astype(np.float32)
    scale = float(np.sqrt(np.mean(taken * taken, dtype=np.float64)))
    if not 0 < scale < math.inf:
        raise InvalidArgument("the table to start from is all zeros, or holds NaN or infinity")
    taken /= scale
    return taken


def _batches(n: int, size: int, steps: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield ``steps`` batches of positions, each position at most once in an epoch."""
    per_epoch = n // size
    for step in range(steps):
        if step % per_epoch == 0:
            order = rng.permutation(n)
        start = step % per_epoch * size
        yield order[start : start + size]


def _schedule(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then linear decay to 0."""
    warm_up = max(1, math.ceil(steps * _WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return (steps - step) / max(1, steps - warm_up)
