"""The name of the model of a folder of vectors, recorded in ``vectors.json``."""

from __future__ import annotations

import json
from pathlib import Path

from nestvec.errors import DataError
from nestvec.files.versioned import read_versioned

VECTORS_FILE = "vectors.json"
VECTORS_VERSION = 1


def read_model_name(folder: Path) -> str:
    """Return the name of the model of the vectors in a folder; "" if it is not recorded.

    Raises:
        DataError: If the file cannot be read.
    """
    path = folder / VECTORS_FILE
    if not path.is_file():
        return ""
    remedy = "Delete this file, or name the model again."
    values = read_versioned(
        path, kind="description of vectors", version=VECTORS_VERSION, remedy=remedy
    )
    name = values.get("model")
    if not isinstance(name, str):
        raise DataError(path, f"has no name of a model. {remedy}")
    return name


def write_model_name(path: Path, name: str) -> None:
    """Write the name of the model of vectors to a file, which belongs to their folder."""
    text = json.dumps({"version": VECTORS_VERSION, "model": name}, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
