"""Run ``nestvec shrink`` as a process that a test kills: shrink_process.py URL STEP [COLUMN].

STEP is "shrink", "finish" or "undo". ``NESTVEC_DIE_AT`` is the number of the statement before which
the process kills itself.
"""

import os
import signal
import sys

from nestvec.operate.shrink.postgresql import session
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.operate.shrink.table import finish_shrink, shrink, undo_shrink
from nestvec.types import OperatingPoint

POINT = "16:float16@100>64:float32"


def die_at(number):
    """Kill this process before its n-th statement."""
    import psycopg

    left = number
    execute = psycopg.Cursor.execute

    def counted(self, *arguments, **options):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **options)

    psycopg.Cursor.execute = counted


def main():
    url, step, *column = sys.argv[1:]
    die_at(int(os.environ.get("NESTVEC_DIE_AT", "0")))
    session.LOCK_WAIT_S = 60.0
    if step == "shrink":
        point = OperatingPoint.parse(POINT)
        shrink(url, ShrinkRequest(point, column=column[0] if column else None))
    elif step == "finish":
        finish_shrink(url)
    else:
        undo_shrink(url)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
