"""What the files of the embedding cache have in common, and the small ones among them.

A folder that cannot be written is told with the way out. Whole numbers that take long to find out
lie in JSON files; one that is missing or not as it should be counts as not kept, and what a number
may be, its user checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nestvec.errors import DataError
from nestvec.files.atomic import replace_file

Numbers = dict[str, int | None]


@contextmanager
def replace_cache_file(file: Path) -> Iterator[Path]:
    """Replace a file as ``atomic.replace_file`` does.

    Raises:
        DataError: If it cannot be written; the message says how to do without.
    """
    try:
        with replace_file(file) as temporary:
            yield temporary
    except DataError as error:
        way_out = "set NESTVEC_CACHE to a folder that can be, or use no cache"
        problem = f"the embedding cache cannot be written ({error.__cause__}): {way_out}"
        raise DataError(file.parent, problem) from error


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
    with replace_cache_file(file) as temporary:
        temporary.write_text(json.dumps(dict(numbers)) + "\n", encoding="utf-8")
