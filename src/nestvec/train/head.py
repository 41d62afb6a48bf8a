"""A trained layer that makes a model's vectors narrower, or turns them to principal axes.

Importing this loads PyTorch and Sentence Transformers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize

from nestvec.errors import InvalidArgument

_SAMPLE = 10_000  # texts: enough for the axes of a thousand dims


def append_head(model: SentenceTransformer, texts: Sequence[str], out_dim: int) -> None:
    """Append a linear layer without bias that keeps the principal axes of the texts' vectors.

    It stands before a last normalisation, if there is one, so that vectors stay of unit length.
    Before training, cosines at the new width are those of the best projection of the vectors.

    Args:
        model: What is changed.
        texts: Those that the model is to learn from; a sample of them is encoded.
        out_dim: The new width; the model's own only turns its vectors.

    Raises:
        InvalidArgument: If the width is above the model's.
    """
    full_dim = model.get_embedding_dimension() or 0
    if not 0 < out_dim <= full_dim:
        raise InvalidArgument(
            f"out_dim {out_dim} is not within 1 and {full_dim}, the model's width"
        )
    distinct = list(dict.fromkeys(texts))
    sample = distinct[:: max(1, len(distinct) // _SAMPLE)]
    vectors = model.encode(sample, convert_to_tensor=True, show_progress_bar=False).float()
    # Not centred: what is compared are cosines, which are about the origin.
    axes = torch.linalg.eigh(vectors.T @ vectors).eigenvectors.flip(1)[:, :out_dim]
    head = Dense(
        full_dim,
        out_dim,
        bias=False,
        activation_function=None,
        init_weight=axes.T.contiguous().clone(),
    )
    last = len(model) - 1 if isinstance(model[-1], Normalize) else len(model)
    modules = [*model.children()]
    for name, _ in list(model.named_children()):
        delattr(model, name)
    for number, module in enumerate([*modules[:last], head.to(vectors.device), *modules[last:]]):
        model.add_module(str(number), module)
