"""A Qdrant server that is down, busy, old, protected by a key, or limits requests."""

import json
import logging
import time

import numpy as np
import pytest
from qdrant_rest import MOST_BYTES, serving
from qdrant_server_setup import create

from conftest import free_ports
from engine_setup import CORPUS, QUERIES, VECTORS
from nestvec.engines.filters.where import Where
from nestvec.engines.qdrant_server import batches
from nestvec.engines.qdrant_server.engine import QdrantServerEngine
from nestvec.errors import DataError
from nestvec.sources import qdrant_connection as connection
from nestvec.sources.qdrant_address import API_KEY
from nestvec.types import Document, ModelInfo, OperatingPoint

KEY = "s3cret-key"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv(API_KEY, raising=False)
    with serving() as running:
        yield running


class TestFailures:
    def test_a_server_that_is_down_is_reported_in_one_line(self, monkeypatch):
        monkeypatch.setattr(connection, "CONNECT_S", 1)
        (port,) = free_ports(1)
        start = time.monotonic()
        with pytest.raises(DataError) as caught:
            QdrantServerEngine.open(f"qdrant://127.0.0.1:{port}/docs")
        assert time.monotonic() - start < 5
        text = str(caught.value)
        assert text.startswith(
            f"qdrant://127.0.0.1:{port}/docs: the server did not answer the call"
        )
        assert "Connection refused" in text
        assert "\n" not in text

    def test_a_server_that_stops_is_reported_by_each_call(self, monkeypatch):
        monkeypatch.setattr(connection, "RETRY_S", 0.5)
        with serving() as server:
            index = create(server)
        for call in (
            lambda: index.search(QUERIES, 3),
            lambda: index.add({"a": Document("")}, VECTORS[:1]),
            lambda: index.delete(["a"]),
            lambda: len(index),
        ):
            with pytest.raises(
                DataError, match=r"did not answer the call within 0\.5 s .*Check that it"
            ):
                call()
        index.close()

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_a_busy_server_is_asked_again(self, server, status):
        index = create(server)
        index.add(CORPUS, VECTORS)
        expected = index.search(QUERIES, 3)
        server.answers += [status, status]
        assert index.search(QUERIES, 3) == expected
        assert not server.answers
        index.close()

    def test_a_change_whose_answer_is_lost_is_applied_once(self, server):
        index = create(server)
        server.dropped = 2  # the check for existing ids, and the names of vectors
        index.add(CORPUS, VECTORS)
        sent = len(server.bodies("PUT", "/points"))
        original = server.before

        def drop(method, path):
            if (
                method == "PUT"
                and path.endswith("/points")
                and len(server.bodies(method, path)) == sent
            ):
                server.dropped = 1

        server.before = drop
        index.add({"late": Document("late")}, VECTORS[[5]])
        server.before = original
        assert len(server.bodies("PUT", "/points")) == sent + 2
        assert len(index) == len(CORPUS) + 1
        server.dropped = 1
        assert index.delete(["late"]) == 1
        index.close()

    def test_a_collection_whose_answer_is_lost_is_created_once(self, server):
        def drop(method, path):
            if method == "PUT" and path.count("/") == 2 and not dropped:
                dropped.append(path)
                server.dropped = 1

        dropped = []
        server.before = drop
        index = create(server)
        assert dropped
        assert len(server.local.get_collections().collections) == 1
        index.close()

    @pytest.mark.parametrize("status", [400, 404, 422, 500])
    def test_other_answers_are_reported_at_once(self, server, status):
        index = create(server)
        server.answers.append(status)
        with pytest.raises(DataError, match=rf"/docs: {status} .*: busy\."):
            index.search(QUERIES, 3)
        index.close()

    def test_an_old_server_is_refused(self, server):
        server.version = "1.18.3"
        with pytest.raises(DataError, match=r"version 1\.18\.3\. Use Qdrant 1\.19 or later"):
            create(server)
        server.version = "2.0.0"
        create(server).close()

    def test_a_server_that_has_not_applied_a_change_is_asked_again(self, server, monkeypatch):
        monkeypatch.setattr(connection, "_FIRST_WAIT_S", 0.01)
        index = create(server)
        upsert, results = server.local.upsert, ["acknowledged", "wait_timeout"]

        def late(*arguments):
            done = upsert(*arguments)
            return done.model_copy(update={"status": results.pop(0)}) if results else done

        monkeypatch.setattr(server.local, "upsert", late)
        index.add({"a": Document("")}, VECTORS[:1])
        assert not results
        monkeypatch.setattr(connection, "RETRY_S", 0.5)
        results += ["wait_timeout"] * 99
        with pytest.raises(DataError, match="the change is wait_timeout"):
            index.add({"b": Document("")}, VECTORS[:1])
        index.close()


class TestApiKey:
    def test_the_key_is_read_from_the_environment_and_never_shown(
        self, server, monkeypatch, caplog, capfd
    ):
        server.api_key = KEY
        with pytest.raises(DataError, match=rf"refuses the API key \(401 .*Set {API_KEY} to"):
            create(server)
        monkeypatch.setenv(API_KEY, KEY)
        with caplog.at_level(logging.DEBUG):
            index = create(server)
            index.add(CORPUS, VECTORS)
            assert KEY not in str(server.local.get_collection("docs"))
            assert KEY not in index.place
            server.api_key = "another"
            with pytest.raises(DataError, match="refuses the API key") as caught:
                index.search(QUERIES, 3)
        index.close()
        assert KEY not in str(caught.value) + caplog.text + "".join(capfd.readouterr())

    def test_a_key_that_is_sent_without_tls_to_another_host_is_logged(self, monkeypatch, caplog):
        monkeypatch.setattr(connection, "CONNECT_S", 0)
        monkeypatch.setenv(API_KEY, KEY)
        with pytest.raises(DataError):
            QdrantServerEngine.open("qdrant://qdrant.invalid/docs")
        assert "sent unencrypted. Use qdrant+https://" in caplog.text
        caplog.clear()
        for url in ("qdrant+https://qdrant.invalid/docs", "qdrant://localhost:9/docs"):
            with pytest.raises(DataError):
                QdrantServerEngine.open(url)
        assert "unencrypted" not in caplog.text

    def test_a_key_for_reading_can_filter_by_order(self, server):
        index = create(server)
        index.add(CORPUS, VECTORS)
        expected = index.search(QUERIES, 3, where=Where.parse("n > 50"))

        def refuse(method, path):
            if method == "PUT":
                refused.append(path)
                server.answers.append(403)

        refused = []
        server.before = refuse
        reader = QdrantServerEngine.open(index.place)
        assert reader.search(QUERIES, 3, where=Where.parse("n > 50")) == expected
        assert refused
        with pytest.raises(DataError, match=r"refuses the API key \(403"):
            reader.add({"a": Document("")}, VECTORS[:1])
        reader.close()
        index.close()


class TestLargeRequests:
    def test_a_batch_is_sent_in_requests_that_a_server_accepts(self, server):
        wide = ModelInfo("models/wide", "a" * 64, 4_096, (4_096, 16), "config.json", True)
        index = create(server, OperatingPoint.parse("4096:float32"), wide)
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((400, 4_096)).astype(np.float32)
        index.add({f"d{n}": Document("text") for n in range(400)}, vectors)
        sizes = [len(body) for body in server.bodies("PUT", "/points")]
        assert len(sizes) == 2
        assert sum(sizes) > MOST_BYTES > max(sizes)
        assert len(index) == 400
        assert [ids for (ids,) in index.search(vectors[:3], 1).ids] == ["d0", "d1", "d2"]
        index.close()

    def test_a_batch_that_is_stored_in_part_is_reported(self, server, monkeypatch):
        index = create(server)
        monkeypatch.setattr(batches, "REQUEST_BYTES", 100_000)
        monkeypatch.setattr(batches.batches, "__defaults__", (100_000,))
        sent = []

        def refuse(method, path):
            if method == "PUT" and path.endswith("/points"):
                sent.append(path)
                if len(sent) == 2:
                    server.answers.append(507)

        server.before = refuse
        with pytest.raises(DataError, match=r"507 .*: busy\. \d+ of 200 documents .* upsert\."):
            index.add(CORPUS, VECTORS)
        assert 0 < len(index) < 200
        index.add(CORPUS, VECTORS, replace=True)
        assert len(index) == 200
        index.close()

    def test_estimates_are_not_smaller_than_the_json_text(self):
        point = {
            "id": "a" * 36,
            "vector": {"full": (-VECTORS[0] * 1e-30).tolist(), "p": VECTORS[1].tolist()},
            "payload": {"text": 'ü\0"\\\n' * 50, "list": ["é", 1, 0.5, None, True], "empty": []},
        }
        for ascii_only in (False, True):
            text = json.dumps(point, ensure_ascii=ascii_only, separators=(",", ":"))
            assert batches.json_bytes(point) >= len(text.encode())

    def test_an_item_larger_than_the_limit_is_alone(self):
        assert list(batches.batches(["a", "b" * 50, "c", "d"], 20)) == [
            ["a"],
            ["b" * 50],
            ["c", "d"],
        ]
        assert list(batches.batches([], 20)) == []
