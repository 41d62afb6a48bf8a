"""What tests of several folders share: the real data sets and one run of the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets: NESTVEC_DATA, or `shared/data` beside the checkout."""
    named = os.environ.get("NESTVEC_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if named:  # a typing mistake must not turn tests off
        pytest.fail(f"NESTVEC_DATA names {folder}, which is not a folder")
    pytest.skip(f"no real data: {folder} is missing and NESTVEC_DATA is not set")


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the quick demo, run once as a person runs it. Tests must not write to it."""
    folder = tmp_path_factory.mktemp("demo") / "nestvec-demo"
    command = [sys.executable, "-m", "nestvec.cli.main"]
    command += ["demo", "--quick", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0 or not folder.is_dir():
        pytest.fail(
            f"`nestvec demo --quick` ended with {done.returncode} and "
            f"{'wrote' if folder.is_dir() else 'did not write'} its folder\n"
            f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return folder
