"""Batches of vectors that are near each other, and the loss of their order over nested prefixes.

What search must tell apart are the nearest vectors; of vectors drawn at random hardly two are near.
So a batch is made of seeds and the nearest of each, all scored against all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestvec.adapt.sample import Sample

if TYPE_CHECKING:
    from torch import Generator, Tensor

NEIGHBORS = 64  # of a document: a shortlist's worth of what is hard to tell apart
_OF_QUERY = 16  # documents of a query: so that a batch holds more queries
_OF_ASKING = 4  # candidates, one asks: as good for what is learnt as all, and a part of the work
_SAME = 0.9999  # cosine from which two vectors are one: nothing is to be learnt from itself
_EXCLUDED = -1e4


@dataclass(frozen=True, eq=False)
class Batch:
    """Vectors that are asked, and candidates that all of them are scored against.

    Attributes:
        asked: [n_asked, full_dim]: some of the candidates, then queries.
        candidates: [n, full_dim].
        n_queries: How many of those asked are queries.
        positives: [n_queries, n], True where a candidate answers a query; None without labels.
    """

    asked: Tensor
    candidates: Tensor
    n_queries: int
    positives: Tensor | None


class Neighborhoods:
    """Draws batches from a sample."""

    def __init__(self, sample: Sample, size: int, seed: int) -> None:
        """Take a sample of unit vectors; ``size`` is about how many candidates a batch has."""
        import torch

        self._documents = torch.from_numpy(sample.documents)
        self._queries = torch.from_numpy(sample.queries)
        self._positives = (
            [torch.from_numpy(rows) for rows in sample.positives or ()] if sample.labeled else None
        )
        self._random = torch.Generator().manual_seed(seed)
        share = 0.5 if len(self._queries) else 0.0
        self._n_seeds = max(1, round((1 - share) * size / NEIGHBORS))
        self._n_queries = min(len(self._queries), round(share * size / _OF_QUERY))

    def draw(self) -> Batch:
        """Return the next batch."""
        import torch

        seeds = self._documents[_some(len(self._documents), self._n_seeds, self._random)]
        rows = [self._nearest(seeds, NEIGHBORS)]
        chosen = _some(len(self._queries), self._n_queries, self._random)
        queries = self._queries[chosen]
        if len(queries):
            rows.append(self._nearest(queries, _OF_QUERY))
        answers = [self._positives[query] for query in chosen.tolist()] if self._positives else []
        found = torch.unique(torch.cat([*rows, *answers]))
        positives = None
        if answers:
            positives = torch.stack([torch.isin(found, each) for each in answers])
        candidates = self._documents[found]
        order = torch.randperm(len(candidates), generator=self._random)
        asked = torch.cat([candidates[order[: len(order) // _OF_ASKING]], queries])
        return Batch(asked, candidates, len(queries), positives)

    def _nearest(self, vectors: Tensor, count: int) -> Tensor:
        scores = vectors @ self._documents.T
        return scores.topk(min(count, len(self._documents)), dim=1).indices.reshape(-1)


def _some(n: int, count: int, random: Generator) -> Tensor:
    import torch

    return torch.randint(n, (count,), generator=random) if n else torch.empty(0, dtype=torch.long)


@dataclass(frozen=True, eq=False)
class Taught:
    """The order of a batch that is to be learnt: of all dims of vectors, perhaps whitened.

    Attributes:
        chances: Softmax of their similarities, all dims counted, [n_asked, n].
        certainty: Sum of chance x log chance, over all lines: the least that a loss can be.
        itself: True where a vector is scored against itself, [n_asked, n].
        temperature: Of the softmax.
    """

    chances: Tensor
    certainty: Tensor
    itself: Tensor
    temperature: float

    @classmethod
    def of(cls, asked: Tensor, candidates: Tensor, temperature: float) -> Taught:
        """Score unit vectors."""
        import torch

        similarities = asked @ candidates.T
        itself = similarities > _SAME
        logits = (similarities / temperature).masked_fill_(itself, _EXCLUDED)
        chances = torch.softmax(logits, dim=1)
        certainty = (chances * torch.log_softmax(logits, dim=1)).sum()
        return cls(chances, certainty, itself, temperature)


def prefix_similarities(asked: Tensor, candidates: Tensor, dims: Sequence[int]) -> list[Tensor]:
    """Return the cosines at each prefix, narrowest first, all from one full-width product."""
    found, start = [], 0
    product = asked.new_zeros(len(asked), len(candidates))
    squares = [each.new_zeros(len(each)) for each in (asked, candidates)]
    for stop in dims:
        left, right = asked[:, start:stop], candidates[:, start:stop]
        product = product + left @ right.T
        squares = [
            each + block.square().sum(1) for each, block in zip(squares, (left, right), strict=True)
        ]
        inverse = [each.clamp_min(1e-12).rsqrt() for each in squares]
        found.append(product * inverse[0][:, None] * inverse[1])
        start = stop
    return found


def order_loss(similarities: Tensor, taught: Taught, scale: Tensor) -> Tensor:
    """Return how far a softmax is from the one taught (Kullback and Leibler), the mean.

    Args:
        similarities: Cosines at a prefix or the full width, [n_asked, n].
        taught: What it is to learn.
        scale: Learnt; narrow prefixes have wider spread cosines. [].
    """
    import torch

    logits = similarities * (scale / taught.temperature)
    learnt = torch.log_softmax(logits.masked_fill(taught.itself, _EXCLUDED), dim=1)
    return (taught.certainty - (taught.chances * learnt).sum()) / len(similarities)


def answer_loss(similarities: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Return minus the mean logarithm of the chance of each query's answers.

    Args:
        similarities: Of queries at a prefix, [n_queries, n].
        positives: [n_queries, n].
        temperature: Of the softmax.
    """
    import torch

    logits = similarities / temperature
    answers = torch.logsumexp(logits.masked_fill(~positives, _EXCLUDED), dim=1)
    lost = torch.logsumexp(logits, dim=1) - answers
    return lost[positives.any(dim=1)].sum() / positives.any(dim=1).sum().clamp_min(1)
