"""Draw batches of neighboring vectors, and compute the losses of nested prefixes on them.

Search has to rank near vectors, but few vectors drawn at random are near each other. A batch
therefore consists of random seed vectors and the nearest neighbors of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestvec.adapt.sample import Sample

if TYPE_CHECKING:
    from torch import Generator, Tensor

NEIGHBORS = 64  # nearest documents of each seed document: about the size of a shortlist
_NEIGHBORS_OF_QUERY = 16  # fewer, so that a batch contains more queries
_CANDIDATES_PER_ANCHOR = 4  # fits as well as every candidate as an anchor, at less cost
_SAME = 0.9999  # cosine from which two vectors count as equal
_EXCLUDED = -1e4  # logit


@dataclass(frozen=True, eq=False)
class Batch:
    """Anchors, and the candidates that each anchor is scored against.

    Attributes:
        anchors: Some of the candidates, then queries, [n_anchors, full_dim].
        candidates: Documents, [n, full_dim].
        n_queries: How many anchors are queries.
        positives: True where a candidate is relevant to a query, [n_queries, n]; None without
            labels.
    """

    anchors: Tensor
    candidates: Tensor
    n_queries: int
    positives: Tensor | None


class Neighborhoods:
    """Draws batches from a sample."""

    def __init__(self, sample: Sample, size: int, seed: int) -> None:
        """Store a sample of unit vectors; a batch has about ``size`` candidates."""
        import torch

        self._documents = torch.from_numpy(sample.documents)
        self._queries = torch.from_numpy(sample.queries)
        self._positives = (
            [torch.from_numpy(rows) for rows in sample.positives or ()] if sample.labeled else None
        )
        self._random = torch.Generator().manual_seed(seed)
        share = 0.5 if len(self._queries) else 0.0  # of the candidates: neighbors of queries
        self._n_seeds = max(1, round((1 - share) * size / NEIGHBORS))
        self._n_queries = min(len(self._queries), round(share * size / _NEIGHBORS_OF_QUERY))

    def draw(self) -> Batch:
        """Return the next batch."""
        import torch

        seeds = self._documents[_draw_rows(len(self._documents), self._n_seeds, self._random)]
        rows = [self._nearest(seeds, NEIGHBORS)]
        chosen = _draw_rows(len(self._queries), self._n_queries, self._random)
        queries = self._queries[chosen]
        if len(queries):
            rows.append(self._nearest(queries, _NEIGHBORS_OF_QUERY))
        relevant = [self._positives[query] for query in chosen.tolist()] if self._positives else []
        found = torch.unique(torch.cat([*rows, *relevant]))
        positives = None
        if relevant:
            positives = torch.stack([torch.isin(found, each) for each in relevant])
        candidates = self._documents[found]
        order = torch.randperm(len(candidates), generator=self._random)
        anchors = torch.cat([candidates[order[: len(order) // _CANDIDATES_PER_ANCHOR]], queries])
        return Batch(anchors, candidates, len(queries), positives)

    def _nearest(self, vectors: Tensor, count: int) -> Tensor:
        scores = vectors @ self._documents.T
        return scores.topk(min(count, len(self._documents)), dim=1).indices.reshape(-1)


def _draw_rows(n: int, count: int, random: Generator) -> Tensor:
    import torch

    return torch.randint(n, (count,), generator=random) if n else torch.empty(0, dtype=torch.long)


@dataclass(frozen=True, eq=False)
class DistillationTarget:
    """The ranking that prefixes are trained to reproduce: a softmax over full-width similarities.

    Attributes:
        probabilities: Softmax of the similarities of each anchor, [n_anchors, n].
        negative_entropy: Sum of p log p over all probabilities p.
        is_self: True where anchor and candidate are the same vector, [n_anchors, n].
        temperature: Temperature of the softmax.
    """

    probabilities: Tensor
    negative_entropy: Tensor
    is_self: Tensor
    temperature: float

    @classmethod
    def of(cls, anchors: Tensor, candidates: Tensor, temperature: float) -> DistillationTarget:
        """Compute the target from unit vectors, [n_anchors, full_dim] and [n, full_dim]."""
        import torch

        similarities = anchors @ candidates.T
        is_self = similarities > _SAME
        logits = (similarities / temperature).masked_fill_(is_self, _EXCLUDED)
        probabilities = torch.softmax(logits, dim=1)
        negative_entropy = (probabilities * torch.log_softmax(logits, dim=1)).sum()
        return cls(probabilities, negative_entropy, is_self, temperature)


def prefix_similarities(anchors: Tensor, candidates: Tensor, dims: Sequence[int]) -> list[Tensor]:
    """Return the cosines at each prefix, in the ascending order of ``dims``.

    The product of each prefix extends the product of the one before, so that all prefixes cost one
    full-width product.
    """
    found, start = [], 0
    product = anchors.new_zeros(len(anchors), len(candidates))
    squares = [each.new_zeros(len(each)) for each in (anchors, candidates)]
    for stop in dims:
        left, right = anchors[:, start:stop], candidates[:, start:stop]
        product = product + left @ right.T
        squares = [
            each + block.square().sum(1) for each, block in zip(squares, (left, right), strict=True)
        ]
        inverse = [each.clamp_min(1e-12).rsqrt() for each in squares]
        found.append(product * inverse[0][:, None] * inverse[1])
        start = stop
    return found


def distillation_loss(similarities: Tensor, target: DistillationTarget, scale: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence of the student's softmax from the target.

    Args:
        similarities: Cosines at a prefix or the full width, [n_anchors, n].
        target: Softmax of the teacher.
        scale: Trained factor of the logits, []: cosines of narrow prefixes spread wider.
    """
    import torch

    logits = similarities * (scale / target.temperature)
    student = torch.log_softmax(logits.masked_fill(target.is_self, _EXCLUDED), dim=1)
    return (target.negative_entropy - (target.probabilities * student).sum()) / len(similarities)


def contrastive_loss(similarities: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Return the mean negative log probability of the relevant candidates of each query.

    Queries without a relevant candidate do not count.

    Args:
        similarities: Cosines of queries and candidates, [n_queries, n].
        positives: True where a candidate is relevant, [n_queries, n].
        temperature: Temperature of the softmax.
    """
    import torch

    logits = similarities / temperature
    relevant = torch.logsumexp(logits.masked_fill(~positives, _EXCLUDED), dim=1)
    losses = torch.logsumexp(logits, dim=1) - relevant
    labeled = positives.any(dim=1)
    return losses[labeled].sum() / labeled.sum().clamp_min(1)
