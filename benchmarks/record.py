"""Write the results of a benchmark as JSON, with its settings, the commit and the machine.

``NESTVEC_RESULTS`` names another folder for the results, so that a run does not overwrite the
committed results.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from nestvec.files.atomic import replace_file
from nestvec.measure.machine import describe_machine

RESULTS = Path(__file__).parent / "results"
VARIABLE = "NESTVEC_RESULTS"


def record(name: str, *, settings: dict[str, Any], results: Any) -> Path:
    """Write ``<name>.json`` in the folder of results, and return its path."""
    path = Path(os.environ.get(VARIABLE) or RESULTS) / f"{name}.json"
    values = {
        "benchmark": name,
        "commit": _commit(),
        "machine": describe_machine(),
        "settings": settings,
        "results": results,
    }
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    folder = Path(__file__).parent
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.strip()
