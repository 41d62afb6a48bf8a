"""After a write that failed, the files are exactly as before."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nestvec.errors import DataError
from nestvec.files import atomic
from nestvec.files.atomic import (
    check_replaceable,
    put_in_place,
    replace_file,
    replace_files,
    replace_folder,
)


class Fault(Exception):
    """An arbitrary error while files are written."""


def content(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): file.read_text()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def write_kind(folder: Path, text: str) -> None:
    with replace_folder(folder, marker="mark") as temporary:
        (temporary / "mark").write_text(text)
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_text(text)


def test_parent_folders_are_created(tmp_path):
    with replace_file(tmp_path / "a" / "b" / "file") as temporary:
        temporary.write_text("new")
    assert content(tmp_path) == {"a/b/file": "new"}


def test_a_file_is_unchanged_until_the_block_ends(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replace_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert content(tmp_path) == {"file": "new"}


@pytest.mark.parametrize("fault", [Fault, KeyboardInterrupt])
def test_a_fault_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    (tmp_path / "file").write_text("old")
    with pytest.raises(fault), replace_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise fault
    assert content(tmp_path) == {"file": "old"}


def test_a_path_that_cannot_be_written_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("old")
    with (
        pytest.raises(DataError, match=r"below: could not be written \(File exists\)"),
        replace_file(tmp_path / "file" / "below") as temporary,
    ):
        temporary.write_text("new")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    with (
        pytest.raises(DataError, match=r"folder: could not be written \(Is a directory\)"),
        replace_file(tmp_path / "folder") as temporary,
    ):
        temporary.write_text("new")
    assert content(tmp_path) == {"file": "old"}


def test_a_link_to_a_file_is_kept(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with replace_file(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_files_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with replace_file(tmp_path / "file") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_folder_is_replaced_whole(tmp_path):
    write_kind(tmp_path / "kind", "old")
    (tmp_path / "kind" / "extra").write_text("old")
    write_kind(tmp_path / "kind", "new")
    assert content(tmp_path) == {"kind/mark": "new", "kind/sub/file": "new"}


def test_an_empty_folder_and_the_current_one_are_replaced(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    write_kind(Path(), "new")
    assert content(tmp_path) == {"empty/mark": "new", "empty/sub/file": "new"}


def test_a_link_to_a_folder_is_kept_and_no_temporary_file_remains(tmp_path):
    write_kind(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    write_kind(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "real"]
    assert (tmp_path / "real" / "mark").read_text() == "new"


@pytest.mark.parametrize("fault", [Fault, KeyboardInterrupt])
def test_a_fault_leaves_the_old_folder_and_nothing_else(tmp_path, fault):
    write_kind(tmp_path / "kind", "old")
    with pytest.raises(fault), replace_folder(tmp_path / "kind", marker="mark") as temporary:
        (temporary / "mark").write_text("half")
        raise fault
    assert content(tmp_path) == {"kind/mark": "old", "kind/sub/file": "old"}


def test_a_failed_rename_restores_the_old_folder(tmp_path, monkeypatch):
    write_kind(tmp_path / "kind", "old")
    rename = Path.replace

    def fail_second(self, target):
        if (self / "mark").read_text() == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_second)
    with pytest.raises(DataError, match="No space left on device"):
        write_kind(tmp_path / "kind", "new")
    assert content(tmp_path) == {"kind/mark": "old", "kind/sub/file": "old"}


def test_the_replaced_folder_is_kept_as_a_backup(tmp_path):
    write_kind(tmp_path / "kind", "old")
    write_kind(tmp_path / "made", "new")
    put_in_place(tmp_path / "made", tmp_path / "kind", marker="mark", backup=tmp_path / "before")
    assert content(tmp_path) == {
        "kind/mark": "new", "kind/sub/file": "new", "before/mark": "old", "before/sub/file": "old"
    }  # fmt: skip


@pytest.mark.parametrize("other", ["a folder", "a file"])
def test_other_files_and_folders_are_not_replaced(tmp_path, other):
    path = tmp_path / "precious"
    if other == "a folder":
        path.mkdir()
        (path / "thesis").write_text("old")
    else:
        path.write_text("old")
    before = content(tmp_path)
    with pytest.raises(DataError, match=r"has no mark, so it is not replaced\. Choose a new path"):
        write_kind(path, "new")
    with pytest.raises(DataError, match="not replaced"):
        check_replaceable(path, marker="mark")
    assert content(tmp_path) == before


def test_replaceable_paths_pass_the_check(tmp_path):
    write_kind(tmp_path / "kind", "old")
    (tmp_path / "empty").mkdir()
    for name in ("kind", "empty", "new"):
        check_replaceable(tmp_path / name, marker="mark")
    assert content(tmp_path) == {"kind/mark": "old", "kind/sub/file": "old"}


FULL_DISK = """
import resource, sys
from pathlib import Path
from nestvec.files.atomic import replace_file
from nestvec.errors import DataError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with replace_file(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(bytes(2000))
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file size limits")
def test_a_file_that_does_not_fit_does_not_change_the_old_file(tmp_path):
    (tmp_path / "file").write_text("old")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "file")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == (
        f"{tmp_path / 'file'}: could not be written (File too large). "
        "The existing content is unchanged.\n"
    )
    assert content(tmp_path) == {"file": "old"}


def test_files_are_all_on_disk_before_the_first_takes_its_name(tmp_path, monkeypatch):
    events = []
    monkeypatch.setattr(atomic, "sync", lambda path: events.append(("sync", path.suffix)))
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda path, to: (events.append(("name", to.name)), replace(path, to))
    )
    with replace_files(tmp_path / "scores", tmp_path / "summary") as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
    assert [event for event in events if event != ("sync", "")] == [
        ("sync", ".tmp"),
        ("sync", ".tmp"),
        ("name", "scores"),
        ("name", "summary"),
    ]
    assert content(tmp_path) == {"scores": "new", "summary": "new"}


def test_a_fault_leaves_all_old_files(tmp_path):
    for name in ("scores", "summary"):
        (tmp_path / name).write_text("old")
    with (
        pytest.raises(Fault),
        replace_files(tmp_path / "scores", tmp_path / "summary") as (scores, _),
    ):
        scores.write_text("new")
        raise Fault
    assert content(tmp_path) == {"scores": "old", "summary": "old"}
