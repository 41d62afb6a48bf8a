"""Losses of pairs and triplets by themselves, over nested prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import embed_columns
from torch import Tensor, nn

from nestvec.errors import InvalidArgument
from nestvec.train.loss_base import Features, NestedLoss, float32_or_wider
from nestvec.train.objective import Ranking


class NestedCoSENTLoss(NestedLoss):
    """MatryoshkaLoss around CoSENTLoss: for each prefix, pairs in the order of their scores.

    With s the scaled cosines of the pairs' prefixes, loss(d) = log(1 + sum exp(s_i - s_j)) over all
    i whose score is below that of j (Su 2022). Takes (sentence1, sentence2) columns and a score.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        scale: float = 20.0,
        *,
        teach: float = 0.0,
    ) -> None:
        """Take the settings, as in ``NestedMultipleNegativesRankingLoss``.

        Args:
            model: What is trained.
            matryoshka_dims: Widths, in any order.
            matryoshka_weights: One for each; None for 1 each.
            scale: Inverse temperature.
            teach: Weight of what prefixes learn from the full width's similarities of all texts of
                the batch to one another, which scores say nothing of; 0 for nothing.
        """
        super().__init__(model, matryoshka_dims, matryoshka_weights)
        self.ranking = Ranking(scale, teach=teach)

    def forward(self, sentence_features: Iterable[Features], labels: Tensor) -> Tensor:
        """Return the weighted sum of the prefixes' losses."""
        return self.compute_loss_from_embeddings(
            embed_columns(self.model, sentence_features), labels
        )

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor) -> Tensor:
        """Return the loss of embeddings."""
        first, second = embeddings
        similarities = self.ranking.scale * _prefix_cosines(first, second, self.prefixes.dims)
        labels, order = labels.view(-1).float().sort()
        similarities = similarities[:, order]
        # Behind each pair: log of the sum of exp(-s) over all pairs with a higher score.
        behind = torch.logcumsumexp(-similarities.flip(1), dim=1).flip(1)
        behind = nn.functional.pad(behind, (0, 1), value=-torch.inf)
        higher = torch.searchsorted(labels, labels, right=True)
        terms = nn.functional.pad(similarities + behind[:, higher], (1, 0))  # exp(0) = 1
        losses = terms.logsumexp(1)
        if self.ranking.teach:
            losses = losses + self.ranking.teach * self._divergence(torch.cat([first, second]))
        return self.weigh(losses)

    def _divergence(self, texts: Tensor) -> Tensor:
        """Return how far each prefix's neighbors are from the full width's, [n_dims].

        Mean over texts of the divergence (Kullback and Leibler) of the softmax of scaled cosines to
        all others.
        """
        texts = float32_or_wider(texts)
        itself = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
        chances = []
        for dim in self.prefixes.dims:
            prefix = nn.functional.normalize(texts[:, :dim], dim=1)
            similarities = (self.ranking.scale * prefix @ prefix.T).masked_fill(itself, -1e4)
            chances.append(similarities.log_softmax(1))
        taught = chances[-1].detach()
        return torch.stack(
            [
                nn.functional.kl_div(each, taught, log_target=True, reduction="batchmean")
                for each in chances
            ]
        )

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card says of this loss."""
        return super().get_config_dict() | {
            "scale": self.ranking.scale,
            "teach": self.ranking.teach,
        }


class NestedTripletLoss(NestedLoss):
    """MatryoshkaLoss around TripletLoss with the cosine distance, from one product.

    For each prefix: mean of max(0, cos(anchor, negative) - cos(anchor, positive) + margin).
    """

    def __init__(
        self,
        model: SentenceTransformer,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None = None,
        margin: float = 0.3,
    ) -> None:
        """Take the settings, as in ``NestedMultipleNegativesRankingLoss``.

        Args:
            model: What is trained.
            matryoshka_dims: Widths, in any order.
            matryoshka_weights: One for each; None for 1 each.
            margin: How far the negative is to be below the positive, at most 2: cosines lie
                within -1 and 1 (the library's default of 5 can never be met).
        """
        super().__init__(model, matryoshka_dims, matryoshka_weights)
        if not 0 < margin <= 2:
            raise InvalidArgument(f"margin {margin} is not above 0 and at most 2, as cosines are")
        self.margin = margin

    def forward(self, sentence_features: Iterable[Features], labels: Tensor | None) -> Tensor:
        """Return the weighted sum of the prefixes' losses."""
        return self.compute_loss_from_embeddings(
            embed_columns(self.model, sentence_features), labels
        )

    def compute_loss_from_embeddings(
        self, embeddings: list[Tensor], labels: Tensor | None
    ) -> Tensor:
        """Return the loss of embeddings."""
        anchors, positives, negatives = embeddings
        right = _prefix_cosines(anchors, positives, self.prefixes.dims)
        wrong = _prefix_cosines(anchors, negatives, self.prefixes.dims)
        losses = (wrong - right + self.margin).relu().mean(1)
        return self.weigh(losses)

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card says of this loss."""
        return super().get_config_dict() | {"margin": self.margin}


def _prefix_cosines(first: Tensor, second: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the cosine of each pair of lines at each width, [n_dims, n]."""
    first, second = float32_or_wider(first), float32_or_wider(second)
    ends = [dim - 1 for dim in dims]
    products = (first * second, first.square(), second.square())
    inner, one, other = (product.cumsum(1)[:, ends].T for product in products)
    return inner / (one.clamp_min(1e-24).sqrt() * other.clamp_min(1e-24).sqrt())
