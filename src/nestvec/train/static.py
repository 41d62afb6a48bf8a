"""Train a static Matryoshka model: a table of token vectors; the vector of a text is their mean.

Texts are tokenized once. A step reads and writes only the table rows of the tokens in its batch:
forward and backward passes are products with a sparse matrix of token shares, and Adam updates only
these rows. ``EmbeddingBag`` would process the whole table. Threads split the rows of the batch and
of the table. The negatives of a pair are the other positives of its batch and the negatives that
the data contain for any pair of the batch, except texts equal to its anchor or positive.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.data.training import TrainingPairs
from nestvec.errors import InvalidArgument, NestvecError, check_least, require
from nestvec.train.batches import check_batch_size, count_batches, split_epoch
from nestvec.train.objective import Objective, Prefixes, Ranking, StraightThrough
from nestvec.train.regularized import regularized_ranking_loss
from nestvec.train.row_adam import RowAdam, Workers, start_workers
from nestvec.train.tokenized import TokenizedBatch, TokenizedPairs, tokenize_pairs
from nestvec.train.tokenizer import train_tokenizer
from nestvec.types import Embeddings, OnProgress, Rows

_logger = logging.getLogger(__name__)
_WARM_UP_SHARE = 0.1
_MIN_ROWS = 512  # per worker; each worker reads all candidates again


@dataclass(frozen=True)
class StaticConfig:
    """Settings of the training of a static model.

    Attributes:
        dims: Trained widths; the largest is the width of the model. A single width trains a model
            without Matryoshka.
        vocab_size: Maximum vocabulary size.
        epochs: Passes over the pairs.
        batch_size: Maximum pairs per step. An epoch is divided into batches of nearly equal size.
            The positives of other pairs in the batch are negatives.
        learning_rate: Peak learning rate, between a linear warm-up and a linear decay to 0.
        scale: Inverse temperature of the loss.
        max_tokens: Longer texts are truncated in training, but not when the model encodes.
        seed: Seed of the initial table and of the order of pairs.
        bfloat16: Multiply matrices in bfloat16, which is faster on processors with avx512_bf16 or
            amx.
        weights: Loss weight of each of ``dims``, in the same order; if empty, all are 1.
        teach: Weight of the distillation of the full-width ranking into the prefixes.
        random_dims: Additional widths to draw and train at each step.
        straight_through: Also rank codes of the positives, "int8" or "binary".
        orthogonality: Weight of the squared correlations between dims. ``objective.Objective`` and
            ``objective.Ranking`` describe this and the four settings before.
        max_negatives: Maximum number of negatives of the data that are used for a pair, in their
            order; each one costs as much as a positive.
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
    max_negatives: int = 10

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        check_least(self, epochs=1, vocab_size=1, max_tokens=1, max_negatives=0)
        check_batch_size(self.batch_size)
        if not 0 < self.learning_rate < math.inf:
            problem = f"learning_rate={self.learning_rate} is out of range."
            raise InvalidArgument(f"{problem} Choose a finite value greater than 0.")
        self.objective()  # checks the other settings

    def objective(self) -> Objective:
        """Return the settings of the loss.

        Raises:
            InvalidArgument: If one of these settings is out of range or unknown.
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
    """A trained static model.

    Attributes:
        tokenizer: A ``tokenizers.Tokenizer``.
        table: Vector of each token, [vocab, max(dims)].
        losses: Mean loss of the last epoch at each dim, narrowest first.
    """

    tokenizer: Any
    table: Embeddings
    losses: dict[int, float]


def tokenize(
    pairs: TrainingPairs, config: StaticConfig, *, tokenizer: Any = None
) -> TokenizedPairs:
    """Tokenize the pairs, with at most ``config.max_negatives`` negatives of each.

    Args:
        pairs: The texts.
        config: Settings of training.
        tokenizer: A ``tokenizers.Tokenizer``, whose padding is disabled. None trains a tokenizer on
            the pairs.
    """
    pairs = pairs.limit_negatives(config.max_negatives, name="pairs")
    if tokenizer is None:
        texts = [*pairs.anchors, *pairs.positives, *chain(*pairs.negatives)]
        tokenizer = train_tokenizer(texts, vocab_size=config.vocab_size)
    return tokenize_pairs(pairs, tokenizer, max_tokens=config.max_tokens)


def train_static(
    pairs: TokenizedPairs,
    config: StaticConfig,
    *,
    start: Embeddings | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> StaticModel:
    """Train a token table on pairs.

    Args:
        pairs: Pairs, as returned by ``tokenize``.
        config: Settings. The batch size is limited to the number of pairs.
        start: Initial table, [vocab, at least max(dims)], for the tokenizer of the pairs. Its first
            max(dims) dims are used. None starts from random vectors.
        on_progress: Called with the steps done and their total.

    Raises:
        InvalidArgument: If there are fewer than 2 pairs, no pair has a text to be ranked against,
            or the initial table has another shape, is all zeros, or contains NaN or infinity.
        MissingExtra: If torch is not installed.
        NestvecError: If the loss becomes NaN or infinite.
    """
    n = pairs.anchors.shape[0]
    if n < 2:
        raise InvalidArgument(f"Training needs at least 2 pairs, but there are {n}. Add pairs.")
    if not pairs.has_contrast:
        limit = f"in their first {config.max_tokens} tokens (max_tokens)"
        problem = f"All pairs have the same anchor or positive {limit}, and no negatives."
        raise InvalidArgument(f"{problem} Add pairs with other texts.")
    require("torch", extra="train")
    rng = np.random.default_rng(config.seed)
    optimizer = RowAdam(_initial_table(start, pairs.anchors.shape[1], config, rng))
    if n < config.batch_size:
        message = "batch_size=%d is larger than the %d pairs, which form one batch"
        _logger.warning(message, config.batch_size, n)
    per_epoch = count_batches(n, config.batch_size)
    steps = config.epochs * per_epoch
    objective, widths = config.objective(), rng.spawn(1)[0]
    losses = []
    with start_workers() as workers:
        for step, rows in enumerate(_batches(n, config, rng)):
            batch = pairs.batch(rows)
            result = _compute_loss(
                batch, optimizer.table, objective, workers, drawn=objective.draw(widths)
            )
            if not np.isfinite(result.losses).all():
                problem = f"The loss is not finite at step {step + 1} of {steps}."
                raise NestvecError(f"{problem} Lower learning_rate={config.learning_rate:g}.")
            rate = config.learning_rate * _schedule(step, steps)
            optimizer.step(batch.texts.T.tocsr(), result.gradient, rate, workers)
            losses.append(result.losses)
            on_progress(step + 1, steps)
    last_epoch = np.mean(losses[-per_epoch:], axis=0)
    return StaticModel(
        pairs.tokenizer,
        optimizer.table,
        dict(zip(sorted(config.dims), last_epoch.tolist(), strict=True)),
    )


class _Loss(NamedTuple):
    """Losses and gradient of a batch.

    Attributes:
        losses: Loss of each prefix, narrowest first, [n_dims].
        gradient: Gradient by the vectors of the texts, [n_texts, dim].
    """

    losses: NDArray[np.float32]
    gradient: Embeddings


def _compute_loss(
    batch: TokenizedBatch,
    table: Embeddings,
    objective: Objective,
    workers: Workers,
    *,
    drawn: tuple[int, ...] = (),
) -> _Loss:
    """Compute the loss of a batch.

    Args:
        batch: The texts.
        table: Token vectors, [vocab, dim].
        objective: Settings of the loss.
        workers: Threads. Each embeds a part of the texts, then ranks a part of the anchors.
        drawn: Additional widths of this step.
    """
    import torch

    texts, n, relations = batch.texts, len(batch.anchors), batch.relations()
    embedded = workers.map(lambda part: texts[part] @ table, texts.shape[0], min_rows=_MIN_ROWS)
    vectors = torch.from_numpy(np.concatenate(embedded))
    anchors, candidates = vectors[:n], vectors[n:]

    def rank(rows: slice) -> list[NDArray[np.float32]]:
        found = regularized_ranking_loss(
            anchors, candidates, objective, drawn=drawn, relations=relations, rows=rows
        )
        share = (rows.stop - rows.start) / n
        return [each.mul_(share).numpy() for each in found]

    ranked = workers.map(rank, n, min_rows=_MIN_ROWS)
    losses, _, *gradients = (reduce(np.add, parts) for parts in zip(*ranked, strict=True))
    return _Loss(losses, np.concatenate(gradients))


def _initial_table(
    start: Embeddings | None, vocab: int, config: StaticConfig, rng: np.random.Generator
) -> Embeddings:
    """Return the initial table, scaled to unit variance.

    The scale does not change cosines, but the learning rate depends on it.
    """
    dim = max(config.dims)
    if start is None:
        return rng.standard_normal((vocab, dim), dtype=np.float32)
    if start.ndim != 2 or len(start) != vocab or start.shape[1] < dim:
        problem = f"The initial table has shape {list(start.shape)}."
        fits = f"[{vocab}, at least {dim}], for the tokenizer and the largest of dims"
        raise InvalidArgument(f"{problem} Pass a table of shape {fits}.")
    table = start[:, :dim].astype(np.float32)
    scale = float(np.sqrt(np.mean(table * table, dtype=np.float64)))
    if not 0 < scale < math.inf:
        problem = "The initial table is all zeros, or contains NaN or infinity."
        raise InvalidArgument(f"{problem} Start from another model.")
    table /= scale
    return table


def _batches(n: int, config: StaticConfig, rng: np.random.Generator) -> Iterator[Rows]:
    """Yield the rows of each batch. Each epoch uses every row once, in a new order."""
    for _ in range(config.epochs):
        yield from split_epoch(rng.permutation(n), config.batch_size)


def _schedule(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then linear decay to 0."""
    warm_up = max(1, math.ceil(steps * _WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    return (steps - step) / max(1, steps - warm_up)
