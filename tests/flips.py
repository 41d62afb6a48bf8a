"""Damage a copy of an index, and check that this is detected; used by tests and the soak test."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from kills import POINTS, Contents, add, contents_of, new_index, vectors
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.filters.condition import Comparison
from nestvec.errors import DamagedFile, DataError

ODD = Comparison("odd", "=", 1)


def begun_index(folder: Path, n: int = 60) -> Contents:
    """Create an index with two parts, a tail and deleted rows; return its contents."""
    index = EmbeddedEngine(new_index(folder, POINTS[2]))
    numbers = {f"d{number}ü": number for number in range(n)}
    for first, last in ((0, n - 15), (n - 15, n - 5), (n - 5, n)):
        add(index, dict(list(numbers.items())[first:last]))
        if last != n:
            index.build_codes()
    index.delete(["d3ü", f"d{n - 1}ü"])
    contents = contents_of(index)
    index.close()
    return contents


def files_of(folder: Path) -> list[str]:
    """Return the files of a closed index that are not empty."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(str(path.relative_to(folder)) for path in files)


def answers(folder: Path) -> list[object]:
    """Open and verify an index, and return the results of its methods."""
    index = EmbeddedEngine(folder, verify=True)
    try:
        queries = vectors([1, 2, 900])
        found = [index.search(queries, 8, exact=exact) for exact in (True, False)]
        found.append(index.search(queries, 8, where=ODD))
        return [*found, len(index), index.get(list(index.ids())), str(index.manifest.point)]
    finally:
        index.close()


def outcome(folder: Path, expected: list[object]) -> str:
    """Return ``found`` if an error of one line was raised, ``harmless`` if all results are equal.

    Raises:
        AssertionError: If results differ, or the error does not name the folder.
    """
    try:
        results = answers(folder)
    except (DamagedFile, DataError) as error:
        line = str(error)
        assert "\n" not in line, line
        assert line.startswith(str(folder)), line
        return "found"
    assert results == expected, "wrong answers"
    return "harmless"


def damaged_copies(
    folder: Path, copy: Path, name: str, choose: random.Random, n: int
) -> Iterator[Path]:
    """Yield copies with a file missing, truncated (3 copies), and with a bit changed (``n``)."""
    whole = (folder / name).read_bytes()
    changed: list[bytes | None] = [None]
    changed += [whole[: int(len(whole) * share)] for share in (0, choose.random())] + [whole[:-1]]
    for _ in range(n):
        at = choose.randrange(len(whole))
        changed.append(whole[:at] + bytes([whole[at] ^ 1 << choose.randrange(8)]) + whole[at + 1 :])
    for content in changed:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        if content is None:
            (copy / name).unlink()
        else:
            (copy / name).write_bytes(content)
        yield copy
