"""One writer at a time, known by name, and none that has died."""

import json
import os
import subprocess
import sys

import pytest

from nestvec.engines.embedded import folder as lock
from nestvec.engines.embedded.folder import WriterLock, writer_is_alive
from nestvec.errors import IndexLocked

TAKE_AND_DIE = """
import os, sys
from pathlib import Path
from nestvec.engines.embedded.folder import WriterLock
WriterLock(Path(sys.argv[1]))
os._exit(9)
"""


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(lock, "_WAIT_S", 0)


def test_a_second_writer_is_told_who_the_first_is(tmp_path):
    held = WriterLock(tmp_path)
    with pytest.raises(IndexLocked) as caught:
        WriterLock(tmp_path)
    for told in (str(tmp_path), f"is being changed by process {os.getpid()} on", "close it there"):
        assert told in str(caught.value)
    held.release()
    WriterLock(tmp_path).release()


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"process": 1}', None])
def test_a_second_writer_is_refused_whatever_the_note_says(tmp_path, note):
    held = WriterLock(tmp_path)
    if note is None:
        (tmp_path / "writer.json").unlink()
    else:
        (tmp_path / "writer.json").write_text(note)
    with pytest.raises(IndexLocked, match="is being changed by another process"):
        WriterLock(tmp_path)
    held.release()


def test_a_writer_is_seen_while_it_is_there(tmp_path):
    assert not writer_is_alive(tmp_path)
    assert list(tmp_path.iterdir()) == []  # to look leaves nothing
    held = WriterLock(tmp_path)
    assert writer_is_alive(tmp_path)
    note = json.loads((tmp_path / "writer.json").read_text())
    assert note["process"] == os.getpid()
    held.release()
    assert not writer_is_alive(tmp_path)
    assert not (tmp_path / "writer.json").exists()


def test_a_writer_that_died_is_none_and_holds_nothing(tmp_path):
    died = subprocess.run([sys.executable, "-c", TAKE_AND_DIE, str(tmp_path)], check=False)
    assert died.returncode == 9
    assert (tmp_path / "writer.json").exists()
    assert not writer_is_alive(tmp_path)
    WriterLock(tmp_path).release()


def test_to_look_for_a_writer_takes_nothing(tmp_path):
    (tmp_path / "writer.json").write_text("{}")
    assert not writer_is_alive(tmp_path)
    WriterLock(tmp_path).release()
