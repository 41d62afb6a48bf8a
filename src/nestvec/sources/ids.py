"""Ids of vectors: files with one id per line, row numbers as ids, and checks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from nestvec.errors import DataError, InvalidArgument

IDS_SUFFIX = ".ids.txt"


class RowNumbers(Sequence[str]):
    """The ids "0" to "n - 1" of vectors that a file stores without ids."""

    def __init__(self, numbers: range) -> None:
        """Number rows; ``range(n)`` numbers all rows of a file."""
        self._numbers = numbers

    def __len__(self) -> int:
        """Count the ids."""
        return len(self._numbers)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> RowNumbers: ...

    def __getitem__(self, row: int | slice) -> str | RowNumbers:
        """Return the id of a row, or the ids of a slice of rows."""
        if isinstance(row, slice):
            return RowNumbers(self._numbers[row])
        return str(self._numbers[row])


def ids_file(path: Path) -> Path:
    """Return the file of the ids of a file without ids: ``v.ids.txt`` for ``v.npy``."""
    return path.with_name(path.stem + IDS_SUFFIX)


def check_ids(ids: Iterable[str]) -> None:
    """Check that each id can be written on one line.

    Raises:
        InvalidArgument: If an id is empty or contains a line break.
    """
    for name in ids:
        if not name or "\n" in name or "\r" in name:
            raise InvalidArgument(f"id {name!r} is empty or has a line break. Choose another id.")


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write ids, one per line; call ``check_ids`` first."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{name}\n" for name in ids)


def read_ids(path: Path) -> list[str]:
    """Read ids, one per line.

    Raises:
        DataError: If the file is missing or not UTF-8, or a line is empty.
    """
    try:
        with path.open(encoding="utf-8") as file:
            ids = [line.rstrip("\n") for line in file]
    except FileNotFoundError as error:
        raise DataError(path, "is missing. It lists the ids of the rows, one per line.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, f"cannot be read as UTF-8 ({error})") from error
    if "" in ids:
        raise DataError(path, "has an empty line instead of an id", line=ids.index("") + 1)
    return ids


def stored_ids(path: Path, n: int) -> Sequence[str] | None:
    """Return the ids of the file ``v.ids.txt`` of a file ``v``; None if there is no such file.

    Args:
        path: The file of the vectors.
        n: Number of vectors.

    Raises:
        DataError: If the file of the ids cannot be read or has another number of ids.
    """
    names = ids_file(path)
    if not names.is_file():
        return None
    ids = read_ids(names)
    if len(ids) != n:
        raise DataError(path, f"has {n} rows, but there are {len(ids)} ids in {names.name}")
    return ids


def as_id(value: Any, path: Path | str, row: int) -> str:
    """Return an id as text; a number such as 7 becomes "7".

    Raises:
        DataError: If the id is null, empty, a fraction, a list or an object.
    """
    if value is None or value == "":
        raise DataError(path, f"row {row} has no id")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating):
        if not float(value).is_integer():
            raise DataError(path, f"row {row} has the id {value}. Use text or whole numbers.")
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        kind = type(value).__name__
        raise DataError(path, f"row {row} has an id of type {kind}. Use text or whole numbers.")
    text = str(value)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError(path, f"row {row} has an id that is not valid text (\\ud...).")
    return text


def code_text(code: str) -> str:
    """Return the text of a code that ``engines.filters.tokens.text_code`` returned.

    Ids in an index of nestvec in Milvus are stored as such codes.
    """
    characters = re.sub("[!_~](..)", lambda escape: chr(int(escape[1], 16)), code)
    return characters.encode("latin-1").decode("utf-8", "surrogatepass")


def check_unique(ids: Sequence[str], path: Path | str) -> None:
    """Check that no id appears twice.

    Only a hash of 8 bytes of each id is stored, so that the check of millions of ids uses little
    memory.

    Raises:
        DataError: If an id appears twice.
    """
    if isinstance(ids, RowNumbers):
        return
    hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
    hashes.sort()
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not repeated:
        return
    first_row: dict[str, int] = {}
    for row, name in enumerate(ids):
        if hash(name) not in repeated:
            continue
        if name in first_row:
            rows = f"rows {first_row[name]} and {row}"
            raise DataError(path, f"id {name!r} appears twice ({rows}). Ids must be unique.")
        first_row[name] = row
