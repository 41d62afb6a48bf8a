"""After a process that changes an index is killed, every acknowledged change is present."""

import sys

import pytest

from kills import Killer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def test_acknowledged_changes_survive_kills_at_any_moment(tmp_path):
    killer = Killer(tmp_path / "index", seed=0)
    for _ in range(6):
        killer.kill_by_time()
    assert killer.changes > 6


def test_acknowledged_changes_survive_kills_at_any_line(tmp_path):
    killer = Killer(tmp_path / "index", seed=1)
    for _ in range(6):
        killer.kill_by_line()
    assert killer.changes > 6
