"""Damage a copy of an index and look whether that is found: for tests, and for the soak."""

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
    """Make an index with two coded parts, a tail and deleted rows; return what it holds."""
    index = EmbeddedEngine(new_index(folder, POINTS[2]))
    numbers = {f"d{number}ü": number for number in range(n)}
    for first, last in ((0, n - 15), (n - 15, n - 5), (n - 5, n)):
        add(index, dict(list(numbers.items())[first:last]))
        if last != n:
            index.code()
    index.delete(["d3ü", f"d{n - 1}ü"])
    contents = contents_of(index)
    index.close()
    return contents


def files_of(folder: Path) -> list[str]:
    """Return the files of a closed index that hold something."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(str(path.relative_to(folder)) for path in files)


def answers(folder: Path) -> list[object]:
    """Open an index, verify it, and return all that it says."""
    index = EmbeddedEngine(folder, verify=True)
    try:
        queries = vectors([1, 2, 900])
        found = [index.search(queries, 8, exact=exact) for exact in (True, False)]
        found.append(index.search(queries, 8, where=ODD))
        return [*found, len(index), index.get(list(index.ids())), str(index.manifest.point)]
    finally:
        index.close()


def outcome(folder: Path, expected: list[object]) -> str:
    """Return ``found`` if damage was refused in one line, ``harmless`` if nothing is different.

    Raises:
        AssertionError: If answers differ, or the line says nothing.
    """
    try:
        said = answers(folder)
    except (DamagedFile, DataError) as error:
        line = str(error)
        assert "\n" not in line, line
        assert line.startswith(str(folder)), line
        return "found"
    assert said == expected, "wrong answers"
    return "harmless"


def damaged_copies(
    folder: Path, copy: Path, name: str, choose: random.Random, n: int
) -> Iterator[Path]:
    """Yield a copy with a file gone, cut three times, and then ``n`` times with a bit changed."""
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
