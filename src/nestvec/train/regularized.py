"""Nested ranking loss with optional terms, and the gradients of their sum.

The terms are additional random widths, ranking of candidates as codes, and a penalty on correlated
dims. A term that ``objective.Objective`` does not enable is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nestvec.train.nested import nested_ranking_loss
from nestvec.train.objective import NO_RELATIONS, Objective, Relations, StraightThrough

if TYPE_CHECKING:
    from torch import Tensor

_TINY, _MIN_DEVIATION = 1e-12, 1e-6  # lower limits of divisors
_INT8_STEPS = 127


class RegularizedLoss(NamedTuple):
    """A loss in two parts, and the gradients of their sum by the vectors.

    Attributes:
        losses: Mean ranking loss of each prefix of the objective, narrowest first, [n_dims].
        added: Sum of the optional terms, [], to add to the weighted sum of ``losses``.
        anchors: Gradient of the total by the anchors, [n_anchors, full_dim].
        candidates: Gradient of the total by the candidates, [n_candidates, full_dim].
    """

    losses: Tensor
    added: Tensor
    anchors: Tensor
    candidates: Tensor

    def add(self, value: Tensor, anchors: Tensor, candidates: Tensor) -> None:
        """Add a term and its gradients, which may have fewer dims, in place."""
        self.added.add_(value)
        self.anchors[:, : anchors.shape[1]].add_(anchors)
        self.candidates[:, : candidates.shape[1]].add_(candidates)


def regularized_ranking_loss(
    anchors: Tensor,
    candidates: Tensor,
    objective: Objective,
    *,
    drawn: Sequence[int] = (),
    relations: Relations = NO_RELATIONS,
    rows: slice = slice(None),
) -> RegularizedLoss:
    """Compute ``nested.nested_ranking_loss`` and the optional terms of the objective.

    A batch can be computed in parts by ``rows``. The sum of all parts, each multiplied by its share
    of the rows, equals the result of the whole batch. Each part computes the correlations over all
    vectors.

    Args:
        anchors: Float32 [n_anchors, full_dim], not normalized.
        candidates: Float32 [n_candidates, full_dim], as in ``nested_ranking_loss``.
        objective: Settings of the loss.
        drawn: Widths returned by ``objective.draw`` for this step, the same for all parts.
        relations: Equal texts of the batch, see ``nested_ranking_loss``.
        rows: Slice of the anchors, and their positives, to rank.
    """
    prefixes, ranking = objective.prefixes_with(drawn), objective.ranking
    found = nested_ranking_loss(
        anchors, candidates, prefixes, ranking, relations=relations, rows=rows
    )
    losses = found.losses[[prefixes.dims.index(dim) for dim in objective.prefixes.dims]]
    added = prefixes.weighted_sum(found.losses) - objective.prefixes.weighted_sum(losses)
    result = RegularizedLoss(losses, added, found.anchors, found.candidates)
    if objective.straight_through is not None:
        coded = nested_ranking_loss(
            anchors,
            codes(candidates, objective.straight_through),
            prefixes,
            ranking,
            relations=relations,
            rows=rows,
        )
        result.add(prefixes.weighted_sum(coded.losses), coded.anchors, coded.candidates)
    if objective.orthogonality:
        width = prefixes.dims[-1]
        parts = correlation_penalty(anchors[:, :width], candidates[:, :width])
        result.add(*(objective.orthogonality * part for part in parts))
    return result


def codes(vectors: Tensor, kind: StraightThrough) -> Tensor:
    """Return the decoded codes of vectors, with about the length of the vectors, [n, full_dim].

    Codes are nested like vectors: the first d values of a code are the code of the first d dims, up
    to a scale ("binary") or the step size ("int8").
    """
    import torch

    if kind == "binary":
        size = torch.linalg.vector_norm(vectors, dim=1, keepdim=True) / vectors.shape[1] ** 0.5
        return torch.where(vectors < 0, -size, size)
    step = vectors.abs().amax(1, keepdim=True).clamp_min(_TINY) / _INT8_STEPS
    return (vectors / step).round() * step


def correlation_penalty(*sides: Tensor) -> tuple[Tensor, ...]:
    """Return the mean squared correlation penalty of the dims of unit vectors, and its gradients.

    With C the [d, d] matrix of correlations between dims, over the unit vectors of all sides,

        penalty = 1/d sum_{i != j} C_ij^2

    The penalty is 0 if no two dims are correlated, and d - 1 if all are equal. As C has trace d,
    the participation ratio of its eigenvalues is d / (1 + penalty): the number of dims over which
    the variance is spread.

    Args:
        sides: Vectors of each side, [n, d], not normalized; n may differ between sides.

    Returns:
        The penalty, and its gradient by each side.
    """
    import torch

    vectors = torch.cat(sides)
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min(_TINY)
    unit = vectors / lengths
    spread = unit - unit.mean(0)
    deviation = torch.linalg.vector_norm(spread, dim=0).clamp_min(_MIN_DEVIATION)
    standard = spread / deviation
    correlations = standard.T @ standard
    correlations.fill_diagonal_(0)
    penalty = correlations.square().sum() / vectors.shape[1]
    gradient = standard @ correlations * (4 / vectors.shape[1])
    # Backward through the division by a dim's deviation and by a vector's length. Subtracting the
    # mean needs no backward step: a standardized dim sums to 0, and so does its gradient.
    gradient = (gradient - standard * (standard * gradient).sum(0)) / deviation
    gradient = (gradient - unit * (unit * gradient).sum(1, keepdim=True)) / lengths
    return penalty, *gradient.split([len(side) for side in sides])
