"""The writer's lock: one writer at a time, named in errors, and no lock of a killed writer."""

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


def test_the_error_of_a_second_writer_names_the_first(tmp_path):
    held = WriterLock(tmp_path)
    with pytest.raises(IndexLocked) as caught:
        WriterLock(tmp_path)
    for message in (
        str(tmp_path),
        f"is being changed by process {os.getpid()} on",
        "Close the index",
    ):
        assert message in str(caught.value)
    held.release()
    WriterLock(tmp_path).release()


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"process": 1}', None])
def test_a_second_writer_is_refused_with_any_content_of_the_holder_file(tmp_path, note):
    held = WriterLock(tmp_path)
    if note is None:
        (tmp_path / "writer.json").unlink()
    else:
        (tmp_path / "writer.json").write_text(note)
    with pytest.raises(IndexLocked, match="is being changed by another process"):
        WriterLock(tmp_path)
    held.release()


def test_a_writer_is_detected_while_it_has_the_lock(tmp_path):
    assert not writer_is_alive(tmp_path)
    assert list(tmp_path.iterdir()) == []  # to look leaves nothing
    held = WriterLock(tmp_path)
    assert writer_is_alive(tmp_path)
    note = json.loads((tmp_path / "writer.json").read_text())
    assert note["process"] == os.getpid()
    held.release()
    assert not writer_is_alive(tmp_path)
    assert not (tmp_path / "writer.json").exists()


def test_a_killed_writer_is_not_detected_and_has_no_lock(tmp_path):
    died = subprocess.run([sys.executable, "-c", TAKE_AND_DIE, str(tmp_path)], check=False)
    assert died.returncode == 9
    assert (tmp_path / "writer.json").exists()
    assert not writer_is_alive(tmp_path)
    WriterLock(tmp_path).release()


def test_checking_for_a_writer_leaves_the_lock_free(tmp_path):
    (tmp_path / "writer.json").write_text("{}")
    assert not writer_is_alive(tmp_path)
    WriterLock(tmp_path).release()
