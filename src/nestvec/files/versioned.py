"""Read the versioned JSON files that nestvec writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nestvec.errors import DataError


def read_versioned(
    path: Path, *, kind: str, version: int, remedy: str, oldest: int | None = None
) -> dict[str, Any]:
    """Read a JSON object and check its ``version`` key.

    Args:
        path: The file.
        kind: What the file contains, for messages ("curve").
        version: The newest readable version.
        remedy: A sentence that says what to do about another version ("Evaluate again.").
        oldest: The oldest readable version; None if only ``version`` is readable.

    Raises:
        DataError: If the file cannot be read, is not JSON, or has another version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not JSON ({error})") from error
    return parse_versioned(text, path, kind=kind, version=version, remedy=remedy, oldest=oldest)


def parse_versioned(
    text: str,
    where: Path | str,
    *,
    kind: str,
    version: int,
    remedy: str,
    oldest: int | None = None,
) -> dict[str, Any]:
    """Parse the text of a file as ``read_versioned`` reads it.

    Args:
        text: The text of the file.
        where: The file, for messages.
        kind: As in ``read_versioned``.
        version: As in ``read_versioned``.
        remedy: As in ``read_versioned``.
        oldest: As in ``read_versioned``.

    Raises:
        DataError: If the text is not JSON, or has another version.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise DataError(where, f"is not JSON ({error})") from error
    if isinstance(values, dict):
        found = values.get("version")
        if type(found) is int and (oldest or version) <= found <= version:
            return values
    raise DataError(where, f"is not a {kind} of version {version}. {remedy}")
