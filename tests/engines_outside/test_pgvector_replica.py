"""A streaming replica of PostgreSQL serves searches, and refuses changes in one line."""

import time

import numpy as np
import pytest
from postgres import PostgresServer, running_server

import nestvec as nv
from conftest import free_ports
from nestvec.engines.filters.where import Where
from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector.engine import PgvectorEngine
from nestvec.errors import DataError
from nestvec.types import Document, ModelInfo, OperatingPoint

DIM = 16
VECTORS = np.random.default_rng(0).standard_normal((200, DIM)).astype(np.float32)
MODEL = ModelInfo("models/any", "e" * 64, DIM, (DIM,), "config.json", True)
POINT = OperatingPoint.parse("8:float16@20>16:float16")
PLACE = "?table=docs"


@pytest.fixture(scope="module")
def primary():
    with running_server() as server:
        engine = PgvectorEngine.create(server.url + PLACE, Manifest(MODEL, "float16", POINT))
        engine.add({f"d{n}": Document(f"text {n}") for n in range(100)}, VECTORS[:100])
        engine.close()
        yield server


@pytest.fixture(scope="module")
def replica(primary):
    (port,) = free_ports(1)
    server = PostgresServer(port, primary=primary)
    try:
        yield server.start()
    finally:
        server.remove()


def test_a_replica_shows_a_new_document(primary, replica):
    reader = PgvectorEngine.open(replica.url + PLACE, verify=True)
    writer = PgvectorEngine.open(primary.url + PLACE)
    assert reader.search(VECTORS[[3]], 1).ids == [["d3"]]
    writer.add({"new": Document("a new text", metadata={"n": 7})}, VECTORS[[150]])
    end = time.monotonic() + 20
    while reader.search(VECTORS[[150]], 1).ids != [["new"]]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert reader.get(["new"])["new"].text == "a new text"
    assert reader.stats().documents == 101
    assert reader.search(VECTORS[[150]], 1, where=Where.parse("n = 7")).ids == [["new"]]
    assert len(nv.load_embeddings(replica.url + PLACE)) == 101
    reader.close()
    writer.close()


def test_a_change_of_a_replica_is_refused_in_one_line(replica):
    engine = PgvectorEngine.open(replica.url + PLACE)
    changes = [
        lambda: engine.add({"other": Document("")}, VECTORS[:1]),
        lambda: engine.delete(["d1"]),
        lambda: engine.use(OperatingPoint.parse("16:float16")),
        lambda: engine.record_encoder(MODEL),
        engine.compact,
        lambda: PgvectorEngine.create(replica.url + "?table=no", engine.manifest),
    ]
    for change in changes:
        start = time.monotonic()
        with pytest.raises(DataError, match="is a read-only replica") as caught:
            change()
        assert "\n" not in str(caught.value)
        assert time.monotonic() - start < 5, "a refused change is not repeated"
    assert engine.search(VECTORS[[3]], 1).ids == [["d3"]]
    engine.close()
