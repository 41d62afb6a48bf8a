"""Nested losses that do not use other texts of the batch as negatives: scored pairs, triplets."""

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
    """MatryoshkaLoss around CoSENTLoss: each prefix is trained to order pairs by their scores.

    With s the scaled cosines of the pairs' prefixes, loss(d) = log(1 + sum exp(s_i - s_j)) over all
    i whose score is below that of j (Su 2022). Columns are (sentence1, sentence2) and a score.
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
        """Store the settings.

        Args:
            model: The model to train.
            matryoshka_dims: Widths, in any order.
            matryoshka_weights: Weight of each width; None for 1 each.
            scale: Inverse temperature.
            teach: Weight of the distillation of the full width into the prefixes: similarities
                between all texts of the batch, also those without a score. 0 disables it.
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
        # For each position: log of the sum of exp(-s) over this pair and all pairs after it.
        suffix = torch.logcumsumexp(-similarities.flip(1), dim=1).flip(1)
        suffix = nn.functional.pad(suffix, (0, 1), value=-torch.inf)
        higher = torch.searchsorted(labels, labels, right=True)  # first pair with a higher score
        terms = nn.functional.pad(similarities + suffix[:, higher], (1, 0))  # exp(0) = 1
        losses = terms.logsumexp(1)
        if self.ranking.teach:
            losses = losses + self.ranking.teach * self._divergence(torch.cat([first, second]))
        return self.weighted_sum(losses)

    def _divergence(self, texts: Tensor) -> Tensor:
        """Return the divergence of each prefix from the full width, [n_dims].

        This is the mean over texts of the Kullback-Leibler divergence of the softmax over the
        scaled cosines to all other texts.
        """
        texts = float32_or_wider(texts)
        is_self = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
        log_probabilities = []
        for dim in self.prefixes.dims:
            prefix = nn.functional.normalize(texts[:, :dim], dim=1)
            similarities = (self.ranking.scale * prefix @ prefix.T).masked_fill(is_self, -1e4)
            log_probabilities.append(similarities.log_softmax(1))
        target = log_probabilities[-1].detach()
        return torch.stack(
            [
                nn.functional.kl_div(each, target, log_target=True, reduction="batchmean")
                for each in log_probabilities
            ]
        )

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings for the model card."""
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
        """Store the settings.

        Args:
            model: The model to train.
            matryoshka_dims: Widths, in any order.
            matryoshka_weights: Weight of each width; None for 1 each.
            margin: Required difference between the cosines of positive and negative, at most 2.
                The library's default of 5 cannot be reached by cosines.
        """
        super().__init__(model, matryoshka_dims, matryoshka_weights)
        if not 0 < margin <= 2:
            problem = f"margin={margin} is out of range for a difference of cosines."
            raise InvalidArgument(f"{problem} Choose a value greater than 0 and at most 2.")
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
        return self.weighted_sum(losses)

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings for the model card."""
        return super().get_config_dict() | {"margin": self.margin}


def _prefix_cosines(first: Tensor, second: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the cosine of each pair of rows at each width, [n_dims, n]."""
    first, second = float32_or_wider(first), float32_or_wider(second)
    ends = [dim - 1 for dim in dims]
    products = (first * second, first.square(), second.square())
    inner, one, other = (product.cumsum(1)[:, ends].T for product in products)
    return inner / (one.clamp_min(1e-24).sqrt() * other.clamp_min(1e-24).sqrt())
