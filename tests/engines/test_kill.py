"""A process that changes an index is killed: every change that it acknowledged is there."""

import sys

import pytest

from kills import Killer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def test_what_was_acknowledged_survives_kills_at_any_moment(tmp_path):
    killer = Killer(tmp_path / "index", seed=0)
    for _ in range(6):
        killer.kill_by_time()
    assert killer.changes > 6


def test_what_was_acknowledged_survives_kills_at_any_line(tmp_path):
    killer = Killer(tmp_path / "index", seed=1)
    for _ in range(6):
        killer.kill_by_line()
    assert killer.changes > 6
