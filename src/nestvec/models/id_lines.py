"""Ids as lines of a text file, one for each row of a ``.npy`` beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nestvec.errors import DataError, InvalidArgument


def check_ids(ids: Iterable[str]) -> None:
    """Refuse ids that could not be read back.

    Raises:
        InvalidArgument: If one cannot stand on a line of its own.
    """
    for name in ids:
        if not name or "\n" in name or "\r" in name:
            raise InvalidArgument(f"id {name!r} is empty or has a line break: give it another")


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write ids that ``check_ids`` let through."""
    path.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8", newline="\n")


def read_ids(path: Path) -> list[str]:
    """Read what ``write_ids``, or a person, wrote.

    Raises:
        DataError: If there is no such file, it is not UTF-8, or a line is empty.
    """
    try:
        with path.open(encoding="utf-8") as file:
            ids = [line.rstrip("\n") for line in file]
    except FileNotFoundError as error:
        raise DataError(path, "is missing: it names the rows of the .npy, one id a line") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read as UTF-8 ({error})") from error
    if "" in ids:
        raise DataError(path, "an empty line where an id belongs", line=ids.index("") + 1)
    return ids
