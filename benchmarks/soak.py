"""Soak test: kill, damage and read an index many times, and record that nothing was lost or wrong.

python benchmarks/soak.py --kills 200 --seconds 60 --flips 40

It fails at the first acknowledged change that is missing, and at the first wrong result. The tests
of the engine run the same checks a few times.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from record import record

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from flips import answers, begun_index, damaged_copies, files_of, outcome
from kills import Killer
from together import run_together


def main() -> None:
    """Run all three checks, and write ``results/soak.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--seconds", type=float, default=60, help="Time of a writer and two readers."
    )
    parser.add_argument("--flips", type=int, default=40, help="Changed bits in each file.")
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    logging.disable(logging.WARNING)  # each rebuilt code file logs a warning
    with tempfile.TemporaryDirectory(prefix="nestvec-soak-") as folder:
        results = {
            "kills": _kills(Path(folder) / "killed", settings.kills, settings.seed),
            "readers": _readers(Path(folder) / "read", settings.seconds),
            "damage": _damage(Path(folder), settings.flips, settings.seed),
        }
    print(results, record("soak", settings=vars(settings), results=results), sep="\n")


def _kills(folder: Path, n: int, seed: int) -> dict[str, Any]:
    """Kill a process that changes an index, in turn at a random time and at a line of code."""
    start, killer = time.perf_counter(), Killer(folder, seed)
    for number in range(n):
        if number % 2:
            killer.kill_by_line()
        else:
            killer.kill_by_time()
    return {
        "kills": n,
        "acknowledged": killer.changes,
        "seconds": round(time.perf_counter() - start),
    }


def _readers(folder: Path, seconds: float) -> dict[str, Any]:
    """Change an index in one process, and search it in two others."""
    written, *read = run_together(folder, seconds)
    return {"batches_written": written, "batches_seen": [seen for seen, _ in read]}


def _damage(folder: Path, n: int, seed: int) -> dict[str, Any]:
    """Remove each file, truncate it, and change bits of it."""
    index = folder / "begun"
    begun_index(index)
    expected, choose = answers(index), random.Random(seed)
    return {
        name: Counter(
            outcome(copy, expected)
            for copy in damaged_copies(index, folder / "copy", name, choose, n)
        )
        for name in files_of(index)
    }


if __name__ == "__main__":
    main()
