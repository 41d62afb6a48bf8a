"""A head's arrays as PyTorch trains them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nestvec.adapt.adaptor import Head

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Parameter

    Parameters = dict[str, Parameter]  # by the name that Head gives them


def from_head(start: Head, hidden: int, random: Generator) -> Parameters:
    """Begin with a linear head; a hidden layer of ``hidden`` units adds nothing to it yet."""
    import torch

    full_dim = len(start.matrix)
    tensors = {"matrix": torch.from_numpy(np.array(start.matrix, dtype=np.float32))}
    if hidden:
        tensors |= {
            "inner": torch.randn(full_dim, hidden, generator=random) / math.sqrt(full_dim),
            "bias": torch.zeros(hidden),
            "outer": torch.zeros(hidden, full_dim),
        }
    return {name: torch.nn.Parameter(each) for name, each in tensors.items()}


def to_head(head: Parameters) -> Head:
    """Return what was trained."""
    return Head(**{name: each.detach().numpy().copy() for name, each in head.items()})


def copied(head: Parameters) -> Parameters:
    """Return the same, to be trained apart."""
    import torch

    return {name: torch.nn.Parameter(each.detach().clone()) for name, each in head.items()}


def turn(vectors: Tensor, head: Parameters) -> Tensor:
    """Do as ``Head`` does, but for vectors of zeros."""
    turned = vectors @ head["matrix"]
    if "inner" in head:
        turned = turned + (vectors @ head["inner"] + head["bias"]).relu() @ head["outer"]
    return turned


def off_rotation(head: Parameters) -> Tensor:
    """Return how far its matrix is from a rotation, but for its scale: 0 or more. []."""
    import torch

    matrix = head["matrix"]
    gram = matrix @ matrix.T
    scaled = gram / gram.diagonal().mean()
    return (scaled - torch.eye(len(gram))).square().sum() / len(gram)
