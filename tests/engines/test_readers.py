"""Readers see only complete commits while another process or thread changes the index."""

import threading

import pytest

from kills import add, new_index, processes_of, vectors
from nestvec.engines.embedded.checking import writer_is_alive
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.snapshot import Snapshot, take_snapshot
from together import EVERY, IDS, N, batch, look, run_together


def test_readers_in_other_processes_see_complete_batches_only(tmp_path):
    written, *readers = run_together(tmp_path / "index", 2.0)
    assert written > 3
    for seen, files in readers:
        assert seen > 1
        assert files < 60, "files of older commits stay open"
    index = EmbeddedEngine(tmp_path / "index", verify=True)
    look(index, [])
    index.close()


def search_until(done, index, wrong):
    seen = []
    try:
        while not done.is_set():
            look(index, seen)
    except BaseException as error:  # would otherwise be lost with the thread
        wrong.append(error)


def test_threads_can_search_while_another_adds(tmp_path):
    index = EmbeddedEngine(new_index(tmp_path / "index"))
    add(index, batch(0))
    wrong, done = [], threading.Event()
    threads = [threading.Thread(target=search_until, args=(done, index, wrong)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for number in range(1, 13):
        add(index, batch(number), replace=True)
        if number % 4 == 3:
            index.compact()
        elif number % 2:
            index.build_codes()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    index.verify()
    index.close()


def test_a_reader_that_opens_while_a_writer_starts_misses_no_commit(tmp_path, monkeypatch):
    writer = EmbeddedEngine(new_index(tmp_path / "index"))
    add(writer, batch(0))
    writer.close()
    writer = EmbeddedEngine(tmp_path / "index")

    def nobody_yet(folder):
        if not writer_is_alive(folder):
            add(writer, batch(1), replace=True)
        return False

    monkeypatch.setattr("nestvec.engines.embedded.checking.writer_is_alive", nobody_yet)
    seen = []
    reader = EmbeddedEngine(tmp_path / "index")
    look(reader, seen)
    assert seen == [1]
    for each in (reader, writer):
        each.close()


@pytest.mark.parametrize("change", ["upsert", "compact"])
def test_a_snapshot_contains_one_commit(tmp_path, monkeypatch, change):
    """The index is changed after SQLite is read and before the files are opened."""
    monkeypatch.setattr("nestvec.engines.embedded.database._BUSY_S", 0)  # it waits for no reader
    writer = EmbeddedEngine(new_index(tmp_path / "index"))
    add(writer, batch(0))
    writer.build_codes()
    reader = EmbeddedEngine(tmp_path / "index")
    add(writer, batch(1), replace=True)
    changes = []

    def meanwhile(*arguments, **options):
        if not changes:
            changes.append(change)
            add(writer, batch(2), replace=True)
            if change == "compact":
                writer.compact()
        return Snapshot(*arguments, **options)

    monkeypatch.setattr("nestvec.engines.embedded.snapshot.Snapshot", meanwhile)
    look(reader, [])
    assert changes
    monkeypatch.undo()
    for each in (reader, writer):
        each.close()


def test_a_filter_reads_the_rows_of_its_snapshot(tmp_path, monkeypatch):
    """Documents are replaced after a search has a snapshot and before it reads columns."""
    writer = EmbeddedEngine(new_index(tmp_path / "index"))
    add(writer, batch(0))
    reader = EmbeddedEngine(tmp_path / "index")
    taken = []

    def late(*arguments):
        taken.append(take_snapshot(*arguments))
        if len(taken) == 1:
            add(writer, batch(2), replace=True)
        return taken[-1]

    add(writer, batch(1), replace=True)
    monkeypatch.setattr("nestvec.engines.embedded.reader.take_snapshot", late)
    [ids] = reader.search(vectors([0]), 2 * N, where=EVERY).ids
    assert sorted(ids) == sorted(IDS)
    assert len(taken) == 2
    for each in (reader, writer):
        each.close()


def test_checking_the_seal_releases_no_lock_of_sqlite(tmp_path):
    """Closing a file releases all locks of the process on it, and SQLite's log was deleted."""
    folder = new_index(tmp_path / "index")
    index = EmbeddedEngine(folder)
    add(index, batch(0))
    index.close()
    first, second = EmbeddedEngine(folder), EmbeddedEngine(folder)
    change = processes_of().Process(target=change_and_close, args=(folder,))
    change.start()
    change.join()
    for reader in (first, second):
        seen = []
        look(reader, seen)
        assert seen == [1]
    assert (folder / "documents.sqlite-wal").exists(), "two have it open"
    second.close()
    add(first, batch(2), replace=True)
    first.close()
    seen = []
    last = EmbeddedEngine(folder, verify=True)
    look(last, seen)
    last.close()
    assert seen == [2]


def change_and_close(folder):
    index = EmbeddedEngine(folder)
    add(index, batch(1), replace=True)
    index.close()


def test_newer_columns_do_not_filter_an_older_snapshot(tmp_path):
    index = EmbeddedEngine(new_index(tmp_path / "index"))
    add(index, batch(0))
    older = index.snapshot()
    add(index, batch(1), replace=True)
    index.search(vectors([0]), 1, where=EVERY)
    assert index._filter.mask(EVERY, older) is None
    assert index._filter.mask(EVERY, index.snapshot()).sum() == N
    index.close()
