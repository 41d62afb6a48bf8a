"""Kill ``nestvec shrink`` of a Lance table at any time: the same command then completes.

``NESTVEC_KILLS`` is the number of kills of each step: 3 by default, 25 for ``make test-kills``.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lance_shrink_table import (
    check_prefixes,
    check_rows,
    create_table,
    state,
    url,
    use_small_tables,
    vectors,
    writing,
)

from nestvec.operate.shrink.lancedb.records import read_record
from nestvec.operate.shrink.lancedb.searching import search_table
from nestvec.operate.shrink.lancedb.session import LanceSession
from nestvec.operate.shrink.table import catch_up

KILLS = int(os.environ.get("NESTVEC_KILLS", "3"))
PROCESS = Path(__file__).with_name("lance_shrink_process.py")
N = 2_000
MOMENTS = {"shrink": 13, "finish": 7, "undo": 9}
"""Before and after each change of a step, and one moment that no run reaches."""
LONGEST_S = 120


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch):
    use_small_tables(monkeypatch)


def start(folder, step, *, die_at=0):
    command = [sys.executable, str(PROCESS), url(folder), step]
    environment = os.environ | {"NESTVEC_DIE_AT": str(die_at)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def complete(folder, step):
    """Run a step to its end, as the user does who repeats the command."""
    process = start(folder, step)
    out, err = process.communicate(timeout=LONGEST_S)
    if step != "shrink" and "was not shrunk" in err:
        return  # a killed undo was already complete
    assert (process.returncode, out) == (0, "done\n"), err[-2_000:]


def recorded(folder):
    with LanceSession.open(url(folder), lock=False) as session:
        record = read_record(session)
        return None if record is None else record.state


def test_steps_killed_before_or_after_a_change_continue(tmp_path):
    choose = random.Random(1)
    table, values = create_table(tmp_path, N)
    before = state(table)
    with writing(tmp_path) as report:
        for step, most in MOMENTS.items():
            for _ in range(KILLS):
                process = start(tmp_path, step, die_at=choose.randint(1, most))
                process.communicate(timeout=LONGEST_S)
                # Searches answer in every state.
                assert search_table(url(tmp_path), values[7], 1).ids == [["7"]]
            complete(tmp_path, step)
            expected = {"shrink": "switched", "finish": "finished", "undo": None}[step]
            assert recorded(tmp_path) == expected
    check_rows(table, [report], N)
    assert state(table) == before


def test_a_shrink_killed_at_a_random_time_continues(tmp_path):
    choose = random.Random(2)
    table, _ = create_table(tmp_path, N)
    before = state(table)
    with writing(tmp_path) as report:
        for _ in range(KILLS):
            process = start(tmp_path, "shrink")
            time.sleep(choose.uniform(1.0, 6.0))
            process.kill()
            process.communicate()
        complete(tmp_path, "shrink")
    check_rows(table, [report], N)
    catch_up(url(tmp_path))
    check_prefixes(table)
    found = search_table(url(tmp_path), vectors(1, seed=3), 10)
    assert len(found.ids[0]) == 10
    complete(tmp_path, "finish")
    complete(tmp_path, "undo")
    assert state(table) == before
