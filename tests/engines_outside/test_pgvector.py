"""The engine contract on a real PostgreSQL server with pgvector."""

import pytest
from postgres import PostgresServer

from conftest import free_ports
from engine_contract import EngineContract
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.manifest import Manifest
from nestvec.engines.pgvector.engine import PgvectorEngine
from nestvec.types import OperatingPoint


@pytest.fixture(scope="session")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


class PgvectorSetup:
    """The setup of pgvector, whose scores are those of the codecs that fit nothing."""

    name = "pgvector"
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def __init__(self, server, request):
        self._server, self._test = server, abs(hash(request.node.nodeid))

    def url(self, place):
        return f"{self._server.url}?table=t{self._test}_{place.name.replace('-', '_')}"

    def create(self, place, model, point):
        return PgvectorEngine.create(self.url(place), Manifest(model, "float32", point))

    def open(self, place):
        return PgvectorEngine.open(self.url(place), verify=True)

    def settle(self, engine):
        engine.build_codes()

    def scores(self, queries, corpus, stage):
        stored = as_stored(corpus)
        codec = Codec.fit_stored(stored, stage.dim, stage.precision)
        return codec.prepare(queries) @ codec.decode_stored(stored).T


class TestPgvector(EngineContract):
    @pytest.fixture
    def setup(self, server, request):
        return PgvectorSetup(server, request)
