"""Read the JSON files that nestvec writes, each of one kind and one version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nestvec.errors import DataError


def read_versioned(
    path: Path, *, kind: str, version: int, remedy: str, oldest: int | None = None
) -> dict[str, Any]:
    """Read a JSON object that says it is of this version.

    Args:
        path: The file.
        kind: What it should be ("curve").
        version: What its key ``version`` should hold.
        remedy: What to do if it does not ("evaluate again").
        oldest: The oldest version that can still be read; None for no older one.

    Raises:
        DataError: If it cannot be read, is not JSON or is of a version that cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(path, f"is not JSON ({error})") from error
    if isinstance(values, dict):
        found = values.get("version")
        if type(found) is int and (oldest or version) <= found <= version:
            return values
    raise DataError(path, f"is not a {kind} of version {version}: {remedy}")
