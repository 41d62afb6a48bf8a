"""The setup of the engine contract for Milvus, and vectors whose prefixes matter."""

import numpy as np

from engine_setup import UrlSetup
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


class MilvusSetup(UrlSetup):
    """The setup of Milvus."""

    name = "milvus"

    def __init__(self, base, test):
        self._base, self.beginning = base, f"t{abs(hash(test)) % 10**12}_"

    def url(self, place):
        return f"{self._base}?collection={self.beginning}{place.name.replace('-', '_')}"
