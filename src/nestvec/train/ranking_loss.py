"""Ranking in a batch over nested prefixes, as a loss of Sentence Transformers' kind.

The arithmetic is in ``nested`` and ``regularized``, on plain tensors; here are columns of texts,
gradient caching, several processes and texts that stand twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.base.losses.merged_forward import embed_columns
from sentence_transformers.util import all_gather, all_gather_with_grad, get_rank
from torch import Tensor

from nestvec.errors import InvalidArgument
from nestvec.train.loss_base import Features, NestedLoss, float32_or_wider
from nestvec.train.objective import (
    NOTHING_KNOWN,
    Direction,
    Objective,
    PartitionMode,
    Ranking,
    Relations,
    StraightThrough,
)
from nestvec.train.regularized import regularized_ranking_loss


class NestedMultipleNegativesRankingLoss(CachedLossMixin, NestedLoss):  # type: ignore[misc]
    """MatryoshkaLoss around MultipleNegativesRankingLoss, from one full-width product.

    Takes (anchor, positive) or (anchor, positive, negative, ...) columns. With
    ``mask_duplicates=False`` its value and gradients are those of the library's pair. The formula
    is in ``nested.nested_ranking_loss``; it is computed in float32 whatever the model computes in.
    """

    def __init__(  # noqa: PLR0913 - the library's own names, each an option
        self,
        model: SentenceTransformer,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        scale: float = 20.0,
        *,
        directions: Sequence[Direction] = ("query_to_doc",),
        partition_mode: PartitionMode = "joint",
        mini_batch_size: int | None = None,
        gather_across_devices: bool = False,
        mask_duplicates: bool = True,
        teach: float = 0.0,
        random_dims: int = 0,
        straight_through: StraightThrough | None = None,
        orthogonality: float = 0.0,
        teacher: SentenceTransformer | None = None,
    ) -> None:
        """Take the settings.

        Args:
            model: What is trained.
            matryoshka_dims: Widths, in any order.
            matryoshka_weights: One for each; None for 1 each.
            scale: Inverse temperature.
            directions: What is ranked against what, see ``objective.Ranking``.
            partition_mode: One softmax over all directions, or one for each.
            mini_batch_size: Embed so many texts at a time and keep their gradients only
                (Gao et al. 2021), so that a batch may be larger than memory; each text is embedded
                twice. None embeds the batch at once.
            gather_across_devices: Rank against the texts of all processes.
            mask_duplicates: Take no text for a negative that says the same as the anchor or its
                positive: by equal tokens without padding, and by a label column where there is one.
            teach: Weight of what prefixes learn from the full width's ranking; 0 for nothing.
            teacher: Prefixes, and the full width, learn from this model's ranking instead.
            random_dims: Train so many more widths in each step, drawn between the others.
            straight_through: Rank "int8" or "binary" codes of the candidates as well.
            orthogonality: Weight of the squared correlations between dims; of all three, see
                ``objective.Objective``.

        Raises:
            InvalidArgument: If a setting is out of range, or a dim is above the model's.
        """
        super().__init__(model, matryoshka_dims, matryoshka_weights, teacher)
        self.objective = Objective(
            self.prefixes,
            Ranking(scale, tuple(directions), partition_mode, teach),
            random_dims,
            straight_through,
            orthogonality,
        )
        if mini_batch_size is not None and mini_batch_size < 1:
            raise InvalidArgument(f"mini_batch_size {mini_batch_size} < 1")
        self.uses_gradient_cache = mini_batch_size is not None
        self.mini_batch_size = mini_batch_size or 0
        self.gather_across_devices = gather_across_devices
        self.mask_duplicates = mask_duplicates
        self._relations = NOTHING_KNOWN

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None) -> Tensor:
        """Return the weighted sum of the prefixes' losses."""
        features = list(sentence_features)
        relations = self._relate(features, labels) if self.mask_duplicates else NOTHING_KNOWN
        if self.teacher is not None:
            asked = self._gathered(self.ask_teacher(features, self.mini_batch_size))
            relations = replace(relations, teacher=(asked[0], torch.cat(asked[1:])))
        if self.uses_gradient_cache:
            self._relations = relations
            loss: Tensor = CachedLossMixin.forward_cached(self, features, labels)
            return loss
        return self._loss(embed_columns(self.model, features), relations)

    def calculate_loss(
        self,
        reps: list[list[Tensor]],
        labels: Tensor | None = None,
        *,
        with_backward: bool = False,
    ) -> Tensor:
        """Return the loss of a batch embedded in parts, as the gradient cache asks for it."""
        loss = self._loss([torch.cat(column) for column in reps], self._relations)
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        return loss

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """Return the loss of embeddings, whose texts are not known."""
        return self._loss(embeddings, NOTHING_KNOWN)

    def _loss(self, columns: Sequence[Tensor], relations: Relations) -> Tensor:
        if len(columns) < 2:
            raise InvalidArgument(f"{len(columns)} column: pairs need an anchor and a positive")
        first, n_lines = 0, len(columns[0])
        if self.gather_across_devices:
            columns = [all_gather_with_grad(column) for column in columns]
            first = get_rank() * n_lines
        loss, self.latest = _NestedRanking.apply(  # type: ignore[no-untyped-call]
            columns[0],
            torch.cat(list(columns[1:])),
            self.objective,
            self._draw(),
            relations,
            slice(first, first + n_lines),
        )
        return cast("Tensor", loss)

    def _draw(self) -> tuple[int, ...]:
        """Draw further widths, from the generator that trainers save and restore."""
        if not self.objective.random_dims or not torch.is_grad_enabled():  # evaluating
            return ()
        return self.objective.draw(np.random.default_rng(int(torch.randint(2**62, ()))))

    def _relate(self, features: Sequence[Features], labels: Tensor | None) -> Relations:
        device = next(iter(features[0].values())).device
        keys = [_text_keys(column).to(device) for column in features]
        known = labels if labels is not None and labels.numel() == len(keys[0]) else None
        keys = self._gathered(keys)
        known = None if known is None else self._gathered([known])[0]
        every = torch.cat(keys)
        if len(torch.unique(every)) == len(every):  # no text stands twice
            return Relations(labels=known)
        return Relations(keys[0], torch.cat(keys[1:]), known)

    def _gathered(self, columns: list[Tensor]) -> list[Tensor]:
        """Return columns of all processes, where those are ranked against each other."""
        if not self.gather_across_devices:
            return columns
        return [cast("Tensor", all_gather(column)) for column in columns]

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card says of this loss."""
        ranking = self.objective.ranking
        return super().get_config_dict() | {
            "scale": ranking.scale,
            "directions": ranking.directions,
            "partition_mode": ranking.partition_mode,
            "mini_batch_size": self.mini_batch_size or None,
            "gather_across_devices": self.gather_across_devices,
            "mask_duplicates": self.mask_duplicates,
            "teach": ranking.teach,
            "random_dims": self.objective.random_dims,
            "straight_through": self.objective.straight_through,
            "orthogonality": self.objective.orthogonality,
        }


class _NestedRanking(torch.autograd.Function):
    """``regularized_ranking_loss`` for autograd: its gradients are known with its value.

    Gives the sum to be lowered, and the loss of each prefix, which is only to be looked at.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, *settings: Any
    ) -> tuple[Tensor, Tensor]:
        objective, drawn, relations, lines = settings
        vectors = float32_or_wider(anchors), float32_or_wider(candidates)
        with torch.autocast(anchors.device.type, enabled=False):
            found = regularized_ranking_loss(
                vectors[0], vectors[1], objective, drawn=drawn, relations=relations, lines=lines
            )
        gradients = found.anchors.to(anchors.dtype), found.candidates.to(candidates.dtype)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(found.losses)
        return objective.prefixes.weigh(found.losses) + found.added, found.losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        anchors, candidates = ctx.saved_tensors
        return anchors * gradient, candidates * gradient, None, None, None, None


def _text_keys(features: Features) -> Tensor:
    """Return a number for each text of a column, the same for the same tokens in any column.

    A sum of tokens, each times a number that its position draws: two texts that differ share their
    key with a chance of about 2 ** -60.
    """
    tokens, owners, n_texts = _tokens(features)
    starts = torch.searchsorted(owners, torch.arange(n_texts, device=owners.device))
    positions = torch.arange(len(tokens), device=tokens.device) - starts[owners]
    longest = int(positions.max()) + 1 if len(tokens) else 0
    drawn = torch.randint(
        torch.iinfo(torch.int64).min,
        torch.iinfo(torch.int64).max,
        (longest,),
        generator=torch.Generator().manual_seed(0),  # the same in each process
    ).to(tokens.device)
    keys = torch.zeros(n_texts, dtype=torch.int64, device=tokens.device)
    return keys.index_add_(0, owners, (tokens + 1) * drawn[positions])


def _tokens(features: Features) -> tuple[Tensor, Tensor, int]:
    """Return the token ids of a column without padding, the text of each, and how many texts."""
    ids = features["input_ids"]
    if "attention_mask" in features:
        mask = features["attention_mask"].bool()
        return ids[mask], mask.nonzero()[:, 0], len(mask)
    ids = ids.view(-1)
    if "cu_seq_lens_q" in features:  # flattened, for attention that needs no padding
        ends = features["cu_seq_lens_q"].to(ids.device)
    else:  # a static model's
        ends = torch.cat([features["offsets"], features["offsets"].new_tensor([len(ids)])])
    lengths = ends.diff()
    owners = torch.repeat_interleave(torch.arange(len(lengths), device=ids.device), lengths)
    return ids, owners, len(lengths)
