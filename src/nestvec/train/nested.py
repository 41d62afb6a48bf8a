"""Multiple negatives ranking loss over nested prefixes, with gradients, from one matrix product.

Sentence Transformers computes the inner loss once for each dim. Here, the inner products of a wider
prefix are those of the narrower prefix plus the product of one block. All prefixes together cost
one full-width product forward and one backward for each side. The functions take and return plain
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nestvec.errors import InvalidArgument
from nestvec.train.objective import (
    ANCHORS,
    DEFAULT_RANKING,
    NO_RELATIONS,
    DirectionLayout,
    Prefixes,
    Ranking,
    Relations,
    layout_columns,
)
from nestvec.train.products import add_product

if TYPE_CHECKING:
    from torch import Tensor

# The similarity matrix is computed in chunks of rows that fit in the processor's cache. Memory is
# O(dims x chunk x batch).
_CHUNK_ITEMS, _MIN_CHUNK = 2**20, 128
_TINY = 1e-30


class LossAndGradients(NamedTuple):
    """Losses, and their gradients by the vectors.

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
    relations: Relations = NO_RELATIONS,
    rows: slice = slice(None),
) -> LossAndGradients:
    """Compute the loss of every prefix and the gradients of their weighted sum.

    For each prefix of d dims, with s(i, j) = scale * cos(anchor_i[:d], candidate_j[:d]),

        loss(d) = mean_i [ logsumexp_j s(i, j) - s(i, i) ]

    (Henderson et al. 2017 over the nested prefixes of Kusupati et al. 2022). With U(d) the inner
    products of the prefixes, U(d2) = U(d1) + A[:, d1:d2] B[:, d1:d2]^T; backward, the gradient of
    block d1:d2 is G B[:, d1:d2], where G sums the gradients of U(d) over all d >= d2.

    Args:
        anchors: Float32 [n_anchors, full_dim], not normalized.
        candidates: Float32 [n_candidates, full_dim]: the positive of each anchor, then optionally
            any number of negatives. With the direction "doc_to_doc", the negatives are a first
            negative of each anchor, a second negative of each, and so on.
        prefixes: Widths and weights; the largest width is at most full_dim.
        ranking: Settings of the ranking loss.
        relations: Equal texts, which are not used as negatives of each other; optionally a
            teacher's vectors.
        rows: Slice of the anchors, and their positives, to rank; by default all. With several
            processes, each ranks its own.

    Raises:
        InvalidArgument: If there are no anchors or fewer candidates than anchors, or the number of
            candidates is not a multiple of the number of anchors with "doc_to_doc".
    """
    equal = "doc_to_doc" in ranking.directions
    if not 0 < len(anchors) <= len(candidates) or (equal and len(candidates) % len(anchors)):
        problem = f"{len(candidates)} candidates do not fit {len(anchors)} anchors."
        each = "Each anchor needs a positive" + equal * " and the same number of negatives"
        raise InvalidArgument(f"{problem} {each}.")
    teacher = batch = _Batch((anchors, candidates), prefixes, ranking, relations)
    if relations.teacher is not None:
        whole = Prefixes((relations.teacher[0].shape[1],))
        teacher = _Batch(relations.teacher, whole, ranking, relations)
    first, stop, _ = rows.indices(len(anchors))
    size = max(_MIN_CHUNK, _CHUNK_ITEMS // len(candidates))
    for start in range(first, stop, size):
        batch.rank(slice(start, min(start + size, stop)), teacher)
    return batch.finish(stop - first)


class _Batch:
    """Vectors of a batch, and the sums of losses and gradients over chunks of rows.

    Products are computed from vectors of length sqrt(scale) at the largest width, so that they are
    the similarities there. A narrower prefix multiplies them by the ratios of the lengths.
    """

    def __init__(
        self,
        vectors: tuple[Tensor, Tensor],
        prefixes: Prefixes,
        ranking: Ranking,
        relations: Relations,
    ) -> None:
        self._ranking, self._relations = ranking, relations
        self._weights, dims = prefixes.weights, prefixes.dims
        self._blocks = list(zip([0, *dims[:-1]], dims, strict=True))
        lengths = [_prefix_lengths(each, self._blocks) for each in vectors]
        self._ratios = [each[-1] / each for each in lengths]
        self._multipliers = [ranking.scale**0.5 / each[-1, :, None] for each in lengths]
        self._scaled = [
            each[:, : dims[-1]] * multiplier
            for each, multiplier in zip(vectors, self._multipliers, strict=True)
        ]
        self._factors = [each.bfloat16() if ranking.bfloat16 else each for each in self._scaled]
        self._losses = vectors[0].new_zeros(len(dims))
        self._buffers: Tensor | None = None
        self._gradients = [each.new_zeros(each.shape) for each in vectors]
        self._radial = [each.new_zeros(len(dims), len(each)) for each in vectors]
        self._sides, self._groups = layout_columns(ranking, [len(each) for each in vectors])

    def rank(self, chunk: slice, teacher: _Batch) -> None:
        """Add the losses and gradients of a chunk of rows; the teacher may be this batch."""
        product, spare, *narrower = self._buffer(chunk.stop - chunk.start)
        excluded = self._excluded(chunk)
        target = teacher.full_width_probabilities(chunk, excluded) if self._ranking.teach else None
        for number, probabilities in enumerate(narrower):
            self._add_block(product, chunk, self._blocks[number])
            self._write_similarities(product, chunk, number, out=spare)
            self._losses[number] += self._write_gradient(
                spare, probabilities, chunk, excluded=excluded, target=target
            )
            self._scale_gradient(probabilities, product, chunk, number, spare)
        # At the largest width, the products are the similarities.
        self._add_block(product, chunk, self._blocks[-1])
        self._losses[-1] += self._write_gradient(
            product, spare, chunk, excluded=excluded, target=target
        )
        self._add_gradients(chunk, spare, narrower)

    def full_width_probabilities(self, chunk: slice, excluded: Tensor | None) -> Tensor:
        """Return the probabilities at full width, the target of the prefixes."""
        import torch

        product, *_ = self._buffer(chunk.stop - chunk.start)
        self._add_block(product, chunk, (0, self._blocks[-1][1]))
        target = torch.empty_like(product)
        self._write_probabilities(product, excluded, out=target)
        return target

    def finish(self, n_rows: int) -> LossAndGradients:
        """Return mean losses, and gradients without the components along the prefixes."""
        weights = self._losses.new_tensor(self._weights)[:, None]
        width = self._blocks[-1][1]
        for scaled, gradients, radial, ratios, multiplier in zip(
            self._scaled,
            self._gradients,
            self._radial,
            self._ratios,
            self._multipliers,
            strict=True,
        ):
            radial *= weights
            # The loss does not depend on a vector's length. The gradient's component along the
            # vector is thus the sum over all prefixes, which gives that of the largest width.
            along = (scaled * gradients[:, :width]).sum(1)
            # Without weight, dims beyond the other prefixes get no gradient, not even a rounding.
            radial[-1] = along - radial[:-1].sum(0) if self._weights[-1] else 0
            # d|x|/dx = x / |x|, summed over the prefixes that include a block.
            removed = (radial * ratios * ratios / self._ranking.scale).flip(0).cumsum(0).flip(0)
            for (low, high), factor in zip(self._blocks, removed, strict=True):
                gradients[:, low:high].addcmul_(scaled[:, low:high], factor[:, None], value=-1)
            gradients *= multiplier / n_rows
        return LossAndGradients(self._losses / n_rows, *self._gradients)

    def _buffer(self, n_rows: int) -> Tensor:
        """Return buffers for the matrices of a chunk; they are reused, as allocation costs time."""
        shape = 1 + len(self._blocks), n_rows, self._sides[-1].columns.stop
        if self._buffers is None:
            self._buffers = self._scaled[0].new_empty(shape)
        return self._buffers[:, :n_rows]

    def _add_block(self, product: Tensor, chunk: slice, block: tuple[int, int]) -> None:
        """Add the products of a block of dims; the first block overwrites the buffer."""
        low, high = block
        for left, right, columns in self._sides:
            rows, others = self._factors[left][chunk], self._factors[right]
            part = product[:, columns]
            add_product(part, rows[:, low:high], others[:, low:high].T, overwrite=low == 0)

    def _write_similarities(
        self, product: Tensor, chunk: slice, number: int, *, out: Tensor
    ) -> None:
        """Write the scaled cosines of a prefix from the products."""
        import torch

        for left, right, columns in self._sides:
            part = out[:, columns]
            torch.mul(product[:, columns], self._ratios[right][number], out=part)
            part *= self._ratios[left][number, chunk, None]

    def _write_probabilities(
        self, similarities: Tensor, excluded: Tensor | None, *, out: Tensor
    ) -> None:
        """Set excluded similarities to minus infinity, then write the softmax."""
        import torch

        if excluded is not None:
            similarities.masked_fill_(excluded, -torch.inf)
        for group in self._groups:
            part = out[:, group.columns]
            torch.softmax(similarities[:, group.columns], dim=1, out=part)

    def _write_gradient(
        self,
        similarities: Tensor,
        out: Tensor,
        chunk: slice,
        *,
        excluded: Tensor | None,
        target: Tensor | None,
    ) -> Tensor:
        """Write the loss's gradient by the similarities; return the loss, summed over rows."""
        self._write_probabilities(similarities, excluded, out=out)
        loss = out.new_zeros(())
        positives = []
        for group in self._groups:
            scores, shares = similarities[:, group.columns], out[:, group.columns]
            offset = group.positive + chunk.start
            positive = shares.diagonal(offset)
            loss += _negative_log_likelihood(
                scores, shares, scores.diagonal(offset), positive
            ).sum()
            positives.append(positive)
        if target is not None:
            loss += self._ranking.teach * _divergence(target, out)
            out += self._ranking.teach * (out - target)
        for positive in positives:
            positive -= 1
        if len(positives) > 1:
            out /= len(positives)
        return loss / len(positives)

    def _scale_gradient(
        self, gradient: Tensor, product: Tensor, chunk: slice, number: int, spare: Tensor
    ) -> None:
        """Multiply a gradient by the right ratios, and add its components along the prefix."""
        import torch

        for left, right, columns in self._sides:
            part, weighted = gradient[:, columns], spare[:, columns]
            part *= self._ratios[right][number]
            torch.mul(product[:, columns], part, out=weighted)
            ratios = self._ratios[left][number, chunk]
            self._radial[left][number, chunk] += weighted.sum(1) * ratios
            self._radial[right][number] += weighted.T @ ratios

    def _add_gradients(self, chunk: slice, total: Tensor, narrower: Sequence[Tensor]) -> None:
        """Add the gradients by the vectors, from those by the similarities, block by block.

        Args:
            chunk: Rows.
            total: Gradient by the similarities at the largest width; it is overwritten.
            narrower: Those of the other prefixes, from ``_scale_gradient``.
        """
        if self._weights[-1] != 1:
            total *= self._weights[-1]
        self._add_block_gradients(chunk, total, self._blocks[-1])
        for number in reversed(range(len(narrower))):
            for left, _, columns in self._sides:
                # A block is part of its own prefix and of all wider ones.
                ratios = self._weights[number] * self._ratios[left][number, chunk, None]
                total[:, columns].addcmul_(narrower[number][:, columns], ratios)
            self._add_block_gradients(chunk, total, self._blocks[number])

    def _add_block_gradients(self, chunk: slice, total: Tensor, block: tuple[int, int]) -> None:
        low, high = block
        for left, right, columns in self._sides:
            rows, others = self._factors[left][chunk], self._factors[right]
            part = total[:, columns].to(rows.dtype)
            add_product(self._gradients[left][chunk, low:high], part, others[:, low:high])
            add_product(self._gradients[right][:, low:high], part.T, rows[:, low:high])

    def _excluded(self, chunk: slice) -> Tensor | None:
        """Mark the similarities to exclude, [chunk, columns]; None to exclude none."""
        import torch

        found = [self._excluded_of(side, chunk) for side in self._sides]
        if all(each is None for each in found):
            return None
        shape = chunk.stop - chunk.start, self._sides[-1].columns.stop
        excluded = torch.zeros(shape, dtype=torch.bool, device=self._scaled[0].device)
        for side, each in zip(self._sides, found, strict=True):
            if each is not None:
                excluded[:, side.columns] = each
        return excluded

    def _excluded_of(self, side: DirectionLayout, chunk: slice) -> Tensor | None:
        import torch

        against = (
            self._relations.positive_candidates
            if side.right
            else self._relations.equivalent_anchors
        )
        same = against(chunk)
        if same is None and side.has_positive:
            return None
        rows = torch.arange(chunk.stop - chunk.start, device=self._scaled[0].device)
        if same is None:
            n_right = len(self._scaled[side.right])
            same = torch.zeros(len(rows), n_right, dtype=torch.bool, device=rows.device)
        if side.has_positive:
            same[rows, chunk.start + rows] = False
        else:  # exclude the text itself and the other candidates of its anchor
            by_column = same.view(len(rows), -1, len(self._scaled[ANCHORS]))
            by_column[rows, :, chunk.start + rows] = True
        return same


def _negative_log_likelihood(
    similarities: Tensor, probabilities: Tensor, positive: Tensor, probability: Tensor
) -> Tensor:
    """Return the negative log probability of each row's positive, also where it underflows.

    Args:
        similarities: Similarities of the rows, [n, columns].
        probabilities: Their softmax, [n, columns].
        positive: Similarity of each positive, [n].
        probability: Probability of each positive, [n].
    """
    tiny = probability < _TINY
    if not bool(tiny.any()):
        return -probability.log()
    # The largest probability never underflows, and gives the logarithm of the softmax's divisor.
    divisor = similarities[tiny].amax(1) - probabilities[tiny].amax(1).log()
    losses = -probability.log()
    losses[tiny] = divisor - positive[tiny]
    return losses


def _divergence(target: Tensor, probabilities: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of probabilities from target, summed over rows."""
    import torch

    return (torch.xlogy(target, target) - torch.xlogy(target, probabilities.clamp_min(_TINY))).sum()


def _prefix_lengths(vectors: Tensor, blocks: Sequence[tuple[int, int]]) -> Tensor:
    """Return the length of each prefix, [n_dims, n], at least 1e-12 to avoid division by zero."""
    import torch

    squares = vectors.square()  # then sums: on CPUs, faster than vector_norm
    sums = torch.stack([squares[:, low:high].sum(1) for low, high in blocks])
    return sums.cumsum(0).sqrt().clamp_min(1e-12)
