"""Find the model that an index names, also when both have moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nestvec.errors import ModelError
from nestvec.models.load import load_model
from nestvec.models.sentence_transformer import DType
from nestvec.types import Encoder, ModelInfo


def findable_anywhere(model: ModelInfo) -> ModelInfo:
    """Name a local model by its whole path, so that the index finds it from any folder."""
    folder = Path(model.name)
    return replace(model, name=str(folder.resolve())) if folder.exists() else model


def load_named(name: str, index: Path, *, dtype: DType | None = "float32") -> Encoder:
    """Load the model that an index names; a folder that moved with it stands beside it.

    Args:
        name: As the index names it.
        index: The index.
        dtype: As in ``load_model``.

    Raises:
        ModelError: If it is not there.
    """
    moved = index.resolve().parent / Path(name).name
    if Path(name).is_absolute() and not Path(name).exists():
        if moved.exists():
            return load_model(moved, dtype=dtype)
        raise ModelError(f"{name}, the model of {index}, is not there: name it when opening")
    return load_model(name, dtype=dtype)
