"""A power cut at any sync loses no acknowledged change, and leaves no partial change."""

import random
import shutil
import sys

import pytest

from kills import POINTS, Change, add, checked_contents, new_index, perform
from nestvec.engines.embedded.engine import EmbeddedEngine
from power import Power

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SESSION = [
    Change("add", {f"d{n}": n for n in range(20)}),
    Change("build_codes"),
    Change("upsert", {"d1": 1001, "new": 1002}),
    Change("delete", removed=("d2", "d3")),
    Change("reopen"),
    Change("compact"),
    Change("add", {"later": 1003}),
    Change("use", point=POINTS[1]),
    Change("reopen"),
    Change("delete", removed=("d4",)),
]


class Session:
    """Changes an index, and checks at each sync the files that a power cut would leave."""

    def __init__(self, folder, seed):
        (folder / "disk").mkdir()
        (folder / "links").mkdir()
        self.power = Power(folder / "disk", folder / "links", self.cut)
        self.remains = folder / "remains"
        self.choose = None if seed is None else random.Random(seed)
        self.before = self.after = None
        self.cuts = 0

    def run(self, monkeypatch):
        with monkeypatch.context() as patch:
            self.power.watch(patch)
            folder = new_index(self.power.folder / "deep" / "index", POINTS[0])
            self.before = self.after = {}
            index = EmbeddedEngine(folder)
            for change in SESSION:
                self.after = change.after(self.before)
                index = perform(index, change)
                self.before = self.after
            index.close()

    def cut(self):
        if self.before is None:
            return
        self.power.write_remains(self.remains, self.choose)
        found = checked_contents(self.remains / "deep" / "index")
        assert found in (self.before, self.after)
        index = EmbeddedEngine(self.remains / "deep" / "index")  # it can still be changed
        add(index, {"more": 2000}, replace=True)
        index.close()
        assert checked_contents(index.path) == found | {"more": 2000}
        shutil.rmtree(self.remains)
        self.cuts += 1


@pytest.mark.parametrize("seed", [None, 0, 1], ids=["nothing", "random", "random again"])
def test_a_power_cut_at_any_sync_loses_no_acknowledged_change(tmp_path, monkeypatch, seed):
    session = Session(tmp_path, seed)
    session.run(monkeypatch)
    assert session.cuts > 60
