"""The engine contract on a real Milvus server 2.3.5, and the traps of that server."""

import os
import subprocess
import sys
import threading
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from milvus_server import MilvusServer
from milvus_setup import FUNNEL, WIDE, MilvusSetup, decaying, overlap

from engine_contract import EngineContract
from nestvec.codec.prefix import as_stored, prefix
from nestvec.engines.filters.where import Where
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus import collections
from nestvec.engines.milvus.collections import DOCUMENT
from nestvec.engines.milvus.connection import Connection
from nestvec.engines.milvus.documents import Rows
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.engines.milvus.location import Location
from nestvec.engines.milvus.prefixes import PrefixCollections
from nestvec.engines.tables import Record
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.types import Document, OperatingPoint


@pytest.fixture(scope="module")
def server():
    running = MilvusServer()
    try:
        yield running.start()
    finally:
        running.remove()


class Spares:
    """Empty collections that are loaded before a test needs them, and then get its name.

    A server loads an empty collection for two seconds, but several of them at the same time.
    """

    AT_ONCE = 12

    def __init__(self, url):
        self.connection = Connection(Location.parse(url))
        self._create, self._ready, self._made = collections.create, {}, 0

    def create(self, connection, name, dim, *, documents):
        if connection.is_lite:
            self._create(connection, name, dim, documents=documents)
            return
        ready = self._ready.setdefault((dim, documents), [])
        if not ready:
            for _ in range(self.AT_ONCE if documents else 4):
                self._made += 1
                ready.append(f"spare_{self._made}")
                self._create(self.connection, ready[-1], dim, documents=documents)
            for each in ready:
                collections.load(self.connection, each)
        self.connection.client.rename_collection(ready.pop(), name)

    def drop(self, beginning):
        """Drop the collections of a test: each one costs the server time."""
        for name in self.connection.client.list_collections():
            if name.startswith(beginning):
                self.connection.client.drop_collection(name)


@pytest.fixture(scope="module")
def spares(server):
    return Spares(server.url)


class TestServer(EngineContract):
    @pytest.fixture
    def setup(self, server, spares, request, monkeypatch):
        monkeypatch.setattr(collections, "create", spares.create)
        made = MilvusSetup(server.url, request.node.nodeid)
        yield made
        spares.drop(made.beginning)


LARGE = 20_000
OTHER = """
import sys
from milvus_setup import decaying
from nestvec.engines.milvus.documents import Rows
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.types import Document
engine = MilvusEngine.open(sys.argv[1])
engine.add({"from another process": Document("x")}, decaying(1, seed=9))
print(len(engine), flush=True)
sys.stdin.read()
"""


def brute_force(queries, vectors, k, rows=None):
    """Return the ids of the exhaustive search by ``FUNNEL``."""
    rows = np.arange(len(vectors)) if rows is None else rows
    first = FUNNEL.stages[0]
    stored = as_stored(vectors[rows])
    found = []
    for query in as_stored(queries):
        scores = prefix(stored, first.dim) @ prefix(query[None], first.dim)[0]
        shortlist = np.argsort(-scores)[: first.keep]
        best = shortlist[np.argsort(-(stored[shortlist] @ query))[:k]]
        found.append([f"d{row}" for row in rows[best]])
    return found


@pytest.fixture(scope="module")
def vectors():
    made = decaying(LARGE, seed=1)
    made[::1_000] = 0
    return made


@pytest.fixture(scope="module")
def large_url(server):
    return f"{server.url}?collection=large"


@pytest.fixture(scope="module")
def large(large_url, vectors):
    """An index of 20,000 documents, of which 10 % and 1 % match a filter."""
    with MilvusEngine.building(
        large_url, Manifest(WIDE, "float32", FUNNEL), source={"of": "tests"}
    ) as engine:
        for start in range(0, LARGE, 4_000):
            rows = range(start, start + 4_000)
            batch = {f"d{row}": Document("", "", {"n": row, "tenth": row % 10}) for row in rows}
            engine.add(batch, vectors[start : start + 4_000], build_codes=False)
    engine = MilvusEngine.open(large_url)
    yield engine
    engine.close()


class TestLargeIndex:
    """An index with HNSW. The tests run in this order; the last ones change the index."""

    def test_the_index_is_built_and_its_width_fitted(self, large):
        settings = large.manifest.settings
        assert settings["index"] == "hnsw"
        assert settings["rows"] == LARGE == len(large)
        assert settings["overlap@10"] >= 0.99
        name = large._table._prefixes.complete(32)
        state = collections.index_state(large._table._connection, name)
        assert state == ("HNSW", LARGE, LARGE, "Finished")

    def test_searches_in_the_index_find_what_a_scan_finds(self, large, vectors):
        queries = decaying(40, seed=2)
        assert overlap(large.search(queries, 10).ids, brute_force(queries, vectors, 10)) > 0.97

    def test_an_exact_search_equals_numpy(self, large, vectors):
        queries = decaying(10, seed=2)
        scores = as_stored(queries) @ as_stored(vectors).T
        expected = [[f"d{row}" for row in np.argsort(-each)[:10]] for each in scores]
        assert large.search(queries, 10, exact=True).ids == expected

    @pytest.mark.parametrize(("step", "filter_"), [(10, "tenth = 3"), (100, None)])
    def test_a_filtered_search_returns_k_documents(self, large, vectors, step, filter_):
        queries = decaying(20, seed=5)
        rows = np.arange(3, LARGE, step)
        if filter_ is None:
            filter_ = f"n in ({', '.join(map(str, rows))})"
        for k in (10, 50):
            found = large.search(queries, k, where=Where.parse(filter_))
            assert {len(ids) for ids in found.ids} == {k}
            assert {int(id_[1:]) % step for ids in found.ids for id_ in ids} == {3}
            assert overlap(found.ids, brute_force(queries, vectors, k, rows)) > 0.95

    def test_zero_vectors_score_0_and_are_found(self, large, vectors):
        zeros = Where.parse(f"n in ({', '.join(map(str, range(0, LARGE, 1_000)))})")
        found = large.search(decaying(1, seed=6), 100, where=zeros)
        expected = sorted((f"d{row}" for row in range(0, LARGE, 1_000)), reverse=True)
        assert found.ids == [expected]
        assert set(found.scores[0]) == {0.0}

    def test_a_point_without_its_prefixes_is_refused(self, large):
        with pytest.raises(InvalidArgument, match=r"no prefixes of 8 dims\. Run nestvec index use"):
            large.search(decaying(1, seed=2), 3, point=OperatingPoint.parse("8:float16"))

    def test_a_k_above_the_limit_of_milvus_is_refused(self, large):
        with pytest.raises(InvalidArgument, match="20,000 documents are more than the 16,384"):
            large.search(decaying(1, seed=2), LARGE, exact=True)

    def test_another_process_finds_and_changes_the_same_documents(self, large, large_url):
        command = [sys.executable, "-c", OTHER, large_url]
        tests = Path(__file__).parent
        paths = [str(tests), str(tests.parent)]
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        ) as other:
            assert int(other.stdout.readline()) == LARGE + 1
            assert large.search(decaying(1, seed=9), 1).ids == [["from another process"]]
            other.stdin.close()
        assert large.delete(["from another process"]) == 1

    def test_an_interrupted_change_is_completed_by_the_next_one(self, large, monkeypatch):
        moved = decaying(1, seed=11)
        with monkeypatch.context() as patch:
            patch.setattr(PrefixCollections, "write", fail)
            with pytest.raises(DataError, match="interrupted"):
                large.add({"d5": Document("", "", {"n": 5})}, moved, replace=True)
        assert large.search(moved, 1).ids != [["d5"]]  # its prefix is still the former one
        large.add({"new": Document("")}, decaying(1, seed=12))
        assert large.search(moved, 1).ids == [["d5"]]
        assert large._table._records.journal(large._table._name) == []

    def test_searches_continue_while_another_point_is_prepared(self, large, large_url):
        queries, errors, done = decaying(2, seed=2), [], threading.Event()
        reader = MilvusEngine.open(large_url)

        def search():
            while not done.is_set():
                try:
                    assert [len(ids) for ids in reader.search(queries, 10).ids] == [10, 10]
                except Exception as error:
                    errors.append(error)
                    return
                time.sleep(0.1)

        thread = threading.Thread(target=search)
        thread.start()
        try:
            large.use(OperatingPoint.parse("16:float16@200>64:float32"))
        finally:
            done.set()
            thread.join()
        assert errors == []
        assert len(large._table._prefixes.names()) == 1  # the former prefixes are dropped
        for _ in range(3):  # its manifest may still have the former point
            assert reader.search(queries, 10) == large.search(queries, 10)
        reader.close()

    def test_a_killed_server_loses_nothing_and_open_indexes_continue(self, large, server):
        queries = decaying(5, seed=2)
        before, n = large.search(queries, 10), len(large)
        exact = large.search(queries, 10, exact=True)
        server.kill()
        server.start()
        assert len(large) == n
        assert overlap(large.search(queries, 10).ids, before.ids) > 0.97
        assert large.search(queries, 10, exact=True) == exact

    def test_an_open_index_follows_its_replacement(self, large, large_url):
        with MilvusEngine.building(
            large_url, Manifest(WIDE, "float32", FUNNEL), source={"of": "others"}
        ) as engine:
            engine.add({"only": Document("x")}, decaying(1, seed=2))
        assert large.search(decaying(1, seed=2), 3).ids == [["only"]]
        names = large._table._connection.client.list_collections()
        assert len([name for name in names if name.startswith("large")]) == 2


class TestConcurrentUses:
    """Two processes change the operating point of one index at the same time."""

    N = 3_000

    @pytest.fixture
    def url(self, server):
        url = f"{server.url}?collection=uses"
        engine = MilvusEngine.create(url, Manifest(WIDE, "float32", FUNNEL))
        for start in range(0, self.N, 1_000):
            rows = range(start, start + 1_000)
            engine.add(
                {f"d{row}": Document("") for row in rows}, self.vectors[start : start + 1_000]
            )
        yield url
        engine.drop()

    @cached_property
    def vectors(self):
        return decaying(self.N, seed=1)

    def test_one_of_them_is_refused_and_no_prefix_is_lost(self, url):
        command = [sys.executable, str(Path(__file__).parent / "milvus_uses.py"), url, "4"]
        paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        runners = [
            subprocess.Popen(
                [*command, *dims],
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": paths},
            )
            for dims in (("16", "32"), ("8", "48"))
        ]
        outcomes = [runner.communicate(timeout=240)[0] for runner in runners]
        assert [runner.returncode for runner in runners] == [0, 0]
        assert [len(each) for each in outcomes] == [4, 4]
        assert "d" in outcomes[0] + outcomes[1]
        engine = MilvusEngine.open(url)
        (name,) = engine._table._prefixes.names()
        stored = engine._table._records.complete(engine._record.table)
        assert stored == {engine.manifest.point.stages[0].dim: name}
        assert Rows(engine._table._connection, name).count() == self.N
        found = engine.search(self.vectors[:50], 1).ids
        assert found == [[f"d{row}"] for row in range(50)]
        assert engine._table._records.leases(engine._record.table) == []
        engine.close()

    def test_a_change_is_refused_while_another_engine_prepares_a_point(self, url, monkeypatch):
        first, second = MilvusEngine.open(url), MilvusEngine.open(url)
        point, build = OperatingPoint.parse("16:float16@100>64:float32"), PrefixCollections.build

        def refuses_meanwhile(prefixes, dim):
            monkeypatch.setattr(PrefixCollections, "build", build)
            with pytest.raises(IndexLocked, match="another process builds prefixes"):
                second.use(OperatingPoint.parse("8:float16@100>64:float32"))
            return prefixes.build(dim)

        monkeypatch.setattr(PrefixCollections, "build", refuses_meanwhile)
        first.use(point)
        assert MilvusEngine.read_manifest(url).point == point
        second.use(FUNNEL)
        assert first.search(self.vectors[:5], 1).ids == [[f"d{row}"] for row in range(5)]
        for engine in (first, second):
            engine.close()

    def test_the_lease_of_a_process_that_ended_is_removed(self, url, monkeypatch):
        engine = MilvusEngine.open(url)
        records, table = engine._table._records, engine._record.table
        records.write_lease(table, f"{table}/ended")
        with pytest.raises(IndexLocked, match="60 s after a crash"):
            engine.use(OperatingPoint.parse("16:float16@100>64:float32"))
        assert records.leases(table)[0][0] == f"{table}/ended"
        monkeypatch.setattr("nestvec.engines.milvus.lease.ABANDONED_S", 0.1)
        time.sleep(0.2)
        engine.use(OperatingPoint.parse("16:float16@100>64:float32"))
        assert records.leases(table) == []
        engine.close()


class TestSmallIndex:
    @pytest.fixture(scope="class")
    def small(self, server):
        point = OperatingPoint.parse("64:float32")
        url = f"{server.url}?collection=small&consistency=session"
        engine = MilvusEngine.create(url, Manifest(WIDE, "float32", point))
        yield engine
        engine.drop()

    def test_with_session_consistency_a_process_finds_its_own_changes(self, small):
        for number in range(20):
            vector = decaying(1, seed=number)
            small.add({f"d{number}": Document("")}, vector)
            assert small.search(vector, 1).ids == [[f"d{number}"]]

    def test_many_equal_scores_are_in_descending_order_of_id(self, small):
        ids = [f"same{number}" for number in range(300)]
        vectors = np.repeat(decaying(1, seed=99), 300, axis=0)
        small.add({id_: Document("") for id_ in ids}, vectors)
        assert small.search(vectors[:1], 10).ids == [sorted(ids, reverse=True)[:10]]

    def test_a_document_longer_than_a_text_of_milvus_is_returned(self, small):
        long = Document("ü" * 1_900_000, "title", {"more": "y" * 70_000})
        small.add({"long": long}, decaying(1, seed=98))
        assert small.get(["long"]) == {"long": long}
        assert small.search(decaying(1, seed=1), 3, where=Where.parse("more exists")).ids == [
            ["long"]
        ]
        with pytest.raises(InvalidArgument, match=r"'longer': it has .* Milvus stores 4,000,000"):
            small.add({"longer": Document("x" * 4_000_001)}, decaying(1, seed=97))

    def test_a_batch_of_several_requests_is_deleted_after_an_error(self, small, monkeypatch):
        monkeypatch.setattr("nestvec.engines.milvus.table.REQUEST_BYTES", 10_000)
        added = {f"batch{row}": Document("") for row in range(100)}
        vectors, calls, upsert = decaying(100, seed=6), [], Rows.upsert

        def fails_once(rows, block):
            calls.extend([rows] if DOCUMENT in block[0] else [])
            if len(calls) == 3:
                fail()
            upsert(rows, block)

        n = len(small)
        with monkeypatch.context() as patch:
            patch.setattr(Rows, "upsert", fails_once)
            with pytest.raises(DataError, match="interrupted"):
                small.add(added, vectors)
        assert len(small) == n
        small.add(added, vectors)
        assert len(small) == n + 100
        assert small._table._records.batches(small._table._name) == []
        assert small.delete(list(added)) == 100

    def test_a_record_with_a_large_adapter_is_returned_and_removed(self, small):
        stored, content = small._table._records, os.urandom(3_000_000)
        stored.write("adapted", Record(small.manifest, "none", content))
        assert stored.read("adapted").adapter == content
        stored.remove("adapted")
        assert stored.read("adapted") is None
        assert stored._rows("adapter") == []

    def test_the_full_width_has_an_index_of_its_own(self, small, monkeypatch):
        monkeypatch.setattr("nestvec.engines.milvus.table.LEAST_ROWS", 2_000)
        vectors = decaying(2_500, seed=4)
        small.add({f"more{row}": Document("") for row in range(2_500)}, vectors)
        small.build_codes()
        assert small.manifest.settings["index"] == "hnsw"
        queries = decaying(20, seed=5)
        exact = small.search(queries, 10, exact=True).ids
        assert overlap(small.search(queries, 10).ids, exact) >= 0.9


def fail(*_):
    raise DataError("here", "was interrupted")
