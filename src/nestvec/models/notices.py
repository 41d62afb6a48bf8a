"""Warnings about a model folder that loads, but whose vectors may differ from what a user expects.

Each function logs at most one warning.
"""

from __future__ import annotations

import logging
from pathlib import Path

from nestvec.models.folder_config import MODULES, accepts_task, library_config
from nestvec.models.info import ModelOptions
from nestvec.models.known import Rows, find_known
from nestvec.models.model2vec import is_model2vec
from nestvec.models.prompts import warn_without_prompts
from nestvec.types import ModelInfo

_logger = logging.getLogger(__name__)


def warn_of_folder(folder: Path, info: ModelInfo, options: ModelOptions) -> None:
    """Log what a user should know about a model folder that was loaded.

    Args:
        folder: The model folder.
        info: The description of the loaded model.
        options: What the caller set for the model.
    """
    warn_of_row(info, options.models)
    _warn_of_task(folder, info)
    warn_of_truncation(info, library_config(folder).get("truncate_dim"))
    if not (folder / MODULES).is_file() and not is_model2vec(folder):
        _logger.warning(
            "%s has no modules.json, which states the pooling, so Sentence Transformers uses mean "
            "pooling. If the model needs another pooling, save it with Sentence Transformers.",
            info.name,
        )
    warn_without_prompts(folder, info, options.prompts, options.models)


def warn_of_row(info: ModelInfo, models: Rows | None = None) -> None:
    """Log that the row of a known model contradicts the model, or that a prompt lowers its quality.

    Args:
        info: The description of the loaded model.
        models: Rows that take precedence over the table of known models.
    """
    known = find_known(info.name, models)
    if known is None:
        return
    if known.full_dim != info.full_dim:
        _logger.warning(
            "%s has full_dim=%s, but the known model %s has full_dim=%s (%s), so nothing is "
            "known about %s. If it is another model, rename its folder. If the table is wrong, add "
            "a row to a file and pass the file with --models.",
            *(info.name, info.full_dim, known.name, known.full_dim, known.origin, info.name),
        )
    elif known.pooling and info.pooling and known.pooling != info.pooling:
        _logger.warning(
            "%s uses %s pooling, but the known model %s uses %s pooling (%s). The vectors may be "
            "wrong. If the folder is right, write a correct row to a file and pass the file with "
            "--models.",
            *(info.name, info.pooling, known.name, known.pooling, known.origin),
        )
    if known.prompts_refused and any(info.prompts.values()):
        _logger.warning(
            "%s is used with prompts (query %r, document %r), but %s. Remove the prompts, or "
            "measure both.",
            *(info.name, info.query_prompt, info.document_prompt, known.prompts_refused),
        )


def _warn_of_task(folder: Path, info: ModelInfo) -> None:
    """Log that a model accepts a task, but nothing states which tasks it knows."""
    if info.query_task or not accepts_task(folder):
        return
    _logger.warning(
        "%s accepts a task argument. nestvec passes 'query' and 'document', as Sentence "
        "Transformers does. If the model card names other tasks, add a row with query_task and "
        "document_task to a file and pass the file with --models.",
        info.name,
    )


def warn_of_truncation(info: ModelInfo, truncate_dim: int | None) -> None:
    """Log that the ``truncate_dim`` of a model is not applied."""
    if truncate_dim is not None and truncate_dim != info.full_dim:
        _logger.warning(
            "%s has truncate_dim=%s, which nestvec does not apply. The full width of %s dims is "
            "used. To truncate, choose an operating point such as '%s:float32'.",
            *(info.name, truncate_dim, info.full_dim, truncate_dim),
        )
