"""Base class of the nested losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from nestvec.errors import InvalidArgument
from nestvec.train.objective import Prefixes

Features = dict[str, Tensor]

_CITATION = """
@misc{kusupati2024matryoshka,
    title={Matryoshka Representation Learning},
    author={Aditya Kusupati and Gantavya Bhatt and Aniket Rege and Matthew Wallingford and Aditya
        Sinha and Vivek Ramanujan and William Howard-Snyder and Kaifeng Chen and Sham Kakade and
        Prateek Jain and Ali Farhadi},
    year={2024},
    eprint={2205.13147},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}
"""


class NestedLoss(nn.Module):
    """A loss over nested prefixes of the embeddings of a model.

    Attributes:
        prefixes: Widths and weights.
        teacher: Frozen model to distill from; None for none.
        latest: Loss of each prefix in the last batch, narrowest first; empty before the first.
    """

    citation = _CITATION

    def __init__(
        self,
        model: SentenceTransformer,
        matryoshka_dims: Sequence[int],
        matryoshka_weights: Sequence[float] | None,
        teacher: SentenceTransformer | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.teacher = None if teacher is None else teacher.requires_grad_(False).eval()
        self.prefixes = Prefixes(tuple(matryoshka_dims), tuple(matryoshka_weights or ()))
        full_dim = model.get_embedding_dimension()
        if full_dim is not None and self.prefixes.dims[-1] > full_dim:
            problem = f"dim {self.prefixes.dims[-1]} is larger than the model's width {full_dim}."
            raise InvalidArgument(f"{problem} Choose dims from 1 to {full_dim}.")
        self.latest = torch.empty(0)

    def teacher_embeddings(self, columns: Sequence[Features], batch_size: int) -> list[Tensor]:
        """Return the teacher's embeddings of each column, float32 [n, width].

        Args:
            columns: Tokenized texts, as passed to the model.
            batch_size: Texts to embed at a time; 0 embeds a column at once.
        """
        if self.teacher is None:
            return []
        with torch.inference_mode():
            return [
                torch.cat([self.teacher(part)["sentence_embedding"].float() for part in parts])
                for parts in (_split(column, batch_size) for column in columns)
            ]

    def weighted_sum(self, losses: Tensor) -> Tensor:
        """Return the weighted sum of the prefixes' losses, [n_dims], and store them for the log."""
        self.latest = losses.detach()
        return self.prefixes.weighted_sum(losses)

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings for the model card."""
        return {
            "matryoshka_dims": self.prefixes.dims,
            "matryoshka_weights": self.prefixes.weights,
        }


def _split(features: Features, size: int) -> Iterator[Features]:
    """Split a padded column into parts of at most ``size`` texts; 0 returns one part.

    A flattened column is not split.
    """
    n = len(features["input_ids"])
    tensors = {name: value for name, value in features.items() if isinstance(value, Tensor)}
    if not size or any(value.ndim < 2 or len(value) != n for value in tensors.values()):
        size = n
    for start in range(0, n, size):
        # A new dict, because the model adds its outputs to the dict.
        yield {**features, **{name: each[start : start + size] for name, each in tensors.items()}}


def float32_or_wider(vectors: Tensor) -> Tensor:
    """Return float64 vectors unchanged and others as float32, to sum many similarities exactly."""
    return vectors if vectors.dtype == torch.float64 else vectors.float()
