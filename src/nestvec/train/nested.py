"""Multiple negatives ranking loss over nested prefixes, and its gradients, from one product.

The library everybody uses runs the whole inner loss once for each dim. Here the similarities of
the wider prefix are those of the narrower one plus one block's, so all prefixes together cost one
full-width product forward and one backward for each side. Works on plain tensors and returns
gradients; what turns texts into vectors stays outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nestvec.errors import InvalidArgument
from nestvec.train.objective import (
    ANCHORS,
    DEFAULT_RANKING,
    NOTHING_KNOWN,
    Prefixes,
    Ranking,
    Relations,
    Side,
    lay_out,
)

if TYPE_CHECKING:
    from torch import Tensor

# Lines at a time: memory is O(dims x chunk x batch), and what is computed fits a processor's cache.
_CHUNK_ITEMS, _LEAST_CHUNK = 2**20, 128
_TINY = 1e-30


class LossAndGradients(NamedTuple):
    """The loss and what it says of each vector.

    Attributes:
        losses: Mean loss of each prefix, narrowest first, [n_dims].
        anchors: Gradient of the weighted sum of losses, [n_anchors, full_dim].
        candidates: The same, [n_candidates, full_dim].
    """

    losses: Tensor
    anchors: Tensor
    candidates: Tensor


def nested_ranking_loss(
    anchors: Tensor,
    candidates: Tensor,
    prefixes: Prefixes,
    ranking: Ranking = DEFAULT_RANKING,
    *,
    relations: Relations = NOTHING_KNOWN,
    lines: slice = slice(None),
) -> LossAndGradients:
    """Compute the loss of every prefix and the gradients of their weighted sum.

    For each prefix of d dims, with s(i, j) = scale * cos(anchor_i[:d], candidate_j[:d]),

        loss(d) = mean_i [ logsumexp_j s(i, j) - s(i, i) ]

    (Henderson et al. 2017 over the nested prefixes of Kusupati et al. 2022). With U(d) the inner
    products of the prefixes, U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T; backward, the gradient of
    block d1:d2 is G B[:, d1:d2], where G sums the gradients of U(d) over all d >= d2.

    Args:
        anchors: Float32 [n_anchors, full_dim], not normalized.
        candidates: Float32 [n_candidates, full_dim]: first the positive of each anchor, then
            perhaps a negative of each, and another one.
        prefixes: Widths, the greatest at most full_dim.
        ranking: What each line is ranked against.
        relations: Which texts say the same, so that none is taken for another's negative; and
            perhaps a teacher's vectors.
        lines: Which anchors, and their positives, are ranked: this process's own.
    """
    if len(anchors) == 0 or len(candidates) % len(anchors):
        n = f"{len(candidates)} candidates for {len(anchors)} anchors"
        raise InvalidArgument(f"{n}: each needs its positive, and as many negatives as the others")
    teacher = batch = _Batch((anchors, candidates), prefixes, ranking, relations)
    if relations.teacher is not None:
        whole = Prefixes((relations.teacher[0].shape[1],))
        teacher = _Batch(relations.teacher, whole, ranking, relations)
    first, stop, _ = lines.indices(len(anchors))
    size = max(_LEAST_CHUNK, _CHUNK_ITEMS // len(candidates))
    for start in range(first, stop, size):
        batch.rank(slice(start, min(start + size, stop)), teacher)
    return batch.finish(stop - first)


class _Batch:
    """Vectors, and what is summed up over chunks of lines."""

    def __init__(
        self,
        vectors: tuple[Tensor, Tensor],
        prefixes: Prefixes,
        ranking: Ranking,
        relations: Relations,
    ) -> None:
        self._vectors, self._ranking, self._relations = vectors, ranking, relations
        self._factors = [each.bfloat16() if ranking.bfloat16 else each for each in vectors]
        self._weights, dims = prefixes.weights, prefixes.dims
        self._blocks = list(zip([0, *dims[:-1]], dims, strict=True))
        self._inverse = [1 / _prefix_lengths(each, dims) for each in vectors]
        self._losses = vectors[0].new_zeros(len(dims))
        self._rooms: Tensor | None = None
        self._gradients = [each.new_zeros(each.shape) for each in vectors]
        self._radial = [each.new_zeros(len(dims), len(each)) for each in vectors]
        self._sides, self._pools = lay_out(ranking, [len(each) for each in vectors])

    def rank(self, chunk: slice, teacher: _Batch) -> None:
        """Add what a chunk of lines says; the teacher may be this batch itself."""
        product, similarities, *of_prefixes = self._room(chunk.stop - chunk.start)
        excluded = self._excluded(chunk)
        taught = teacher.chances(chunk, excluded) if self._ranking.teach else None
        product.zero_()
        for number, (block, chances) in enumerate(zip(self._blocks, of_prefixes, strict=True)):
            self._add_block(product, chunk, block)
            self._measure(product, chunk, number, excluded, out=similarities)
            self._share(similarities, excluded, out=chances)
            self._losses[number] += self._lose(similarities, chances, chunk, taught)
            similarities *= chances
            for side in self._sides:
                turned = similarities[:, side.columns]
                self._radial[side.left][number, chunk] += turned.sum(1)
                self._radial[side.right][number] += turned.sum(0)
        self._add_gradients(chunk, of_prefixes)

    def chances(self, chunk: slice, excluded: Tensor | None) -> Tensor:
        """Return the chances at full width, which prefixes are to learn."""
        import torch

        product, similarities, *_ = self._room(chunk.stop - chunk.start)
        product.zero_()
        self._add_block(product, chunk, (0, self._blocks[-1][1]))
        self._measure(product, chunk, -1, excluded, out=similarities)
        taught = torch.empty_like(similarities)
        self._share(similarities, excluded, out=taught)
        return taught

    def finish(self, n_lines: int) -> LossAndGradients:
        """Return means, and the gradients without what would only make prefixes longer."""
        weights = self._losses.new_tensor(self._weights)[:, None] / n_lines
        for vectors, gradients, radial, inverse in zip(
            self._vectors, self._gradients, self._radial, self._inverse, strict=True
        ):
            # d|x|/dx = x / |x|, summed over the prefixes that hold a block.
            factors = (weights * radial * inverse.square()).flip(0).cumsum(0).flip(0)
            gradients /= n_lines
            for (low, high), factor in zip(self._blocks, factors, strict=True):
                gradients[:, low:high] -= factor[:, None] * vectors[:, low:high]
        return LossAndGradients(self._losses / n_lines, *self._gradients)

    def _room(self, n_lines: int) -> Tensor:
        """Return room for matrices of a chunk, the same for each: new memory costs time."""
        shape = 2 + len(self._blocks), n_lines, self._sides[-1].columns.stop
        if self._rooms is None:
            self._rooms = self._vectors[0].new_empty(shape)
        return self._rooms[:, :n_lines]

    def _add_block(self, product: Tensor, chunk: slice, block: tuple[int, int]) -> None:
        low, high = block
        for left, right, columns in self._sides:
            lines, others = self._factors[left][chunk], self._factors[right]
            _add_product(product[:, columns], lines[:, low:high], others[:, low:high].T)

    def _measure(
        self, product: Tensor, chunk: slice, number: int, excluded: Tensor | None, *, out: Tensor
    ) -> None:
        """Turn inner products into similarities; those that do not count are minus infinity."""
        import torch

        for left, right, columns in self._sides:
            part = out[:, columns]
            torch.mul(product[:, columns], self._inverse[right][number], out=part)
            part *= self._ranking.scale * self._inverse[left][number, chunk, None]
        if excluded is not None:
            out.masked_fill_(excluded, -torch.inf)

    def _share(self, similarities: Tensor, excluded: Tensor | None, *, out: Tensor) -> None:
        """Write the chances; afterwards, similarities that do not count are 0."""
        import torch

        for pool in self._pools:
            part = out[:, pool.columns]
            torch.softmax(similarities[:, pool.columns], dim=1, out=part)
        if excluded is not None:
            similarities.masked_fill_(excluded, 0)

    def _lose(
        self, similarities: Tensor, chances: Tensor, chunk: slice, taught: Tensor | None
    ) -> Tensor:
        """Return the loss, summed over lines; turn chances into its gradient, in place."""
        loss = chances.new_zeros(())
        owns = []
        for pool in self._pools:
            asked, found = similarities[:, pool.columns], chances[:, pool.columns]
            own = found.diagonal(pool.own + chunk.start)
            loss += _surprise(asked, found, asked.diagonal(pool.own + chunk.start), own).sum()
            owns.append(own)
        if taught is not None:
            loss += self._ranking.teach * _divergence(taught, chances)
            chances += self._ranking.teach * (chances - taught)
        for own in owns:
            own -= 1
        if len(owns) > 1:
            chances /= len(owns)
        return loss / len(owns)

    def _add_gradients(self, chunk: slice, of_prefixes: Sequence[Tensor]) -> None:
        """Send the gradients by similarities on to the vectors, block by block."""
        total, *_ = self._room(chunk.stop - chunk.start)
        total.zero_()
        prefixes = list(enumerate(zip(self._blocks, of_prefixes, self._weights, strict=True)))
        for number, ((low, high), gradient, weight) in reversed(prefixes):
            for left, right, columns in self._sides:
                part = total[:, columns]
                # A block is held by its own prefix and all wider ones.
                gradient[:, columns] *= self._inverse[right][number]
                factor = weight * self._ranking.scale * self._inverse[left][number, chunk, None]
                part.addcmul_(gradient[:, columns], factor)
                lines, others = self._factors[left][chunk], self._factors[right]
                part = part.to(lines.dtype)
                _add_product(self._gradients[left][chunk, low:high], part, others[:, low:high])
                _add_product(self._gradients[right][:, low:high], part.T, lines[:, low:high])

    def _excluded(self, chunk: slice) -> Tensor | None:
        """Tell which similarities do not count, [chunk, columns]; None where all do."""
        import torch

        found = [self._excluded_of(side, chunk) for side in self._sides]
        if all(each is None for each in found):
            return None
        shape = chunk.stop - chunk.start, self._sides[-1].columns.stop
        excluded = torch.zeros(shape, dtype=torch.bool, device=self._vectors[0].device)
        for side, each in zip(self._sides, found, strict=True):
            if each is not None:
                excluded[:, side.columns] = each
        return excluded

    def _excluded_of(self, side: Side, chunk: slice) -> Tensor | None:
        import torch

        against = self._relations.of_candidates if side.right else self._relations.of_anchors
        same = against(chunk)
        if same is None and side.holds_positive:
            return None
        rows = torch.arange(chunk.stop - chunk.start, device=self._vectors[0].device)
        if same is None:
            n_right = len(self._vectors[side.right])
            same = torch.zeros(len(rows), n_right, dtype=torch.bool, device=rows.device)
        if side.holds_positive:
            same[rows, chunk.start + rows] = False
        else:  # neither itself nor the other candidates of its own anchor
            by_column = same.view(len(rows), -1, len(self._vectors[ANCHORS]))
            by_column[rows, :, chunk.start + rows] = True
        return same


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _surprise(similarities: Tensor, chances: Tensor, own: Tensor, own_chance: Tensor) -> Tensor:
    """Return minus the logarithm of each own chance, also where that is too small to hold."""
    tiny = own_chance < _TINY
    if not bool(tiny.any()):
        return -own_chance.log()
    # The largest chance can always be held, and says what all are divided by.
    divisor = similarities[tiny].amax(1) - chances[tiny].amax(1).log()
    found = -own_chance.log()
    found[tiny] = divisor - own[tiny]
    return found


def _divergence(taught: Tensor, chances: Tensor) -> Tensor:
    """Return how far chances are from those taught (Kullback and Leibler), summed over lines."""
    import torch

    return (torch.xlogy(taught, taught) - torch.xlogy(taught, chances.clamp_min(_TINY))).sum()


def _prefix_lengths(vectors: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the length of each prefix, [n_dims, n]; a zero vector counts as almost zero long."""
    import torch

    squares = vectors.square().cumsum(1)[:, [dim - 1 for dim in dims]].T
    return torch.sqrt(squares).clamp_min(1e-12).contiguous()
