"""The engine contract on a real Milvus server 2.3.5 and on Milvus Lite."""

import pytest
from milvus_server import MilvusServer

from engine_contract import EngineContract
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.types import OperatingPoint


@pytest.fixture(scope="session")
def server():
    running = MilvusServer()
    try:
        yield running.start()
    finally:
        running.remove()


class MilvusSetup:
    """The setup of Milvus, whose scores are those of the codecs that fit nothing."""

    name = "milvus"
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def __init__(self, base, test):
        self._base, self._test = base, test

    def url(self, place):
        return f"{self._base}?collection=t{self._test}_{place.name.replace('-', '_')}"

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


def number_of(request):
    return abs(hash(request.node.nodeid)) % 10**12


class TestServer(EngineContract):
    @pytest.fixture
    def setup(self, server, request):
        return MilvusSetup(server.url, number_of(request))


class TestLite(EngineContract):
    @pytest.fixture
    def setup(self, tmp_path, request):
        return MilvusSetup(f"milvus-lite://{tmp_path}/lite.db", number_of(request))
