"""Tokenized pairs for the training of static models, and their batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nestvec.data.training import TrainingPairs
from nestvec.models.static import token_counts
from nestvec.train.objective import NO_RELATIONS, Relations
from nestvec.train.tokenizer import row_count
from nestvec.types import Rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizedPairs:
    """Tokenized pairs, which several models with the same tokenizer can be trained on.

    Attributes:
        tokenizer: A ``tokenizers.Tokenizer``.
        anchors: Share of each token in each anchor, sparse [n, vocab]; rows sum to 1.
        positives: Share of each token in each positive, sparse [n, vocab].
        negatives: Share of each token in each negative, sparse [n_negatives, vocab], in the order
            of the pairs.
        offsets: Row of the first negative of each pair, then the number of negatives, [n + 1].
        keys: A number for the tokens of each text of anchors, positives and negatives. Texts of
            equal tokens have equal numbers.
    """

    tokenizer: Any
    anchors: csr_array
    positives: csr_array
    negatives: csr_array
    offsets: Rows
    keys: tuple[Rows, ...]

    @property
    def has_contrast(self) -> bool:
        """Whether a pair can have a text to be ranked against, in a batch of all pairs."""
        anchors, positives, negatives = (len(np.unique(each)) for each in self.keys)
        return negatives > 0 or min(anchors, positives) > 1

    def batch(self, rows: Rows) -> TokenizedBatch:
        """Return the texts of some pairs."""
        from scipy.sparse import vstack

        anchors, positives, negatives = self.keys
        counts = self.offsets[rows + 1] - self.offsets[rows]
        before = np.cumsum(counts) - counts
        own = np.arange(counts.sum()) + np.repeat(self.offsets[rows] - before, counts)
        texts = [self.anchors[rows], self.positives[rows]]
        if len(own):
            texts.append(self.negatives[own])
        candidates = np.concatenate([positives[rows], negatives[own]])
        return TokenizedBatch(vstack(texts, format="csr"), anchors[rows], candidates)


class TokenizedBatch(NamedTuple):
    """Texts of a batch.

    Attributes:
        texts: Token shares of the anchors, of their positives, and of all negatives, sparse
            [n_texts, vocab].
        anchors: Keys of the anchors, [n].
        candidates: Keys of positives and negatives, [n_texts - n].
    """

    texts: csr_array
    anchors: Rows
    candidates: Rows

    def relations(self) -> Relations:
        """Return the equal texts, which are not negatives of each other."""
        import torch

        keys = np.concatenate([self.anchors, self.candidates])
        if len(np.unique(keys)) == len(keys):
            return NO_RELATIONS
        return Relations(torch.from_numpy(self.anchors), torch.from_numpy(self.candidates))


def tokenize_pairs(pairs: TrainingPairs, tokenizer: Any, *, max_tokens: int) -> TokenizedPairs:
    """Tokenize pairs with a ``tokenizers.Tokenizer``, whose padding is disabled.

    Longer texts than ``max_tokens`` are truncated, with a warning.
    """
    tokenizer.no_padding()
    negatives = [text for each in pairs.negatives for text in each]
    columns = [_tokenize(tokenizer, each) for each in (pairs.anchors, pairs.positives, negatives)]
    every = list(chain(*columns))
    n_longer = sum(len(tokens) > max_tokens for tokens in every)
    if n_longer:
        message = "truncated in training: %d of %d texts with more than max_tokens=%d tokens"
        _logger.warning(message, n_longer, len(every), max_tokens)
    n_empty = sum(not tokens for tokens in every)
    if n_empty:
        message = "without effect in training: %d of %d texts, which have no token"
        _logger.warning(message, n_empty, len(every))
    columns = [[tokens[:max_tokens] for tokens in column] for column in columns]
    numbers = {tokens: number for number, tokens in enumerate(dict.fromkeys(chain(*columns)))}
    keys = [np.array([numbers[tokens] for tokens in each], dtype=np.int64) for each in columns]
    shares = [_shares(each, row_count(tokenizer)) for each in columns]
    offsets = np.cumsum([0, *map(len, pairs.negatives)], dtype=np.int64)
    return TokenizedPairs(tokenizer, shares[0], shares[1], shares[2], offsets, tuple(keys))


def _tokenize(tokenizer: Any, texts: Sequence[str]) -> list[tuple[int, ...]]:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [tuple(encoding.ids) for encoding in encodings]


def _shares(token_ids: Sequence[Sequence[int]], vocabulary: int) -> csr_array:
    shares = token_counts(token_ids, vocabulary)
    shares.data /= np.repeat(np.diff(shares.indptr), np.diff(shares.indptr))
    shares.sum_duplicates()
    return shares
