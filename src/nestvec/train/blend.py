"""Average trained weights with those from before training, so that less is forgotten.

Weight-space averaging of WiSE-FT (Wortsman et al., arXiv 2109.01903). How much is for the caller
to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def keep_weights(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return a model's own floating tensors, each with a copy, on the CPU, of what it holds.

    A tensor that has several names is there once.
    """
    return [
        (tensor, tensor.detach().to("cpu", copy=True))
        for tensor in chain(model.parameters(), model.buffers())
        if tensor.is_floating_point()
    ]


def blend(kept: Sequence[tuple[Tensor, Tensor]], share: float) -> None:
    """Make each tensor, in place, (1 - share) of what it holds and a share of what it held.

    Tensors that a model has got since, such as those of a new layer, stay as they are.

    Args:
        kept: What ``keep_weights`` gave before training.
        share: 0 changes nothing, 1 takes training back.
    """
    import torch

    with torch.no_grad():
        for tensor, before in kept:
            tensor.lerp_(before.to(tensor.device), share)
