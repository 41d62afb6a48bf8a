"""The peak memory of code in a process of its own. Only Linux reports this value."""

import subprocess
import sys
from pathlib import Path

import pytest

_STATUS = Path("/proc/self/status")
_MEASURED = """
import re, sys
{setup}
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
before = peak()
{code}
print(peak() - before)
"""


def peak_bytes(code: str, *, setup: str) -> int:
    """Run code in a new process, and return by how many bytes its peak memory exceeds the setup.

    Args:
        code: The code to measure.
        setup: Code that runs before, such as imports.
    """
    if not _STATUS.exists():
        pytest.skip("this system does not report the peak memory of a process")
    program = _MEASURED.format(setup=setup, code=code)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)
