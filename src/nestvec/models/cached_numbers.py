"""Whole numbers that take long to find out, kept in small JSON files of the embedding cache.

A file that is missing or not as it should be counts as not kept. What a number may be, its user
checks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from nestvec.atomic import replace_file

Numbers = dict[str, int | None]


def read_numbers(file: Path, names: Sequence[str]) -> Numbers | None:
    """Return the numbers of a file, or None where it does not hold just these names."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(values, dict) or set(values) != set(names):
        return None
    return values if all(type(each) in (int, type(None)) for each in values.values()) else None


def write_numbers(file: Path, numbers: Mapping[str, int | None]) -> None:
    """Write the numbers.

    Raises:
        DataError: If the file cannot be written.
    """
    with replace_file(file) as temporary:
        temporary.write_text(json.dumps(dict(numbers)) + "\n", encoding="utf-8")
