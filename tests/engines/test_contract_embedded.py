"""The embedded engine passes the engine contract, with every feature."""

from __future__ import annotations

import pytest

from engine_contract import EngineContract
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.manifest import Manifest
from nestvec.types import OperatingPoint


class EmbeddedSetup:
    """The setup of the embedded engine, whose codes are computed from the stored vectors."""

    name = "embedded"
    staged = OperatingPoint.parse("16:binary@40>32:float16")

    def create(self, place, model, point):
        return EmbeddedEngine.create(str(place), Manifest(model, "float32", point))

    def open(self, place):
        return EmbeddedEngine.open(str(place), verify=True)

    def settle(self, engine):
        engine.build_codes()

    def scores(self, queries, corpus, stage):
        # A codec is fitted to vectors in descending order of id.
        ids = [f"d{row}" for row in range(len(corpus))]
        rows = sorted(range(len(corpus)), key=ids.__getitem__, reverse=True)
        codec = Codec.fit_stored(as_stored(corpus[rows]), stage.dim, stage.precision)
        decoded = codec.decode(codec.encode_stored(as_stored(corpus)))
        return codec.prepare(queries) @ decoded.T


class TestEmbedded(EngineContract):
    @pytest.fixture
    def setup(self):
        return EmbeddedSetup()
