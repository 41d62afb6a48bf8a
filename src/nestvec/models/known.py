"""Look up known models: their trained dims, prompts, tasks and other published facts.

The package contains ``known_models.toml``. A user can add rows in a file of the same format, which
take precedence: ``load_model(models=FILE)``, ``--models FILE`` or the environment variable
``NESTVEC_MODELS``. ``info`` has the defaults for models without a row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib import resources
from pathlib import Path

from nestvec.errors import DataError
from nestvec.models.known_row import KnownModel, last_part, read_rows

ROWS_FILE = "known_models.toml"  # in this package
VARIABLE = "NESTVEC_MODELS"  # environment variable with the path of a user's file
Rows = Path | str | Sequence[KnownModel]
"""Rows that take precedence: a TOML file, or rows."""


def known_models(models: Rows | None = None) -> tuple[KnownModel, ...]:
    """Return all rows; the rows of a user's file come first.

    Args:
        models: A file with rows, or rows; None for the file that ``$NESTVEC_MODELS`` names, if any.

    Raises:
        DataError: If the user's file cannot be used.
    """
    return (*_own_rows(models), *_package_rows())


def find_known(name: str, models: Rows | None = None) -> KnownModel | None:
    """Look up a model by the last part of its path or hub id, ignoring case.

    >>> find_known("models/BGE_small-en-v1.5").full_dim
    384

    Args:
        name: A path, a hub id or the name of an API model.
        models: As in ``known_models``.

    Raises:
        DataError: If the user's file cannot be used.
    """
    wanted = last_part(name)
    for row in known_models(models):
        if any(last_part(known) == wanted for known in row.names):
            return row
    return None


def closest_names(name: str, models: Rows | None = None) -> list[str]:
    """Return the canonical names of up to three known models with a similar name."""
    rows = {last_part(each): row.name for row in known_models(models) for each in row.names}
    close = get_close_matches(last_part(name), rows, n=3, cutoff=0.5)
    return list(dict.fromkeys(rows[each] for each in close))


def _own_rows(models: Rows | None) -> tuple[KnownModel, ...]:
    if models is None:
        models = os.environ.get(VARIABLE) or ()
    if not isinstance(models, str | Path):
        return tuple(models)
    path = Path(models).expanduser()
    try:
        changed = path.stat()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    return _file_rows(path, (changed.st_mtime_ns, changed.st_size))


@lru_cache(maxsize=8)
def _file_rows(path: Path, _changed: tuple[int, int]) -> tuple[KnownModel, ...]:
    """Read a file once for each of its versions."""
    return read_rows(path)


@lru_cache(maxsize=1)
def _package_rows() -> tuple[KnownModel, ...]:
    with resources.as_file(resources.files("nestvec.models") / ROWS_FILE) as path:
        return read_rows(path)
