"""Read folders that model2vec saved, such as the "potion" models, without model2vec.

Vectors equal those of model2vec: unknown tokens are left out, and texts are truncated to the
``max_length`` of the folder (512 tokens by default). Sentence Transformers loads the same folders,
but also averages the vector of the unknown token. model2vec also truncates the characters of
extremely long texts before tokenization; this module does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nestvec.errors import ModelError, require
from nestvec.models.folder_config import read_config
from nestvec.types import Embeddings

TABLE, _ROWS, _WEIGHTS = "embeddings", "mapping", "weights"
_DTYPES = ("F64", "F32", "F16", "I8")  # NumPy has no bfloat16
_MAX_TOKENS = 512  # the default of model2vec


class TableSettings(NamedTuple):
    """How a table of a model2vec folder is used."""

    normalize: bool
    max_tokens: int | None


def is_model2vec(folder: Path) -> bool:
    """Return whether model2vec saved a folder, and its table can be read by NumPy."""
    file = folder / "model.safetensors"
    if read_config(folder / "config.json").get("model_type") != "model2vec" or not file.is_file():
        return False
    with open_tensors(file) as tensors:
        names = set(tensors.keys())
        return (
            TABLE in names
            and names <= {TABLE, _ROWS, _WEIGHTS}
            and tensors.get_slice(TABLE).get_dtype() in _DTYPES
        )


@contextmanager
def open_tensors(file: Path) -> Iterator[Any]:
    """Open a safetensors file, whose tensors are read when they are used.

    Raises:
        ModelError: If the file or a tensor cannot be read.
    """
    safetensors = require("safetensors", extra="models")
    try:
        with safetensors.safe_open(file, framework="numpy") as tensors:
            yield tensors
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"{file}: cannot be read ({error}). Copy or save the file again."
        ) from error


def read_table(folder: Path) -> Embeddings:
    """Return the vector of each token id, float32 [vocabulary, full_dim].

    Raises:
        ModelError: If the tensors do not fit each other.
    """
    file = folder / "model.safetensors"
    tensors = require("safetensors.numpy", extra="models").load_file(file)
    table: Embeddings = tensors[TABLE].astype(np.float32)
    try:
        if _ROWS in tensors:
            table = table[tensors[_ROWS].astype(np.int64)]
        if _WEIGHTS in tensors:
            table = table * tensors[_WEIGHTS].astype(np.float32)[:, None]
    except (IndexError, ValueError) as error:
        raise ModelError(f"{file}: its tensors do not fit each other ({error}).") from error
    return table


def read_settings(folder: Path) -> TableSettings:
    """Return the settings in the ``config.json`` of a folder."""
    config = read_config(folder / "config.json")
    limit = config.get("max_length", _MAX_TOKENS)
    return TableSettings(bool(config.get("normalize")), limit if isinstance(limit, int) else None)


def unknown_token_of(tokenizer: Any) -> int | None:
    """Return the id of a tokenizer's unknown token, or None."""
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    if "unk_id" in model:  # a unigram tokenizer
        unknown = model["unk_id"]
    else:
        token = model.get("unk_token")
        unknown = None if token is None else tokenizer.token_to_id(token)
    return None if unknown is None else int(unknown)
