"""20,000 clustered vectors of 64 dims with metadata, and their exact neighbors."""

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.manifest import Manifest
from nestvec.types import Document, ModelInfo, OperatingPoint

FULL_DIM, N, K = 64, 20_000, 10
MODEL = ModelInfo("models/any", "e" * 64, FULL_DIM, (64, 32, 16), "config.json", True)
POINT = OperatingPoint.parse("16:float16@100>64:float32")
SOURCE = {"corpus": "made"}


def made_vectors(n, seed):
    """Vectors near 1,000 centers, with less variance in later dims."""
    centers = np.random.default_rng(0).standard_normal((1_000, FULL_DIM))
    rng = np.random.default_rng(seed)
    near = centers[rng.integers(0, len(centers), n)] + 0.7 * rng.standard_normal((n, FULL_DIM))
    return (near * (1 + np.arange(FULL_DIM)) ** -0.55).astype(np.float32)


def made_document(number):
    return Document(
        f"text {number}", "", {"ten": number % 10, "hundred": number % 100, "n": number}
    )


IDS = [f"d{number:05}" for number in range(N)]
VECTORS, QUERIES = made_vectors(N, seed=1), made_vectors(30, seed=2)


def manifest(point=POINT, stored="float32"):
    return Manifest(MODEL, stored, point)


def load(engine, first=0, last=N, batch=2_000):
    """Add documents by their numbers."""
    for start in range(first, last, batch):
        numbers = range(start, min(start + batch, last))
        engine.add(
            {IDS[n]: made_document(n) for n in numbers}, VECTORS[numbers.start : numbers.stop]
        )


def expected_ids(queries, rows, point=POINT, k=K):
    """The ids that an exhaustive search by a point returns among some documents."""
    stored = as_stored(VECTORS[rows])
    found = []
    for query in queries:
        left = np.arange(len(rows))
        for stage in point.stages:
            codec = Codec.fit_stored(stored[left], stage.dim, stage.precision)
            scores = codec.decode_stored(stored[left]) @ codec.prepare(query[None])[0]
            left = left[np.argsort(-scores, kind="stable")[: stage.keep or k]]
        found.append([IDS[rows[row]] for row in left])
    return found


def overlap(expected, found):
    pairs = zip(expected, found, strict=True)
    return float(np.mean([len({*one} & {*two}) / max(1, len(one)) for one, two in pairs]))
