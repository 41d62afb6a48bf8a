"""The setup of the contract for a Qdrant server, and functions for its other tests."""

from engine_setup import MODEL, PLAIN, UrlSetup
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant_server.engine import QdrantServerEngine


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


def create(server, point=PLAIN, model=MODEL, stored="float32", query=""):
    """Create an index named ``docs``."""
    return QdrantServerEngine.create(f"{server.url}/docs{query}", Manifest(model, stored, point))


def names(server):
    """Return the names of all collections and aliases."""
    collections = {each.name for each in server.local.get_collections().collections}
    return collections | {each.alias_name for each in server.local.get_aliases().aliases}
