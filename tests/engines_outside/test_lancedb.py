"""The engine contract on LanceDB in a local folder, and what a folder of tables can do wrong."""

import pytest

from engine_contract import EngineContract
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.lancedb.engine import LanceEngine
from nestvec.engines.manifest import Manifest
from nestvec.types import OperatingPoint


class LanceSetup:
    """The setup of LanceDB, whose scores are those of the codecs that fit nothing."""

    name = "lancedb"
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def create(self, place, model, point):
        return LanceEngine.create(f"lance://{place}", Manifest(model, "float32", point))

    def open(self, place):
        return LanceEngine.open(f"lance://{place}", verify=True)

    def settle(self, engine):
        engine.build_codes()

    def scores(self, queries, corpus, stage):
        stored = as_stored(corpus)
        codec = Codec.fit_stored(stored, stage.dim, stage.precision)
        return codec.prepare(queries) @ codec.decode_stored(stored).T


class TestLanceDB(EngineContract):
    @pytest.fixture
    def setup(self):
        return LanceSetup()
