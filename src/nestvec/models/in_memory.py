"""Use a ``SentenceTransformer`` in memory as an encoder.

The fingerprint of a model is computed from its files, so the model is saved to a temporary folder
first. If its weights equal those of the folder that it was loaded from, it has the name and
fingerprint of that folder. An index built with one can then be searched with the other. A model
with a ``truncate_dim`` is used at its full width, as a folder is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestvec.errors import ModelError
from nestvec.models.info import ModelOptions, describe, known_model, refuse_dtype
from nestvec.models.notices import warn_of_truncation
from nestvec.models.prompts import choose_prompts, states_prompts
from nestvec.models.sentence_transformer import (
    SentenceTransformerEncoder,
    full_dim_of,
    max_tokens_of,
    quiet,
)
from nestvec.models.transformer import TransformerEncoder, exposes_tokens
from nestvec.types import Kind, ModelInfo

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def encoder_in_memory(model: SentenceTransformer) -> SentenceTransformerEncoder:
    """Wrap a loaded model; its device, prompts and dtype do not change.

    Raises:
        ModelError: If its dims are unknown, or it cannot be saved to compute the fingerprint.
        InvalidArgument: If it is a known model that must not compute in its data type.
    """
    dtype: Any = str(model.dtype).removeprefix("torch.")
    info = _info(model)
    refuse_dtype(info.name, dtype)
    warn_of_truncation(info, model.truncate_dim)
    encoder = SentenceTransformerEncoder(info, model, dtype=dtype)
    return TransformerEncoder(encoder) if exposes_tokens(encoder) else encoder


def _info(model: SentenceTransformer) -> ModelInfo:
    source = _source(model)
    name = f"{type(model).__name__} in memory"
    full_dim, max_tokens = full_dim_of(model, name), max_tokens_of(model)
    with tempfile.TemporaryDirectory(prefix="nestvec-") as folder:
        saved = Path(folder)
        try:
            with quiet():
                model.save(str(saved), create_model_card=False)
        except Exception as error:  # two libraries and remote code can raise any error
            problem = f"cannot be saved to compute its fingerprint ({error})"
            raise ModelError(f"{name}: {problem}") from error
        unchanged = source is not None and _same_weights(saved, source)
        options = ModelOptions(str(source) if unchanged else name)
        info = describe(saved, options, full_dim=full_dim, max_tokens=max_tokens)
    if source is None or not unchanged:
        return info
    options = ModelOptions(str(source), prompts=_changed_prompts(info, source))
    return describe(source, options, full_dim=full_dim, max_tokens=max_tokens)


def _changed_prompts(saved: ModelInfo, source: Path) -> dict[Kind, str]:
    """Return the prompts of a model in memory that differ from those of its folder.

    The library gives a model without prompts two empty ones. They count only if the folder names
    prompts, too.
    """
    before = choose_prompts(source, {}, known_model(str(source), saved.full_dim))
    if not (any(saved.prompts.values()) or states_prompts(source)):
        return {}
    same = {"query": before.query, "document": before.document}
    return {kind: prompt for kind, prompt in saved.prompts.items() if prompt != same[kind]}


def _source(model: SentenceTransformer) -> Path | None:
    """Return the folder that a model was loaded from, or None if it is unknown or missing."""
    config = getattr(getattr(model[0], "model", None), "config", None)
    name = getattr(config, "_name_or_path", "")
    return Path(name) if name and Path(name).is_dir() else None


def _same_weights(saved: Path, source: Path) -> bool:
    """Return whether the source has every saved tensor, in the dtype of the saved model.

    The source may have more tensors: a library ignores those that its model does not use.
    """
    import torch
    from safetensors import safe_open

    files, others = _files_of_tensors(saved), _files_of_tensors(source)
    if not files or not files.keys() <= others.keys():
        return False
    for key, file in files.items():
        with safe_open(file, framework="pt") as left, safe_open(others[key], "pt") as right:
            tensor = left.get_tensor(key[1])
            if not torch.equal(tensor, right.get_tensor(key[1]).to(tensor.dtype)):
                return False
    return True


def _files_of_tensors(folder: Path) -> dict[tuple[str, str], Path]:
    """Return the file of each tensor, by (folder of its module, name of the tensor)."""
    from safetensors import safe_open

    files = {}
    for file in sorted(folder.rglob("*.safetensors")):
        module = file.parent.relative_to(folder).as_posix()
        with safe_open(file, framework="pt") as tensors:
            files.update({(module, name): file for name in tensors.keys()})  # noqa: SIM118
    return files
