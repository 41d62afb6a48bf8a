"""Run ``nestvec shrink`` as a process that a test kills: lance_shrink_process.py URL STEP.

STEP is "shrink", "finish" or "undo". ``NESTVEC_DIE_AT`` is when the process kills itself: 1 is
before its first change of the table, 2 is after that change, 3 is before its second change.
"""

import os
import signal
import sys

import pytest
from lance_shrink_table import request, use_small_tables

from nestvec.operate.shrink.lancedb import session
from nestvec.operate.shrink.table import finish_shrink, shrink, undo_shrink


def die_at(number):
    """Kill this process before or after one of its changes."""
    left = number
    change = session.LanceSession.change

    def pass_by():
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, work):
        pass_by()
        result = change(self, work)
        pass_by()
        return result

    session.LanceSession.change = counted


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
