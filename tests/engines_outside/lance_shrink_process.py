"""Run ``nestvec shrink`` as a process that a test kills: lance_shrink_process.py URL STEP.

STEP is "shrink", "finish" or "undo". ``NESTVEC_DIE_AT`` is the number of the call of LanceDB before
which the process kills itself.
"""

import os
import signal
import sys

import pytest
from lance_shrink_table import request, use_small_tables

from nestvec.engines.lancedb.connection import LanceFolder
from nestvec.operate.shrink.lancedb import session
from nestvec.operate.shrink.table import finish_shrink, shrink, undo_shrink


def die_at(number):
    """Kill this process before its n-th call of LanceDB."""
    left = number
    call = LanceFolder.call

    def counted(self, work):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(self, work)

    LanceFolder.call = counted


def main():
    url, step = sys.argv[1:]
    die_at(int(os.environ.get("NESTVEC_DIE_AT", "0")))
    session.LOCK_WAIT_S = 60.0
    with pytest.MonkeyPatch.context() as patch:
        use_small_tables(patch)
        if step == "shrink":
            shrink(url, request())
        elif step == "finish":
            finish_shrink(url)
        else:
            undo_shrink(url)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
