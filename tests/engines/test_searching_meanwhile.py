"""Searches do not wait for a change of the index or for the codes of another point."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kills import POINTS, add, new_index
from nestvec.engines.embedded import documents, part
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.part import OnceMap
from nestvec.engines.filters.where import Where
from nestvec.types import OperatingPoint
from together import EVERY, IDS, batch

QUERY = np.ones((1, 32), np.float32)
WAIT = 30  # seconds; a test that hangs fails after this time


@pytest.fixture
def index(tmp_path):
    index = EmbeddedEngine(new_index(tmp_path / "index"))
    add(index, batch(0))
    index.build_codes()
    yield index
    index.close()


@pytest.fixture
def coding(monkeypatch):
    """Pause the encoding: one event is set when it starts, another one lets it continue."""
    began, go_on, encode = threading.Event(), threading.Event(), part._encode

    def waiting(*args):
        began.set()
        assert go_on.wait(WAIT)
        return encode(*args)

    monkeypatch.setattr(part, "_encode", waiting)
    yield began, go_on
    go_on.set()


def found(index, **options):
    [ids] = index.search(QUERY, 100, **options).ids
    return sorted(ids)


@pytest.fixture(params=["verify", "filter", "get", "ids", "contains", "vectors"])
def reading(request, index, monkeypatch):
    """Start a read in another thread, pause it, and yield its future."""
    began, go_on = threading.Event(), threading.Event()
    name = {
        "verify": "check_rows",
        "filter": "field_from",
        "get": "get",
        "ids": "all_ids",
        "contains": "rows_of",
        "vectors": "rows_of",
    }[request.param]
    original = getattr(documents, name)

    def waiting(database, *args):
        with database.lock:  # a long read keeps its connection from all other threads
            began.set()
            assert go_on.wait(WAIT)
        return original(database, *args)

    monkeypatch.setattr(documents, name, waiting)
    reads = {
        "verify": index.verify,
        "filter": lambda: found(index, where=EVERY),
        "get": lambda: index.get(IDS),
        "ids": lambda: list(index.ids()),
        "contains": lambda: IDS[0] in index,
        "vectors": lambda: index.vectors(IDS),
    }
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(reads[request.param])
        assert began.wait(WAIT)
        yield result
        go_on.set()
        result.result(WAIT)


def test_a_search_does_not_wait_while_another_thread_reads_the_database(index, reading):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(found, index).result(WAIT) == sorted(IDS)
        assert pool.submit(len, index).result(WAIT) == len(IDS)
    assert not reading.done()


def test_a_filter_on_a_known_field_does_not_wait_for_another_field(index, monkeypatch):
    assert found(index, where=EVERY) == sorted(IDS)
    began, go_on = threading.Event(), threading.Event()
    original = documents.field_from

    def waiting(*args):
        began.set()
        assert go_on.wait(WAIT)
        return original(*args)

    monkeypatch.setattr(documents, "field_from", waiting)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(found, index, where=Where.parse("odd = 5"))
        assert began.wait(WAIT)
        assert pool.submit(found, index, where=EVERY).result(WAIT) == sorted(IDS)
        assert not first.done()
        go_on.set()
        assert first.result(WAIT) == []


def test_a_search_does_not_wait_while_codes_are_built(index, coding):
    began, go_on = coding
    add(index, {"new": 500})
    with ThreadPoolExecutor(1) as pool:
        changed = pool.submit(index.build_codes)
        assert began.wait(WAIT)
        assert found(index) == sorted([*IDS, "new"])
        assert not changed.done()
        go_on.set()
        changed.result(WAIT)
    assert found(index) == sorted([*IDS, "new"])
    assert index.stats().uncoded == 0


def test_a_search_does_not_wait_for_a_compaction(index, coding):
    began, go_on = coding
    index.delete(IDS[:3])
    with ThreadPoolExecutor(2) as pool:
        changed = pool.submit(index.compact)
        assert began.wait(WAIT)
        assert found(index) == sorted(IDS[3:])
        filtered = pool.submit(found, index, where=EVERY)  # it waits, as the rows are renumbered
        assert not changed.done()
        go_on.set()
        assert filtered.result(WAIT) == sorted(IDS[3:])
        changed.result(WAIT)
    assert index.stats().generation == 1


def test_a_search_does_not_wait_for_the_codes_of_another_point(index, coding):
    began, go_on = coding
    other = next(each for each in map(OperatingPoint.parse, POINTS) if each != index.manifest.point)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(found, index, point=other)
        assert began.wait(WAIT)
        assert found(index) == sorted(IDS)
        go_on.set()
        assert asked.result(WAIT) == sorted(IDS)


def test_a_failed_value_is_computed_again_by_the_next_thread():
    once = OnceMap({"known": 1})

    def fail():
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        once.get("new", fail)
    assert once.get("new", lambda: 2) == 2
    assert once.get("new", fail) == 2
    assert once.computed == {"known": 1, "new": 2}
