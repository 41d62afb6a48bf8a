"""Locks on an index in PostgreSQL: builds, changes and new embeddings exclude each other."""

import threading

import numpy as np
import psycopg
import pytest
from postgres import running_server

import nestvec as nv
from fakes import NestedHashEncoder
from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector import locks
from nestvec.engines.pgvector.engine import PgvectorEngine
from nestvec.errors import IndexLocked
from nestvec.index.building import reembed
from nestvec.types import Document, ModelInfo, OperatingPoint

DIM = 16
VECTORS = np.random.default_rng(0).standard_normal((200, DIM)).astype(np.float32)
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
MANIFEST = Manifest(MODEL, "float16", OperatingPoint.parse("16:float16"))
LOCKED = "another process changes this index"


@pytest.fixture(scope="module")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def place(server, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_MS", 200)
    place = f"{server.url}?table=docs"
    engine = PgvectorEngine.create(place, MANIFEST)
    engine.add({f"d{n}": Document(f"w{n} w{n + 1}") for n in range(100)}, VECTORS[:100])
    engine.close()
    yield place
    PgvectorEngine.open(place).drop()


def test_a_lock_excludes_changes_of_others_until_it_is_closed(place):
    one, other = PgvectorEngine.open(place), PgvectorEngine.open(place)
    one.lock()
    one.lock()
    changes = [
        lambda: other.add({"new": Document("")}, VECTORS[:1]),
        lambda: other.delete(["d1"]),
        lambda: other.record_encoder(MODEL),
        other.lock,
    ]
    for change in changes:
        with pytest.raises(IndexLocked, match=LOCKED) as caught:
            change()
        assert "\n" not in str(caught.value)
    assert other.search(VECTORS[[3]], 1).ids == [["d3"]]
    one.add({"own": Document("")}, VECTORS[:1])
    one.close()
    other.add({"new": Document("")}, VECTORS[:1])
    assert len(other) == 102
    other.close()


def test_writers_do_not_exclude_each_other(place):
    engines = [PgvectorEngine.open(place) for _ in range(4)]

    def write(number):
        for n in range(10):
            engines[number].add({f"w{number}-{n}": Document("")}, VECTORS[:1])

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engines[0]) == 140
    for engine in engines:
        engine.close()


def test_a_lock_waits_for_a_change_that_has_begun(place, server, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_MS", 5_000)
    engine = PgvectorEngine.open(place)
    with psycopg.connect(server.url) as writer:
        writer.execute("SELECT pg_advisory_xact_lock_shared(%s)", [locks._key("docs")])
        timer = threading.Timer(0.5, writer.commit)
        timer.start()
        engine.lock()
        timer.join()
    engine.close()


@pytest.mark.parametrize("source", ["the same corpus", "another corpus"])
def test_a_second_build_is_refused_and_changes_nothing(place, source):
    first = PgvectorEngine.building(place, MANIFEST, source={"corpus": "the same corpus"})
    with first as engine:
        engine.add({"a": Document("")}, VECTORS[:1])
        with (
            pytest.raises(IndexLocked, match=LOCKED),
            PgvectorEngine.building(place, MANIFEST, source={"corpus": source}),
        ):
            pass
        engine.add({"b": Document("")}, VECTORS[1:2])
    built = PgvectorEngine.open(place)
    assert sorted(built.ids()) == ["a", "b"]
    built.close()


def test_documents_added_during_reembed_are_not_lost(place):
    """A writer is refused while the texts are encoded, and can add its document afterwards."""
    writer, refused = PgvectorEngine.open(place), []

    def on_progress(done, total):
        try:
            writer.add({"late": Document("late")}, VECTORS[:1])
        except IndexLocked as error:
            refused.append(error)

    reembed(place, NestedHashEncoder(), point="16:float16", on_progress=on_progress).close()
    assert refused
    index = nv.Index.open(place)
    assert len(index) == 100 and "late" not in index
    index.close()
    writer.close()


def test_a_lock_is_acquired_again_after_the_server_restarted(place, server):
    one, other = PgvectorEngine.open(place), PgvectorEngine.open(place)
    one.lock()
    server.stop()
    server.start()
    one.add({"new": Document("")}, VECTORS[:1])
    with pytest.raises(IndexLocked, match=LOCKED):
        other.add({"other": Document("")}, VECTORS[:1])
    one.close()
    other.close()


def test_a_lost_lock_that_another_process_has_is_an_error(place, server):
    one, other = PgvectorEngine.open(place), PgvectorEngine.open(place)
    one.lock()
    server.stop()
    server.start()
    other.lock()
    with pytest.raises(IndexLocked, match=LOCKED):
        one.add({"new": Document("")}, VECTORS[:1])
    one.close()
    other.close()
