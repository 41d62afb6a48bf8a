"""Multiple negatives ranking loss over nested prefixes, and its gradients, from one product.

The library everybody uses runs the whole inner loss once for each dim. Here the similarities of
the wider prefix are those of the narrower one plus one block's, so all prefixes together cost one
full-width product forward and one backward for each side. Works on plain tensors and returns
gradients; what turns texts into vectors stays outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 256  # lines at a time: memory is O(dims x chunk x batch), and fits a processor's cache


class LossAndGradients(NamedTuple):
    """The loss and what it says of each vector.

    Attributes:
        losses: Mean loss of each prefix, narrowest first, [n_dims].
        anchors: Gradient of the weighted sum of losses, [batch, full_dim].
        positives: The same, [batch, full_dim].
    """

    losses: Tensor
    anchors: Tensor
    positives: Tensor


def nested_ranking_loss(
    anchors: Tensor,
    positives: Tensor,
    *,
    dims: Sequence[int],
    weights: Sequence[float] | None = None,
    scale: float = 20.0,
) -> LossAndGradients:
    """Compute the loss of every prefix and the gradients of their weighted sum.

    For each prefix of d dims, with s(i, j) = scale * cos(anchor_i[:d], positive_j[:d]),

        loss(d) = mean_i [ logsumexp_j s(i, j) - s(i, i) ]

    (Henderson et al. 2017 over the nested prefixes of Kusupati et al. 2022). With U(d) the inner
    products of the prefixes, U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T; backward, the gradient of
    block d1:d2 is G B[:, d1:d2], where G sums the gradients of U(d) over all d >= d2.

    Args:
        anchors: Float32 [batch, full_dim], not normalised.
        positives: Float32 [batch, full_dim]; line i belongs to anchor i, the others are negatives.
        dims: Prefixes, ascending, the last one at most full_dim.
        weights: One for each of ``dims``; None for 1 each.
        scale: Inverse temperature.
    """
    import torch

    weights = [1.0] * len(dims) if weights is None else weights
    blocks = list(zip([0, *dims[:-1]], dims, strict=True))
    anchor_lengths, positive_lengths = (_prefix_lengths(v, dims) for v in (anchors, positives))
    losses = anchors.new_zeros(len(dims))
    anchor_gradients, positive_gradients = torch.zeros_like(anchors), torch.zeros_like(positives)
    positive_radial = anchors.new_zeros(len(dims), len(positives))

    for start in range(0, len(anchors), _CHUNK):
        lines = slice(start, start + _CHUNK)
        part = anchors[lines]
        product = anchors.new_zeros(len(part), len(positives))
        product_gradients, radial = [], []
        for number, (low, high) in enumerate(blocks):
            product.addmm_(part[:, low:high], positives[:, low:high].T)
            loss, gradient, turned = _prefix_loss(
                product,
                scale / anchor_lengths[number, lines, None],
                positive_lengths[number],
                start=start,
                weight=weights[number] / len(anchors),
            )
            losses[number] += loss / len(anchors)
            radial.append(turned.sum(1))
            positive_radial[number] += turned.sum(0)
            product_gradients.append(gradient)
        for (low, high), gradient in _gradients_of_blocks(blocks, product_gradients):
            torch.mm(gradient, positives[:, low:high], out=anchor_gradients[lines, low:high])
            positive_gradients[:, low:high].addmm_(gradient.T, part[:, low:high])
        _subtract_radial(
            anchor_gradients[lines], part, torch.stack(radial), anchor_lengths[:, lines], blocks
        )
    _subtract_radial(positive_gradients, positives, positive_radial, positive_lengths, blocks)
    return LossAndGradients(losses, anchor_gradients, positive_gradients)


def _gradients_of_blocks(
    blocks: Sequence[tuple[int, int]], of_prefixes: Sequence[Tensor]
) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """Sum each block's gradient over the prefixes that hold it; only until the next one."""
    total = of_prefixes[0].new_zeros(of_prefixes[0].shape)
    for block, gradient in zip(reversed(blocks), reversed(of_prefixes), strict=True):
        total += gradient
        yield block, total


def _prefix_loss(
    product: Tensor, inverse: Tensor, positive_lengths: Tensor, *, start: int, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Rank the positives by one prefix, for a chunk of anchors.

    Args:
        product: Inner products, [chunk, batch].
        inverse: Scale over the anchors' lengths, [chunk, 1].
        positive_lengths: [batch].
        start: Position of the chunk's first anchor, whose own positive has the same.
        weight: Of the gradients.

    Returns:
        The summed loss, not weighted; its gradient by ``product``; and its gradient by each
        similarity times that similarity, which is what a longer vector would change.
    """
    import torch

    similarities = product * inverse
    similarities /= positive_lengths
    chances = torch.log_softmax(similarities, dim=1)  # log: a tiny chance is not 0
    own = chances.diagonal(start)
    loss = -own.sum()
    chances.exp_()
    own -= 1  # chances is now the gradient of the loss by the similarities
    chances *= weight
    similarities *= chances
    chances *= inverse
    chances /= positive_lengths
    return loss, chances, similarities


def _prefix_lengths(vectors: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the length of each prefix, [n_dims, n]; a zero vector counts as almost zero long."""
    import torch

    squares = vectors.square().cumsum(1)[:, [dim - 1 for dim in dims]].T
    return torch.sqrt(squares).clamp_min(1e-12).contiguous()


def _subtract_radial(
    gradients: Tensor,
    vectors: Tensor,
    radial: Tensor,
    lengths: Tensor,
    blocks: Sequence[tuple[int, int]],
) -> None:
    """Take out what would only make a prefix longer: d|x|/dx = x / |x|, summed over prefixes."""
    factors = (radial / lengths.square()).flip(0).cumsum(0).flip(0)
    for number, (low, high) in enumerate(blocks):
        gradients[:, low:high] -= factors[number, :, None] * vectors[:, low:high]
