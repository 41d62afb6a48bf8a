"""Changed bits, truncated files and missing files are detected or harmless."""

import os
import random
import shutil
from pathlib import Path

import pytest

from flips import answers, begun_index, damaged_copies, files_of, outcome
from kills import add, checked_contents
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.errors import DamagedFile

pytestmark = pytest.mark.usefixtures("small_calibration")

KINDS = {
    "manifest.json": "manifest.json",
    "documents.sqlite": "documents.sqlite",
    "documents.seal": "documents.seal",
    "vectors": "vectors/0-0.vectors",
    "ids": "codes/0-0-45/ids",
    "rows": "codes/0-0-45/rows",
    "zeros": "codes/0-0-45/zeros",
    "codes": "codes/0-0-45/8-int4.codes",
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun") / "index"
    contents = begun_index(folder)
    return folder, contents, answers(folder)


def test_every_kind_of_file_is_damaged_here(begun):
    def kind(name):
        return Path(name).suffix or Path(name).name

    assert {kind(name) for name in KINDS.values()} == {kind(name) for name in files_of(begun[0])}


@pytest.mark.parametrize("name", KINDS.values(), ids=KINDS)
def test_damage_is_detected_or_harmless(begun, tmp_path, name):
    folder, _, expected = begun
    choose = random.Random(name)
    made_again = name.startswith("codes") or name == "documents.seal"
    n = 12 if made_again else 40
    copies = damaged_copies(folder, tmp_path / "copy", name, choose, n)
    outcomes = [outcome(copy, expected) for copy in copies]
    if made_again:
        assert "found" not in outcomes
    else:
        assert outcomes[0] == outcomes[1] == outcomes[2] == "found"
        assert outcomes[4:].count("found") > 5


@pytest.mark.parametrize("cut", [0, 0.5, 1])
def test_a_lost_or_truncated_log_is_detected(begun, tmp_path, cut):
    folder = shutil.copytree(begun[0], tmp_path / "index")
    index = EmbeddedEngine(folder)
    add(index, {"one": 1001})
    add(index, {"two": 1002})
    killed = shutil.copytree(folder, tmp_path / "killed")
    index.close()
    log = killed / "documents.sqlite-wal"
    if cut:
        size = log.stat().st_size
        os.truncate(log, int(size * cut) - 1)
    else:
        log.unlink()
    with pytest.raises(DamagedFile, match=r"has lost [12] committed changes?; its log"):
        EmbeddedEngine(killed)


def test_an_index_opens_with_the_log_that_a_killed_process_left(begun, tmp_path):
    folder, contents, _ = begun
    index = EmbeddedEngine(shutil.copytree(folder, tmp_path / "index"))
    add(index, {"one": 1001})
    killed = shutil.copytree(index.path, tmp_path / "killed")
    index.close()
    assert checked_contents(killed) == contents | {"one": 1001}
