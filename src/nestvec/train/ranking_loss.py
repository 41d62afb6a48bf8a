"""Multiple negatives ranking loss over nested prefixes, as a loss for Sentence Transformers.

``nested`` and ``regularized`` compute the loss on plain tensors. This module adds columns of texts,
gradient caching, several processes and the masking of duplicate texts.
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
    NO_RELATIONS,
    Direction,
    Objective,
    PartitionMode,
    Ranking,
    Relations,
    StraightThrough,
)
from nestvec.train.regularized import regularized_ranking_loss

TEXT_KEY = "text_key"  # optional feature of a column: ``text_keys`` of the texts without a prompt


class NestedMultipleNegativesRankingLoss(CachedLossMixin, NestedLoss):  # type: ignore[misc]
    """MatryoshkaLoss around MultipleNegativesRankingLoss, from one full-width product.

    Columns are (anchor, positive) or (anchor, positive, negative, ...). With
    ``mask_duplicates=False``, value and gradients are those of the two library losses. See
    ``nested.nested_ranking_loss`` for the formula; it is computed in float32 for any model dtype.
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
        """Store the settings.

        Args:
            model: The model to train.
            matryoshka_dims: Widths, in any order.
            matryoshka_weights: Weight of each width; None for 1 each.
            scale: Inverse temperature.
            directions: Compared sides, see ``objective.Ranking``.
            partition_mode: "joint" or "per_direction", see ``objective.Ranking``.
            mini_batch_size: Texts to embed at a time, with gradient caching (Gao et al. 2021), for
                batches that do not fit in memory. Each text is then embedded twice. None embeds
                the batch at once.
            gather_across_devices: Rank against the texts of all processes.
            mask_duplicates: Do not use a text as a negative if it equals the anchor or its
                positive. Texts are equal if their tokens without padding are equal, or their
                values in a label column.
            teach: Weight of the distillation of the full-width ranking into the prefixes; 0
                disables it.
            teacher: Model whose ranking is distilled instead, into prefixes and full width.
            random_dims: Additional widths to draw at each step, see ``objective.Objective``.
            straight_through: Also rank "int8" or "binary" codes of the candidates, see
                ``objective.Objective``.
            orthogonality: Weight of the squared correlations between dims, see
                ``objective.Objective``.

        Raises:
            InvalidArgument: If a setting is out of range, or a dim is larger than the model's
                width.
        """
        super().__init__(model, matryoshka_dims, matryoshka_weights, teacher)
        self.objective = Objective(
            self.prefixes,
            Ranking(scale, tuple(directions), partition_mode, teach),
            random_dims,
            straight_through,
            orthogonality,
        )
        self.uses_gradient_cache = mini_batch_size is not None
        self.mini_batch_size = _checked_size(mini_batch_size)
        self.gather_across_devices = gather_across_devices
        self.mask_duplicates = mask_duplicates
        self._relations = NO_RELATIONS

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None) -> Tensor:
        """Return the weighted sum of the prefixes' losses."""
        features = [dict(column) for column in sentence_features]
        keys = [column.pop(TEXT_KEY, None) for column in features]  # not an input of the model
        relations = NO_RELATIONS
        if self.mask_duplicates:
            pairs = zip(keys, features, strict=True)
            found = [text_keys(column) if key is None else key for key, column in pairs]
            relations = self._relations_of(found, labels)
        if self.teacher is not None:
            columns = self._gather(self.teacher_embeddings(features, self.mini_batch_size))
            relations = replace(relations, teacher=(columns[0], torch.cat(columns[1:])))
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
        """Return the loss of a batch that was embedded in parts; called by the gradient cache."""
        loss = self._loss([torch.cat(column) for column in reps], self._relations)
        if with_backward:
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        return loss

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """Return the loss of embeddings, without masking of duplicates."""
        return self._loss(embeddings, NO_RELATIONS)

    def _loss(self, columns: Sequence[Tensor], relations: Relations) -> Tensor:
        if len(columns) < 2:
            problem = f"The data set has {len(columns)} text column."
            raise InvalidArgument(f"{problem} Use columns for an anchor and a positive.")
        first, n_rows = 0, len(columns[0])
        if self.gather_across_devices:
            columns = [all_gather_with_grad(column) for column in columns]
            first = get_rank() * n_rows
        loss, self.latest = _NestedRanking.apply(  # type: ignore[no-untyped-call]
            columns[0],
            torch.cat(list(columns[1:])),
            self.objective,
            self._draw(),
            relations,
            slice(first, first + n_rows),
        )
        return cast("Tensor", loss)

    def _draw(self) -> tuple[int, ...]:
        """Draw additional widths, seeded by the generator that trainers save and restore."""
        if not self.objective.random_dims or not torch.is_grad_enabled():  # evaluation
            return ()
        return self.objective.draw(np.random.default_rng(int(torch.randint(2**62, ()))))

    def _relations_of(self, keys: list[Tensor], labels: Tensor | None) -> Relations:
        known = labels if labels is not None and labels.numel() == len(keys[0]) else None
        keys = self._gather(keys)
        known = None if known is None else self._gather([known])[0]
        every = torch.cat(keys)
        if len(torch.unique(every)) == len(every):  # no duplicates
            return Relations(labels=known)
        return Relations(keys[0], torch.cat(keys[1:]), known)

    def _gather(self, columns: list[Tensor]) -> list[Tensor]:
        """Return the columns of all processes if ``gather_across_devices`` is set."""
        if not self.gather_across_devices:
            return columns
        return [cast("Tensor", all_gather(column)) for column in columns]

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings for the model card."""
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
    """``regularized_ranking_loss`` for autograd; gradients are computed in the forward pass.

    Returns the total loss, and the loss of each prefix, which has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, *settings: Any
    ) -> tuple[Tensor, Tensor]:
        objective, drawn, relations, rows = settings
        vectors = float32_or_wider(anchors), float32_or_wider(candidates)
        with torch.autocast(anchors.device.type, enabled=False):
            found = regularized_ranking_loss(
                vectors[0], vectors[1], objective, drawn=drawn, relations=relations, rows=rows
            )
        gradients = found.anchors.to(anchors.dtype), found.candidates.to(candidates.dtype)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(found.losses)
        return objective.prefixes.weighted_sum(found.losses) + found.added, found.losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        anchors, candidates = ctx.saved_tensors
        return anchors * gradient, candidates * gradient, None, None, None, None


def text_keys(features: Features) -> Tensor:
    """Return a key for each text of a column; texts with equal tokens have equal keys.

    The key is the sum of the tokens, each times a random number of its position. Two different
    texts have the same key with a probability of about 2 ** -60.
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
    if "cu_seq_lens_q" in features:  # flattened, for attention without padding
        ends = features["cu_seq_lens_q"].to(ids.device)
    else:  # features of a static model
        ends = torch.cat([features["offsets"], features["offsets"].new_tensor([len(ids)])])
    lengths = ends.diff()
    owners = torch.repeat_interleave(torch.arange(len(lengths), device=ids.device), lengths)
    return ids, owners, len(lengths)


def _checked_size(size: int | None) -> int:
    """Return the mini-batch size, 0 for the whole batch at once."""
    if size is not None and size < 1:
        problem = f"mini_batch_size={size} is less than 1."
        raise InvalidArgument(f"{problem} Choose 1 or more, or None.")
    return size or 0
