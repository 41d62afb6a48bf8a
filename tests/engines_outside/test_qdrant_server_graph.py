"""The requests that build and search a graph in a Qdrant server.

The server of these tests ignores graphs and quantization: their bodies are compared, and their
results are exact. ``test_qdrant_graph`` runs the same searches on the graph of Qdrant Edge.
"""

import json

import pytest
from qdrant_client import models
from qdrant_rest import serving
from qdrant_server_setup import create

from engine_setup import CORPUS, QUERIES, VECTORS, N
from nestvec.engines.filters.where import Where
from nestvec.engines.qdrant import indexing, table
from nestvec.engines.qdrant_server import collection
from nestvec.engines.qdrant_server.engine import QdrantServerEngine
from nestvec.errors import DataError
from nestvec.types import OperatingPoint

POINT = OperatingPoint.parse("8:float16@90>16:float16@30>32:float32")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(indexing, "LEAST_ROWS", 100)
    monkeypatch.setattr(indexing, "SAMPLED", 10)
    monkeypatch.setattr(collection, "_FIRST_WAIT_S", 0.001)
    with serving() as running:
        yield running


def built(server, query=""):
    """Return an index of the corpus with a graph."""
    index = create(server, POINT, query=query)
    index.add(CORPUS, VECTORS)
    index.build_codes()
    return index


def last(server, method, path):
    return json.loads(server.bodies(method, path)[-1])


def configured(server):
    """Return the bodies that changed parameters of the vectors."""
    bodies = [json.loads(body) for method, _, body in server.received if method == "PATCH"]
    return [body for body in bodies if "vectors" in body]


class TestRequests:
    def test_a_collection_is_created_without_a_graph(self, server):
        index = create(server, POINT)
        (created,) = [
            json.loads(body)
            for method, path, body in server.received
            if method == "PUT" and path.count("/") == 2
        ]
        assert created["vectors"]["full"] == {
            "size": 32,
            "distance": "Dot",
            "datatype": "float32",
            "memory": "cold",
            "hnsw_config": created["hnsw_config"],
        }
        assert created["hnsw_config"]["m"] == 0
        assert created["optimizers_config"] == {"indexing_threshold": 1_000_000_000}
        assert created["payload"] == {"memory": "cold"}
        indexes = [json.loads(body) for body in server.bodies("PUT", "/index")]
        assert {(each["field_name"], each["field_schema"]) for each in indexes} == {
            ("fields", "keyword"),
            ("values", "keyword"),
        }
        index.close()

    def test_the_first_stage_gets_a_graph(self, server):
        index = built(server)
        (changed,) = configured(server)
        graph = {"m": 16, "ef_construct": 200, "full_scan_threshold": 10}
        assert changed["vectors"]["p8_float16"] == {
            "hnsw_config": graph,
            "memory": "cached",
            "quantization_config": "Disabled",
        }
        assert changed["vectors"]["full"]["hnsw_config"]["m"] == 0
        assert changed["vectors"].keys() == {"full", "p8_float16", "p16_float16"}
        assert changed["optimizers_config"] == {"indexing_threshold": 1}
        vector = json.loads(server.bodies("PUT", "/vectors/p8_float16")[0])
        assert vector == {"dense": {"size": 8, "distance": "Dot", "datatype": "float16"}}
        assert index.manifest.settings["hnsw_ef"] == indexing.HNSW_EF[0]
        assert index.manifest.settings["overlap@10"] == 1
        index.close()

    def test_one_query_runs_all_stages(self, server, monkeypatch):
        index = built(server)
        where = Where.parse("n >= 0")
        expected = index.search(QUERIES, 5, where=where)  # each stage scores all its candidates
        monkeypatch.setattr(table, "FILTERED_EXHAUSTIVE", 0)
        found = index.search(QUERIES, 5, where=where)
        (first, *_) = sent = last(server, "POST", "/query/batch")["searches"]
        assert len(sent) == len(QUERIES)
        assert first["using"] == "full"
        assert first["params"] == {"exact": True}
        second = first["prefetch"]
        assert (second["using"], second["limit"]) == ("p16_float16", 30)
        third = second["prefetch"]
        assert (third["using"], third["limit"]) == ("p8_float16", 90)
        assert third["params"] == {"hnsw_ef": 90, "quantization": {"ignore": True}}
        assert "must" in third["filter"] or "should" in third["filter"]
        models.QueryRequest.model_validate(first)
        assert found.ids == expected.ids
        index.close()

    @pytest.mark.parametrize("name", indexing.QUANTIZATIONS)
    def test_a_quantization_is_requested_and_removed(self, server, name):
        index = built(server, f"?quantization={name}")
        chosen = indexing.QUANTIZATIONS[name]
        assert configured(server)[-1]["vectors"]["p8_float16"]["quantization_config"] == (
            chosen.config
        )
        assert index.manifest.settings["quantization"] == name
        index.search(QUERIES[:1], 5)
        (query,) = last(server, "POST", "/query/batch")["searches"]
        assert query["prefetch"]["prefetch"]["params"]["quantization"] == {
            "rescore": True,
            "oversampling": chosen.oversampling,
        }
        plain = index.place.partition("?")[0]
        index.close()
        index = QdrantServerEngine.open(plain)
        index.build_codes()
        assert index.manifest.settings["quantization"] == name  # recorded with the index
        index.close()
        index = QdrantServerEngine.open(f"{plain}?quantization=none")
        index.build_codes()
        assert configured(server)[-1]["vectors"]["p8_float16"]["quantization_config"] == "Disabled"
        assert "quantization" not in index.manifest.settings
        index.close()

    def test_compacting_lowers_the_limit_of_deleted_points_and_restores_it(self, server):
        index = built(server)
        index.delete(list(CORPUS)[:50])
        server.received.clear()
        index.compact()
        limits = [
            json.loads(body)["optimizers_config"]["deleted_threshold"]
            for method, _, body in server.received
            if method == "PATCH"
        ]
        assert limits == [0.01, 0.2]
        assert len(index) == N - 50
        index.close()


class TestWaiting:
    def changes(self, server, monkeypatch, **changed):
        """Let the server report another state for some requests."""
        original, left = server.local.get_collection, changed.pop("times")

        def reported(name):
            nonlocal left
            left -= 1
            info = original(name)
            return info.model_copy(update=changed) if left >= 0 else info

        monkeypatch.setattr(server.local, "get_collection", reported)

    @pytest.mark.parametrize("status", ["yellow", "grey"])
    def test_a_build_waits_until_the_server_is_done(self, server, monkeypatch, status):
        index = built(server)
        before = len(server.received)
        self.changes(server, monkeypatch, status=models.CollectionStatus(status), times=4)
        index._table._points._wait()
        sent = server.received[before:]
        assert [method for method, _, _ in sent].count("GET") == 6
        triggers = [json.loads(body) for method, _, body in sent if method == "PATCH"]
        assert triggers == ([{"optimizers_config": {}}] * 4 if status == "grey" else [])
        index.close()

    @pytest.mark.parametrize(
        "changed",
        [
            {"status": models.CollectionStatus.RED},
            {"optimizer_status": models.OptimizersStatusOneOf1(error="no space\nleft")},
        ],
        ids=["status", "optimizer"],
    )
    def test_a_failed_optimization_is_reported(self, server, monkeypatch, changed):
        index = built(server)
        self.changes(server, monkeypatch, times=99, **changed)
        with pytest.raises(DataError, match=r"an optimization failed: (no space left|its status)"):
            index._table._points._wait()
        index.close()
