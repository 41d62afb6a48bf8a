"""The engine contract on a Qdrant server, whose answers come from qdrant-client's local mode."""

import pytest
from qdrant_rest import serving

from engine_contract import EngineContract
from engine_setup import UrlSetup


class ServerSetup(UrlSetup):
    """The setup of a server."""

    name = "qdrant-server"

    def __init__(self, server):
        self.server = server

    def url(self, place):
        return f"{self.server.url}/{place.name.replace('-', '_')}"

    def create(self, place, model, point):
        engine = super().create(place, model, point)
        engine.build_codes()  # the vectors that the point searches
        return engine


class TestQdrantServer(EngineContract):
    @pytest.fixture
    def setup(self):
        with serving() as server:
            yield ServerSetup(server)
