"""Warnings about a model folder that loads, but whose vectors may differ from what a user expects.

Each function logs at most one warning.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from nestvec.models.folder_config import MODULES, library_config
from nestvec.models.model2vec import is_model2vec
from nestvec.models.prompts import warn_without_prompts
from nestvec.types import Kind, ModelInfo

_logger = logging.getLogger(__name__)


def warn_of_folder(folder: Path, info: ModelInfo, requested: Mapping[Kind, str]) -> None:
    """Log what a user should know about a model folder that was loaded.

    Args:
        folder: The model folder.
        info: The description of the loaded model.
        requested: Prompts that the caller passed, by kind.
    """
    warn_of_truncation(info, library_config(folder).get("truncate_dim"))
    if not (folder / MODULES).is_file() and not is_model2vec(folder):
        _logger.warning(
            "%s has no modules.json, which states the pooling, so Sentence Transformers uses mean "
            "pooling. If the model needs another pooling, save it with Sentence Transformers.",
            info.name,
        )
    warn_without_prompts(folder, info, requested)


def warn_of_truncation(info: ModelInfo, truncate_dim: int | None) -> None:
    """Log that the ``truncate_dim`` of a model is not applied."""
    if truncate_dim is not None and truncate_dim != info.full_dim:
        _logger.warning(
            "%s has truncate_dim=%s, which nestvec does not apply. The full width of %s dims is "
            "used. To truncate, choose an operating point such as '%s:float32'.",
            *(info.name, truncate_dim, info.full_dim, truncate_dim),
        )
