"""The engine contract on a real PostgreSQL server with pgvector."""

import pytest
from postgres import PostgresServer

from conftest import free_ports
from engine_contract import EngineContract
from engine_setup import UrlSetup


@pytest.fixture(scope="session")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


class PgvectorSetup(UrlSetup):
    """The setup of pgvector."""

    name = "pgvector"

    def __init__(self, server, request):
        self._server, self._test = server, abs(hash(request.node.nodeid))

    def url(self, place):
        return f"{self._server.url}?table=t{self._test}_{place.name.replace('-', '_')}"


class TestPgvector(EngineContract):
    @pytest.fixture
    def setup(self, server, request):
        return PgvectorSetup(server, request)
