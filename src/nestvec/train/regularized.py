"""Nested ranking with what may be added to it, and the gradients of all together.

Further widths that a step drew, ranking of candidates as codes, and a penalty on correlated dims:
each is off unless ``objective.Objective`` asks for it, and then nothing is computed for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nestvec.train.nested import nested_ranking_loss
from nestvec.train.objective import NOTHING_KNOWN, Objective, Relations, StraightThrough

if TYPE_CHECKING:
    from torch import Tensor

_TINY, _LEAST_DEVIATION = 1e-12, 1e-6
_INT8_STEPS = 127


class RegularizedLoss(NamedTuple):
    """A loss in two parts, and what their sum says of each vector.

    Attributes:
        losses: Mean ranking loss of each of the objective's prefixes, narrowest first, [n_dims].
        added: All that is added to their weighted sum, [].
        anchors: Gradient of the weighted sum and what is added, [n_anchors, full_dim].
        candidates: The same, [n_candidates, full_dim].
    """

    losses: Tensor
    added: Tensor
    anchors: Tensor
    candidates: Tensor

    def add(self, value: Tensor, anchors: Tensor, candidates: Tensor) -> None:
        """Add to the value, and its gradients, which may be of fewer dims, in place."""
        self.added.add_(value)
        self.anchors[:, : anchors.shape[1]].add_(anchors)
        self.candidates[:, : candidates.shape[1]].add_(candidates)


def regularized_ranking_loss(
    anchors: Tensor,
    candidates: Tensor,
    objective: Objective,
    *,
    drawn: Sequence[int] = (),
    relations: Relations = NOTHING_KNOWN,
    lines: slice = slice(None),
) -> RegularizedLoss:
    """Compute ``nested.nested_ranking_loss`` and what the objective adds to it.

    Where lines are shared out, the results of all parts, each times its share of the lines, sum up
    to that of the whole: each part counts all vectors' correlations.

    Args:
        anchors: Float32 [n_anchors, full_dim], not normalized.
        candidates: Float32 [n_candidates, full_dim], as ``nested_ranking_loss`` takes them.
        objective: What is asked.
        drawn: What its ``draw`` gave for this step: the same for all parts of a batch.
        relations: Which texts say the same.
        lines: Which anchors, and their positives, are ranked.
    """
    prefixes, ranking = objective.prefixes_with(drawn), objective.ranking
    found = nested_ranking_loss(
        anchors, candidates, prefixes, ranking, relations=relations, lines=lines
    )
    losses = found.losses[[prefixes.dims.index(dim) for dim in objective.prefixes.dims]]
    added = prefixes.weigh(found.losses) - objective.prefixes.weigh(losses)
    result = RegularizedLoss(losses, added, found.anchors, found.candidates)
    if objective.straight_through is not None:
        coded = nested_ranking_loss(
            anchors,
            codes(candidates, objective.straight_through),
            prefixes,
            ranking,
            relations=relations,
            lines=lines,
        )
        result.add(prefixes.weigh(coded.losses), coded.anchors, coded.candidates)
    if objective.orthogonality:
        width = prefixes.dims[-1]
        parts = correlation_penalty(anchors[:, :width], candidates[:, :width])
        result.add(*(objective.orthogonality * part for part in parts))
    return result


def codes(vectors: Tensor, kind: StraightThrough) -> Tensor:
    """Return what codes of vectors stand for, about as long as they, [n, full_dim].

    The first d numbers of a code are the code of the first d, up to its length ("binary") or the
    size of its steps ("int8"), so that codes nest like vectors.
    """
    import torch

    if kind == "binary":
        size = torch.linalg.vector_norm(vectors, dim=1, keepdim=True) / vectors.shape[1] ** 0.5
        return torch.where(vectors < 0, -size, size)
    step = vectors.abs().amax(1, keepdim=True).clamp_min(_TINY) / _INT8_STEPS
    return (vectors / step).round() * step


def correlation_penalty(*sides: Tensor) -> tuple[Tensor, ...]:
    """Return how much the dims of unit vectors say the same, and its gradients.

    With C the correlations between dims over all vectors of all sides, d of them, each vector
    divided by its length,

        penalty = 1/d sum_{i != j} C_ij^2

    which is 0 where no two dims are correlated, and d - 1 where all are one. As C has trace d, the
    variance is spread as over d / (1 + penalty) dims (the participation ratio of C's eigenvalues).

    Args:
        sides: [n of that side, d] each, not normalized.

    Returns:
        The penalty, and its gradient by each side.
    """
    import torch

    vectors = torch.cat(sides)
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min(_TINY)
    unit = vectors / lengths
    spread = unit - unit.mean(0)
    deviation = torch.linalg.vector_norm(spread, dim=0).clamp_min(_LEAST_DEVIATION)
    standard = spread / deviation
    correlations = standard.T @ standard
    correlations.fill_diagonal_(0)
    penalty = correlations.square().sum() / vectors.shape[1]
    gradient = standard @ correlations * (4 / vectors.shape[1])
    # Back through the division by a dim's deviation, and by a vector's length. The mean needs no
    # step of its own: a standardized dim sums to 0, and so does its gradient.
    gradient = (gradient - standard * (standard * gradient).sum(0)) / deviation
    gradient = (gradient - unit * (unit * gradient).sum(1, keepdim=True)) / lengths
    return penalty, *gradient.split([len(side) for side in sides])
