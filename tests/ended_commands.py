"""Type commands in this process, and check how they ended."""

import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import pytest

from nestvec.cli import main, progress


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def write_jsonl(path: Path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run_in(folder: Path, *arguments: str) -> Ended:
    """Type a command in a folder, in this process; its own errors come through as they are."""
    before, argv = Path.cwd(), sys.argv
    out, err = StringIO(), StringIO()
    try:
        os.chdir(folder)
        sys.argv = ["nestvec", *map(str, arguments)]
        with (
            patch.multiple(progress, SHORT_S=600, FIRST_LINE_S=600),  # also on a slow machine
            redirect_stdout(out),
            redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main.run()
    finally:
        os.chdir(before)
        sys.argv = argv
    return Ended(end.value.code or 0, out.getvalue(), err.getvalue())


def well(ended):
    """Return the output of a command without warnings as one line of text."""
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    return " ".join(ended.out.split())


def refused(ended, message):
    """Check that a command ended with exit code 2 and one line that contains a message."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert message in ended.err
