"""Convert vectors of users (arrays, tensors, lists) to float32 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings


def as_embeddings(vectors: object, *, name: str = "embeddings") -> Embeddings:
    """Return vectors as an array of floating-point numbers, [n, dim].

    Args:
        vectors: A NumPy array, a PyTorch tensor on any device, or lists of numbers. A
            floating-point array is returned unchanged, also if it is memory-mapped.
        name: Name of the argument, for messages.

    Raises:
        InvalidArgument: If the values are not numbers, or the vectors differ in length.
    """
    if isinstance(vectors, np.ndarray) and vectors.ndim and vectors.dtype.kind == "f":
        return vectors
    if isinstance(vectors, list | tuple):
        vectors = [_from_tensor(vector) for vector in vectors]
    kind = type(vectors).__name__
    try:
        array = np.array(_from_tensor(vectors), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise _unreadable(name, f"{kind}: {error}") from error
    if array.ndim == 0:
        raise _unreadable(name, kind)
    return array


def _unreadable(name: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{name} cannot be read as vectors ({why}). Pass an array, a tensor or lists of numbers of "
        "equal length, [n, dim]."
    )


def _from_tensor(vectors: Any) -> Any:
    """Convert a PyTorch tensor on any device; NumPy does not support bfloat16."""
    if not all(hasattr(vectors, name) for name in ("detach", "cpu", "float", "numpy")):
        return vectors
    return vectors.detach().cpu().float().numpy()
