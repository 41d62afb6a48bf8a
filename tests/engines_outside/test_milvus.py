"""The engine contract on a real Milvus server 2.3.5 and on Milvus Lite."""

import pytest
from milvus_server import MilvusServer

from engine_contract import EngineContract
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus import collections
from nestvec.engines.milvus.connection import Connection
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.engines.milvus.location import Location
from nestvec.types import OperatingPoint


@pytest.fixture(scope="session")
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

    AT_ONCE = 6

    def __init__(self, url):
        self.connection = Connection(Location.parse(url))
        self._create, self._ready, self._made = collections.create, {}, 0

    def create(self, connection, name, dim, *, documents):
        if connection.is_lite:
            self._create(connection, name, dim, documents=documents)
            return
        ready = self._ready.setdefault((dim, documents), [])
        if not ready:
            for _ in range(self.AT_ONCE):
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


@pytest.fixture(scope="session")
def spares(server):
    return Spares(server.url)


class MilvusSetup:
    """The setup of Milvus, whose scores are those of the codecs that fit nothing."""

    name = "milvus"
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def __init__(self, base, test):
        self._base, self.beginning = base, f"t{abs(hash(test)) % 10**12}_"

    def url(self, place):
        return f"{self._base}?collection={self.beginning}{place.name.replace('-', '_')}"

    def create(self, place, model, point):
        return MilvusEngine.create(self.url(place), Manifest(model, "float32", point))

    def open(self, place):
        return MilvusEngine.open(self.url(place), verify=True)

    def settle(self, engine):
        engine.build_codes()

    def scores(self, queries, corpus, stage):
        stored = as_stored(corpus)
        codec = Codec.fit_stored(stored, stage.dim, stage.precision)
        return codec.prepare(queries) @ codec.decode_stored(stored).T


class TestServer(EngineContract):
    @pytest.fixture
    def setup(self, server, spares, request, monkeypatch):
        monkeypatch.setattr(collections, "create", spares.create)
        made = MilvusSetup(server.url, request.node.nodeid)
        yield made
        spares.drop(made.beginning)


class TestLite(EngineContract):
    @pytest.fixture
    def setup(self, tmp_path, request):
        return MilvusSetup(f"milvus-lite://{tmp_path}/lite.db", request.node.nodeid)
