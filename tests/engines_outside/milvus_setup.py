"""The setup of the engine contract for Milvus, and vectors whose prefixes matter."""

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.types import ModelInfo, OperatingPoint

FULL_DIM = 64
WIDE = ModelInfo("models/wide", "f" * 64, FULL_DIM, (64, 32, 16), "config.json", True)
FUNNEL = OperatingPoint.parse("32:float16@100>64:float32")


def decaying(n, seed):
    """Return vectors [n, 64] whose first dims have most of the variance, as models train them."""
    scale = (1 + np.arange(FULL_DIM)) ** -0.55
    return (np.random.default_rng(seed).standard_normal((n, FULL_DIM)) * scale).astype(np.float32)


def overlap(found, expected):
    pairs = zip(found, expected, strict=True)
    return np.mean([len({*one} & {*two}) / len(two) for one, two in pairs])


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
