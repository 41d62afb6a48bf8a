"""Find the known model of stored vectors.

Vectors do not contain the facts that a model folder has, so the name of their model is needed to
know their trained dims and whether layer normalization is applied before truncation.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from nestvec.models.known import Rows, closest_names, find_known
from nestvec.models.known_row import KnownModel, last_part

_logger = logging.getLogger(__name__)


class ModelOfVectors(NamedTuple):
    """The name of the model of stored vectors, and its row for their width.

    The name is "" if neither the caller nor the folder states it. The row is None if nothing is
    known about the model at this width.
    """

    name: str
    row: KnownModel | None


def model_of_vectors(
    path: Path | str, width: int, *, stated: str | None, recorded: str, models: Rows | None
) -> ModelOfVectors:
    """Return the known model of stored vectors.

    A warning is logged if the stated name is unknown or contradicts the recorded one, or if the
    vectors have a width for which the model was not trained.

    Args:
        path: The file or folder of vectors, or the URL of a table without credentials.
        width: Number of dimensions of each vector.
        stated: Name of the model that the caller states, if any.
        recorded: Name that the folder records; "" if it records none.
        models: Rows that take precedence over the table of known models.

    Raises:
        DataError: If the file of ``models`` cannot be used.
    """
    if stated and recorded and last_part(stated) != last_part(recorded):
        _logger.warning(
            "%s records that its vectors are of the model %s. The stated model %s is used instead.",
            *(path, recorded, stated),
        )
    name = stated or recorded
    known = find_known(name or _last_name(path), models)
    if known is None:
        if stated:
            _warn_of_unknown(stated, models)
        return ModelOfVectors(name, None)
    row = known.truncated_to(width)
    if row is None:
        _logger.warning(
            "%s contains vectors of %d dims, but the known model %s has %d dims (%s), so nothing "
            "is known about the vectors. Name their model with --model, or in Python with "
            "load_model(model=...).",
            *(path, width, known.name, known.full_dim, known.origin),
        )
    return ModelOfVectors(name, row)


def _last_name(path: Path | str) -> str:
    """Return the name of a file without its suffix, or of a folder; "" for a table."""
    if isinstance(path, str):
        return ""
    return path.stem if path.is_file() else path.name


def _warn_of_unknown(name: str, models: Rows | None) -> None:
    close = closest_names(name, models)
    similar = f" Similar names: {', '.join(close)}." if close else ""
    _logger.warning(
        "%s is not a known model, so its trained dims are unknown.%s To add a row, pass a file "
        "with --models.",
        *(name, similar),
    )
