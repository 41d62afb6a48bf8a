"""Interrupts, full disks, missing permissions, moved folders and forked processes."""

import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from contextlib import closing

import pytest

import kills
from kills import POINTS, Change, add, at_line, checked_contents, contents_of, new_index, perform
from nestvec.engines.embedded.database import Database
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.segments import Segment
from nestvec.engines.manifest import TOKENS_VERSION, Manifest
from nestvec.errors import DataError

CHANGES = [
    Change("add", {"n1": 1001, "n2": 1002}),
    Change("upsert", {"d1": 2001, "n2": 2002}),
    Change("delete", removed=("d5", "d17", "never was")),
    Change("compact"),
    Change("build_codes"),
    Change("use", point=POINTS[2]),
]
LATER = Change("upsert", {"d9": 3001, "later": 3002})


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """An index with a part, a tail and deleted rows, and its contents."""
    index = EmbeddedEngine(new_index(tmp_path_factory.mktemp("begun") / "index", POINTS[1]))
    add(index, {f"d{n}": n for n in range(40)})
    index.build_codes()
    add(index, {"d40": 40, "d41": 41})
    index.delete(["d3", "d40"])
    contents = contents_of(index)
    index.close()
    return index.path, contents


@pytest.fixture
def index(tmp_path, begun):
    index = EmbeddedEngine(shutil.copytree(begun[0], tmp_path / "index"))
    yield index
    index.close()


def in_a_process(function, *arguments):
    """Run a function in a new process, as it changes limits or the user of its process."""
    process = kills.processes_of().Process(target=function, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def interrupt():
    raise KeyboardInterrupt


def lines_of(index, change):
    """Count the lines of the engine's code that a change runs."""
    number, left = 10**6, []
    try:
        at_line(number, interrupt)
        perform(index, change)
        left = sys.gettrace().__closure__
    finally:
        sys.settrace(None)
    return number - next(cell.cell_contents for cell in left if type(cell.cell_contents) is int)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_an_interrupt_at_any_line_leaves_a_usable_index(tmp_path, begun, change):
    path, contents = begun
    first = EmbeddedEngine(shutil.copytree(path, tmp_path / "first"))
    n_lines = lines_of(first, change)
    first.close()
    for line in random.Random(change.what).sample(range(1, n_lines), 7):
        index = EmbeddedEngine(shutil.copytree(path, tmp_path / f"at {line}"))
        at_line(line, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                perform(index, change)
        finally:
            sys.settrace(None)
        found = contents_of(index)
        assert found in (contents, change.after(contents))
        perform(index, LATER)
        index.verify()
        index.close()
        assert checked_contents(index.path) == LATER.after(found)


def test_an_interrupt_before_a_commit_is_recorded_is_not_damage(index, monkeypatch):
    expected = contents_of(index)
    for number in range(3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Segment, "record_commit", lambda *_: interrupt())
            if number == 1:
                index.delete(["d1"])
            add(index, {f"n{number}": 100 + number})
    expected = contents_of(index)
    index.close()
    assert checked_contents(index.path) == expected


@pytest.mark.parametrize("statement", ["begin immediate", "commit", "begin"])
def test_an_interrupt_right_after_a_statement_leaves_no_transaction_open(
    index, monkeypatch, statement
):
    before, execute = contents_of(index), Database.execute

    def interrupted(database, executed, values=()):
        rows = execute(database, executed, values)
        return interrupt() if executed == statement else rows

    add(index, {"first": 1001})  # so that there is a writer
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as kept:
        patch.setattr(Database, "execute", interrupted)
        add(index, {"second": 1002})
        index.get(["first"])
    add(index, {"third": 1003})
    found = contents_of(index)
    assert found.keys() - before.keys() - {"second"} == {"first", "third"}
    index.verify()
    assert kept  # its traceback keeps the frames and their open files


def fill_the_disk(folder, contents):
    """Change an index with too little disk space, then with more, until the change succeeds."""
    full, unlimited = 0, resource.getrlimit(resource.RLIMIT_FSIZE)
    index = EmbeddedEngine(folder)
    large = Change("add", {f"n{n}": n for n in range(500, 600)})
    for number, change in enumerate([large, *CHANGES]):
        room = 1
        while room:
            index.lock()
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
            try:
                perform(index, change)
                contents, room = change.after(contents), 0
            except DataError as error:
                assert "\n" not in str(error) and "unchanged" in str(error), error
                full, room = full + 1, int(room * 1.7) + 1
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            assert contents_of(index) == contents
            index.verify()
        assert number or full > 9
    index.close()
    assert checked_contents(folder) == contents


def test_a_full_disk_changes_nothing(tmp_path, begun):
    path, contents = begun
    in_a_process(fill_the_disk, shutil.copytree(path, tmp_path / "index"), contents)


def be_nobody(other):
    """Switch to a user without root permissions."""
    checked_contents(other)  # import all modules while Python's folder can be read
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def read_only(folder, contents, other):
    """Read an index and try to change it, as a user who may only read it."""
    be_nobody(other)
    assert checked_contents(folder) == contents
    index = EmbeddedEngine(folder)
    for change in CHANGES:
        with pytest.raises(DataError, match="cannot be written"):
            perform(index, change)
    assert contents_of(index) == contents
    index.close()


def read_only_with_log(folder, other):
    be_nobody(other)
    message = "documents.sqlite-wal has changes not in the database"
    with pytest.raises(DataError, match=message):
        EmbeddedEngine(folder)


@pytest.fixture
def read_only_folder(tmp_path, begun):
    """A copy that no user may write, in folders that every user may read."""
    folder = shutil.copytree(begun[0], tmp_path / "index")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    yield folder
    set_mode(folder, 0o755, 0o644)


def set_mode(folder, of_folders, of_files):
    for path in (folder, *folder.rglob("*")):
        path.chmod(of_folders if path.is_dir() else of_files)


def test_a_read_only_folder_can_be_searched(read_only_folder, begun):
    before = sorted(read_only_folder.rglob("*"))
    set_mode(read_only_folder, 0o555, 0o444)
    in_a_process(read_only, read_only_folder, begun[1], begun[0])
    assert sorted(read_only_folder.rglob("*")) == before


def test_a_read_only_folder_with_a_log_is_refused(read_only_folder, begun):
    index = EmbeddedEngine(read_only_folder)
    add(index, {"in the log": 500})
    killed = shutil.copytree(read_only_folder, read_only_folder.with_name("killed"))
    index.close()
    set_mode(killed, 0o555, 0o444)
    in_a_process(read_only_with_log, killed, begun[0])
    set_mode(killed, 0o755, 0o644)
    assert "in the log" in checked_contents(killed)


def test_a_folder_can_be_moved(index, begun, tmp_path):
    index.close()
    moved = index.path.rename(tmp_path / "moved ü %41 #?")
    assert checked_contents(moved) == begun[1]


@pytest.mark.parametrize(("version", "message"), [(1, "Rebuild"), (4, "Install")])
def test_another_version_of_the_format_is_refused(index, version, message):
    manifest = index.path / "manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(values | {"version": version}))
    with pytest.raises(DataError, match=f"format {version}; supported is 2 or 3. {message}"):
        EmbeddedEngine(index.path)
    manifest.write_text(json.dumps(values))


def test_version_2_is_read_except_where_its_tokens_differ(index):
    former = index.manifest.to_json() | {"version": 2}
    del former["sha256"]
    former["sha256"] = hashlib.sha256(json.dumps(former, sort_keys=True).encode()).hexdigest()
    (index.path / "manifest.json").write_text(json.dumps(former))
    with closing(EmbeddedEngine(index.path)) as opened:
        assert opened.manifest.to_json() == index.manifest.to_json()
    with pytest.raises(DataError, match=r"^here: has the index format 2; supported is 3\. Rebuild"):
        Manifest.from_json(json.dumps(former), "here", oldest=TOKENS_VERSION)


def test_a_closed_index_raises_an_error(index):
    index.close()
    for change in (*CHANGES, Change("verify"), Change("stats")):
        with pytest.raises(DataError, match="the index is closed"):
            perform(index, change)
    with pytest.raises(DataError, match="the index is closed"):
        index.search(kills.vectors([1]), 1)


def fork(folder, contents):
    index = EmbeddedEngine(folder)
    add(index, {"before": 500})
    child = os.fork()
    if child == 0:
        message = "the index was opened before this process was forked"
        for change in (*CHANGES, Change("verify"), Change("reopen")):
            with pytest.raises(DataError, match=message):
                perform(index, change)
        with pytest.raises(DataError, match=message):
            index.search(kills.vectors([1]), 1)
        index.close()
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    locked = f"import kills; kills.EmbeddedEngine(kills.Path({str(folder)!r})).lock()"
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", locked],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert f"is being changed by process {os.getpid()}" in done.stderr, done.stderr
    add(index, {"after": 501})
    assert contents_of(index) == contents | {"before": 500, "after": 501}
    index.close()


def test_a_forked_process_raises_an_error_and_changes_nothing(tmp_path, begun):
    path, contents = begun
    folder = shutil.copytree(path, tmp_path / "index")
    in_a_process(fork, folder, contents)
    assert checked_contents(folder) == contents | {"before": 500, "after": 501}
