"""LanceDB in several processes: kills, readers, writers, and an index that is replaced."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock
from lance_corpus import (
    POINT,
    QUERIES,
    SOURCE,
    VECTORS,
    expected_ids,
    load,
    made_document,
    manifest,
)
from lance_loader import BATCH, Loader, documents_of, ids_of, vectors_of

from nestvec.engines.lancedb import connection
from nestvec.engines.lancedb.connection import LOCK
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.errors import DataError, IndexLocked
from nestvec.types import Document, OperatingPoint

KILLS = int(os.environ.get("NESTVEC_KILLS", "3"))
BATCHES = 200
FOLDER = Path(__file__).parent


@pytest.fixture
def place(tmp_path):
    """The URL of an empty index."""
    url = f"lance://{tmp_path}/index"
    LanceEngine.create(url, manifest()).close()
    return url


def checked_batches(place, *acknowledged_batches):
    """Check that every batch is there once or not at all, and return those that are there."""
    engine = LanceEngine.open(place)
    ids = list(engine.ids())
    assert not [id_ for id_, count in Counter(ids).items() if count > 1]
    assert len(engine) == len(ids)
    present = {int(id_[1:5]) for id_ in ids}
    assert set(ids) == {id_ for batch in present for id_ in ids_of(batch)}
    assert present >= set(acknowledged_batches)
    for batch in sorted(present):
        documents = documents_of(batch)
        assert engine.get(list(documents)) == documents
    if present:
        batch = random.choice(sorted(present))
        found = engine.search(vectors_of(batch), 1, exact=True).ids
        assert found == [[id_] for id_ in ids_of(batch)]
    engine.close()
    return present


def test_acknowledged_documents_survive_kills_and_the_load_continues(place):
    done = set()
    for _ in range(KILLS):
        loader = Loader(place, 0, BATCHES)
        loader.wait_until_ready()
        loader.kill_after(random.uniform(0, 1.5))
        done = checked_batches(place, *done, *loader.acknowledged())
    last = min(BATCHES, max(done, default=0) + 20)
    loader = Loader(place, 0, last)
    assert loader.acknowledged() == list(range(last))
    assert checked_batches(place) == set(range(last))


def test_two_processes_add_at_the_same_time(place):
    loaders = [Loader(place, first, first + 15) for first in (0, 100)]
    reader, counts = LanceEngine.open(place), []
    while any(loader.process.is_alive() for loader in loaders):
        counts.append(len(reader))
        (found,) = reader.search(QUERIES[:1], 5).ids
        assert len(found) >= min(5, counts[-1])
        time.sleep(0.05)
    assert counts == sorted(counts)
    assert [len(loader.acknowledged()) for loader in loaders] == [15, 15]
    assert len(reader) == 30 * BATCH
    reader.close()
    assert checked_batches(place) == {*range(15), *range(100, 115)}


def test_two_processes_upsert_the_same_documents(place):
    loaders = [Loader(place, 0, 12, replace=True) for _ in range(2)]
    assert [loader.acknowledged() for loader in loaders] == [list(range(12))] * 2
    assert checked_batches(place) == set(range(12))


def test_an_index_is_the_same_in_another_process(place):
    engine = LanceEngine.open(place)
    load(engine, 0, 500)
    expected = engine.search(QUERIES, 10)
    engine.close()
    program = f"""
from lance_corpus import QUERIES
from nestvec.engines.lancedb.engine import LanceEngine
hits = LanceEngine.open({place!r}, verify=True).search(QUERIES, 10)
assert hits.ids == {expected.ids!r}
"""
    path = os.pathsep.join([str(FOLDER), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def test_a_reader_sees_the_commits_of_another_connection(place):
    reader, writer = LanceEngine.open(place), LanceEngine.open(place)
    load(writer, 0, 300)
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(300))
    writer.delete([f"d{number:05}" for number in range(100)])
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(100, 300))
    writer.compact()  # deletes the files that the reader knows
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(100, 300))
    assert len(list(reader.ids())) == 200
    other = OperatingPoint.parse("32:float16@100>64:float32")
    writer.use(other)
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(100, 300), other)
    assert reader.manifest.point == POINT or reader.manifest.point == other
    for engine in (reader, writer):
        engine.close()


def test_a_reader_and_a_writer_follow_a_replaced_index(place):
    reader, writer = LanceEngine.open(place), LanceEngine.open(place)
    load(writer, 0, 200)
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(200))
    with LanceEngine.building(place, manifest(), source=SOURCE) as built:
        load(built, 200, 500)
        assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(200))
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(200, 500))
    assert len(reader) == 300
    numbers = range(500, 600)  # not into the table that was deleted
    added = {f"d{number:05}": made_document(number) for number in numbers}
    writer.add(added, VECTORS[500:600], replace=True)
    assert reader.search(QUERIES, 10).ids == expected_ids(QUERIES, range(200, 600))
    for engine in (reader, writer):
        engine.close()


def test_an_interrupted_build_continues_and_leaves_no_tables(place, tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        LanceEngine.building(place, manifest(), source=SOURCE) as built,
    ):
        load(built, 0, 200)
        raise KeyboardInterrupt
    assert LanceEngine.count_unfinished(place) == 200
    assert len(LanceEngine.open(place)) == 0
    with LanceEngine.building(place, manifest(), source=SOURCE) as built:
        assert len(built) == 200
        load(built, 200, 300)
    assert LanceEngine.count_unfinished(place) == 0
    engine = LanceEngine.open(place)
    assert len(engine) == 300
    engine.close()
    tables = [path.name for path in (tmp_path / "index").glob("documents*")]
    assert len(tables) == 1


def test_a_table_that_no_record_names_is_deleted(tmp_path, monkeypatch):
    from nestvec.engines.lancedb.tables import LanceTables

    url = f"lance://{tmp_path}/index"
    with monkeypatch.context() as patch:
        patch.setattr(LanceTables, "_write", lambda *_: 1 / 0)  # a crash between the two steps
        with pytest.raises(ZeroDivisionError):
            LanceEngine.create(url, manifest())
    assert not LanceEngine.exists(url)
    assert len([*(tmp_path / "index").glob("documents_*")]) == 1
    LanceEngine.create(url, manifest()).close()
    assert len([*(tmp_path / "index").glob("documents_*")]) == 1


def test_only_one_process_changes_a_folder(place, tmp_path, monkeypatch):
    monkeypatch.setattr("nestvec.engines.lancedb.connection.LOCK_WAIT_S", 0.2)
    engine = LanceEngine.open(place)
    other = FileLock(tmp_path / "index" / LOCK, is_singleton=False)
    other.acquire()
    for change in (
        lambda: engine.add({"a": Document("")}, VECTORS[:1]),
        lambda: engine.delete(["a"]),
        lambda: engine.use(POINT),
        engine.lock,
    ):
        with pytest.raises(IndexLocked, match="is being changed by another process"):
            change()
    other.release()
    engine.lock()
    with pytest.raises(Exception, match="could not be acquired"):
        other.acquire(timeout=0)
    engine.add({"a": Document("")}, VECTORS[:1])
    engine.close()
    other.acquire(timeout=0)
    other.release()


def test_a_repeated_commit_adds_no_document_twice(place, monkeypatch):
    from nestvec.engines.lancedb import table

    engine, failures = LanceEngine.open(place), [RuntimeError("connection closed"), OSError("503")]
    original = table._is_fragmented

    def fails_after_the_commit(opened):
        if failures:
            raise failures.pop()
        return original(opened)

    monkeypatch.setattr(table, "_is_fragmented", fails_after_the_commit)
    load(engine, 0, 50)
    assert not failures
    assert len(engine) == len(set(engine.ids())) == 50
    engine.close()


def test_lasting_errors_are_not_repeated(place, monkeypatch):
    from nestvec.engines.lancedb import table

    engine, calls = LanceEngine.open(place), []

    def fails(_opened):
        calls.append(1)
        raise RuntimeError("lance error: the disk is full, key AKIA-secret")

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-secret")
    monkeypatch.setattr(table, "_is_fragmented", fails)
    with pytest.raises(DataError, match=r"disk is full, key \*\*\*\.$"):
        engine.add({"a": made_document(1)}, VECTORS[:1])
    assert len(calls) == 1
    monkeypatch.setattr(connection, "RETRY_S", 0.3)
    monkeypatch.setattr(
        table, "_is_fragmented", lambda _: 1 / 0 if calls.append(1) else _conflict()
    )
    with pytest.raises(DataError, match="conflict"):
        engine.add({"b": made_document(1)}, VECTORS[:1])
    assert 2 < len(calls) < 10
    engine.close()


def _conflict():
    raise RuntimeError("Retryable commit conflict")


def test_many_small_additions_are_merged(place):
    engine = LanceEngine.open(place)
    for number in range(40):
        engine.add({f"s{number}": made_document(number)}, VECTORS[[number]])
    table = engine._tables._folder.database.open_table(engine._record.table)
    assert table.stats()["fragment_stats"]["num_fragments"] < 20
    assert len(engine) == 40
    engine.close()
