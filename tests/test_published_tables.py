"""A table in the README or the docs says what the committed results say."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def test_no_table_is_stale() -> None:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "make_tables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
