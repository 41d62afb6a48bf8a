"""The fingerprint of a model: a sha256 of weights, tokenizer, modules, prompts and tasks.

The fingerprint does not depend on the path of the folder, on its README, pictures, ONNX copies and
training records, on library versions or dtype, or on configuration keys that do not affect vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from nestvec.errors import ModelError
from nestvec.types import Kind

_SUFFIXES = {".safetensors", ".bin", ".model", ".py"}
_NAMES = {
    "modules.json",
    "config.json",
    "router_config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
}
_OTHER_FORMATS = {"onnx", "openvino"}  # copies of the weights that nestvec does not load
# Preparing a folder for vLLM or saving it again changes these keys but not the vectors.
_KEYS_WITHOUT_EFFECT = {
    "matryoshka_dimensions",
    "is_matryoshka",
    "nestvec",
    "_name_or_path",
    "transformers_version",
}


class Fingerprints(NamedTuple):
    """Hashes of a model: of its files and prompts together, and of its files alone."""

    model: str
    files: str


def fingerprint_folder(
    folder: Path, prompts: Mapping[Kind, str], tasks: Mapping[Kind, str] | None = None
) -> Fingerprints:
    """Compute the fingerprints of a model folder.

    Args:
        folder: A model folder, or a snapshot of one from the hub.
        prompts: The prompts that nestvec prepends to texts, by kind.
        tasks: The ``task`` argument of the model, by kind. Without tasks the fingerprint is the
            same as in earlier versions.

    Raises:
        ModelError: If the folder cannot be read or contains no model.
    """
    files = sorted(
        (file.relative_to(folder).as_posix(), file)
        for file in folder.rglob("*")
        if _belongs(file, folder)
    )
    if not files:
        raise ModelError(f"{folder}: contains no model files.")
    total = hashlib.sha256()
    for name, file in files:
        total.update(f"{name}\0{_digest(file)}\0".encode())
    files_alone = total.hexdigest()
    total.update(json.dumps(dict(prompts), sort_keys=True).encode())
    if tasks and any(tasks.values()):
        total.update(json.dumps(dict(tasks), sort_keys=True).encode())
    return Fingerprints(total.hexdigest(), files_alone)


def _belongs(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    if any(part.startswith(".") or part in _OTHER_FORMATS for part in parts[:-1]):
        return False
    return (file.suffix in _SUFFIXES or file.name in _NAMES) and file.is_file()


def _digest(file: Path) -> str:
    try:
        if file.name == "config.json":
            return hashlib.sha256(_settings(file)).hexdigest()
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error


def _settings(file: Path) -> bytes:
    content = file.read_bytes()
    try:
        values = json.loads(content)
    except ValueError:
        return content
    if isinstance(values, dict):
        values = {name: values[name] for name in values if name not in _KEYS_WITHOUT_EFFECT}
    return json.dumps(values, sort_keys=True).encode()
