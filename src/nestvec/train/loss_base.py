"""What all nested losses have in common."""

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
    """What all nested losses have: a model, prefixes, and a description for the model card.

    Attributes:
        prefixes: Widths and weights.
        teacher: A model that is asked and not trained; None for none.
        latest: Loss of each prefix of the batch before, narrowest first; empty before the first.
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
            problem = f"{self.prefixes.dims[-1]} dims > {full_dim}"
            raise InvalidArgument(f"{problem}, which is the model's width")
        self.latest = torch.empty(0)

    def ask_teacher(self, columns: Sequence[Features], at_once: int) -> list[Tensor]:
        """Return what the teacher makes of each column, float32 [n, width].

        Args:
            columns: What the model gets.
            at_once: Texts at a time; 0 for a whole column.
        """
        if self.teacher is None:
            return []
        with torch.inference_mode():
            return [
                torch.cat([self.teacher(part)["sentence_embedding"].float() for part in parts])
                for parts in (_cut(column, at_once) for column in columns)
            ]

    def weigh(self, losses: Tensor) -> Tensor:
        """Return the weighted sum of the prefixes' losses, [n_dims], and keep them to be logged."""
        self.latest = losses.detach()
        return self.prefixes.weigh(losses)

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card says of this loss."""
        return {
            "matryoshka_dims": self.prefixes.dims,
            "matryoshka_weights": self.prefixes.weights,
        }


def _cut(features: Features, size: int) -> Iterator[Features]:
    """Cut a padded column into parts of a size, if any; a flattened one stays whole."""
    n = len(features["input_ids"])
    tensors = {name: value for name, value in features.items() if isinstance(value, Tensor)}
    if not size or any(value.ndim < 2 or len(value) != n for value in tensors.values()):
        size = n
    for start in range(0, n, size):
        # A dict of its own: the model puts what it makes of texts beside them.
        yield {**features, **{name: each[start : start + size] for name, each in tensors.items()}}


def float32_or_wider(vectors: Tensor) -> Tensor:
    """Return vectors in a precision in which thousands of similarities can be summed."""
    return vectors if vectors.dtype == torch.float64 else vectors.float()
