"""The setup of the contract for Qdrant Edge, and the documents of its other tests."""

import numpy as np

from engine_setup import MODEL, PLAIN, UrlSetup
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.types import Document, ModelInfo, OperatingPoint


class QdrantSetup(UrlSetup):
    """The setup of Qdrant Edge."""

    name = "qdrant"

    def url(self, place):
        return f"qdrant-edge://{place}"

    def create(self, place, model, point):
        engine = super().create(place, model, point)
        engine.build_codes()  # the vectors that the point searches
        return engine


N, DIM = 20_000, 64
HALF = OperatingPoint.parse("32:float16")
POINT = OperatingPoint.parse("16:float16@100>64:float32")
WIDE = ModelInfo("models/wide", "a" * 64, DIM, (DIM, 16), "config.json", True)


def create(folder, point=PLAIN, model=MODEL, stored="float32"):
    return QdrantEdgeEngine.create(f"qdrant-edge://{folder}", Manifest(model, stored, point))


def reopen(index, query=""):
    index.close()
    return QdrantEdgeEngine.open(index.place.partition("?")[0] + query)


def numbered(numbers):
    return {
        f"d{n}": Document(f"text {n}", metadata={"n": [n % 10, "x"], "tag": f"t{n % 100}"})
        for n in numbers
    }


def wide_vectors(n, seed):
    """Return vectors around 200 centers, whose first dims have the largest variance."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).standard_normal((200, DIM))
    near = centers[rng.integers(200, size=n)] + 0.6 * rng.standard_normal((n, DIM))
    return (near * (1 + np.arange(DIM)) ** -0.5).astype(np.float32)


def overlap(found, expected):
    pairs = zip(found.ids, expected.ids, strict=True)
    return np.mean([len({*one} & {*two}) / len(two) for one, two in pairs])
