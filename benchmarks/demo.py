"""Run and time ``nestvec demo``, and record its measurements and its plan.

python benchmarks/demo.py --out nestvec-demo
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from nestvec.curve.curve import Curve
from nestvec.planning.choose import Plan
from nestvec.report.tables import retention_table
from record import record

README = Path(__file__).parent.parent / "README.md"
CURVES = {"Matryoshka": "curve.json", "no Matryoshka": "twin.json"}


def main() -> None:
    """Run ``nestvec demo`` once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="Folder for nestvec-demo.")
    folder = parser.parse_args().folder
    start = time.perf_counter()
    printed = _run(["-m", "nestvec.cli.main", "demo"], folder)
    seconds = time.perf_counter() - start
    curves = {name: Curve.load(folder / "nestvec-demo" / file) for name, file in CURVES.items()}
    plan = Plan.load(folder / "nestvec-demo" / "plan.json")
    results = {
        "seconds": round(seconds, 1),
        "retention_table": retention_table(curves, precisions=("int8", "int4", "int2", "binary")),
        "point": str(plan.point),
        "confirmed": plan.confirmed,
        "retention": plan.retention,
        "retention_at_least": plan.retention_at_least,
        "row": plan.row.to_json(),
        "full": plan.full.to_json(),
        "bm25": curves["Matryoshka"].baselines["bm25"][0].metrics,
        "dataset": curves["Matryoshka"].dataset,
        "printed": printed.splitlines(),
        "readme": _run(["-c", _first_code(README)], folder).splitlines(),
    }
    print(printed, record("demo", settings={"seed": 0}, results=results), sep="\n")


def _run(arguments: list[str], folder: Path) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def _first_code(page: Path) -> str:
    match = re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if match is None:
        raise SystemExit(f"{page} has no Python block")
    return match[1]


if __name__ == "__main__":
    main()
