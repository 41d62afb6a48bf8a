"""The engine contract on Qdrant Edge, and the behavior of its folders, its index and its locks."""

import pytest

from engine_contract import EngineContract
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.types import OperatingPoint


class QdrantSetup:
    """The setup of Qdrant Edge, whose scores are those of the codecs that fit nothing."""

    name = "qdrant-edge"
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def create(self, place, model, point):
        engine = QdrantEdgeEngine.create(
            f"qdrant-edge://{place}", Manifest(model, "float32", point)
        )
        engine.build_codes()  # the vectors that the point searches
        return engine

    def open(self, place):
        return QdrantEdgeEngine.open(f"qdrant-edge://{place}", verify=True)

    def settle(self, engine):
        engine.build_codes()

    def scores(self, queries, corpus, stage):
        stored = as_stored(corpus)
        codec = Codec.fit_stored(stored, stage.dim, stage.precision)
        return codec.prepare(queries) @ codec.decode_stored(stored).T


class TestQdrantEdge(EngineContract):
    @pytest.fixture
    def setup(self):
        return QdrantSetup()
