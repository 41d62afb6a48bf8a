"""Load documents into an index, and print the number of each batch when it is acknowledged.

    python loading.py URL FIRST LAST

Batches that the index already has are skipped, as a person's script does after a crash. The
documents and vectors of a batch are generated from its number.
"""

import sys

import numpy as np

from nestvec.engines.manifest import Manifest
from nestvec.engines.registry import engine_at
from nestvec.types import Document, ModelInfo, OperatingPoint

FULL_DIM, BATCH = 32, 50
MODEL = ModelInfo("models/ours", "f" * 64, FULL_DIM, (32, 16), "config.json", True)
POINT = OperatingPoint.parse("16:float16@50>32:float16")


def create(url):
    engine_at(url).create(url, Manifest(MODEL, "float16", POINT)).close()


def documents(batch):
    numbers = range(batch * BATCH, (batch + 1) * BATCH)
    return {f"d{n}": Document(f"text {n}", metadata={"batch": batch}) for n in numbers}


def vectors(batch):
    made = np.random.default_rng(batch).standard_normal((BATCH, FULL_DIM))
    return made.astype(np.float32)


def check(url, acknowledged):
    """Assert that every acknowledged batch is there once, and every other batch wholly or not."""
    engine = engine_at(url).open(url, verify=True)
    ids = list(engine.ids())
    assert len(ids) == len(set(ids)) == len(engine)
    found = {int(id_[1:]) // BATCH for id_ in ids}
    assert acknowledged <= found
    assert len(ids) == BATCH * len(found)
    for batch in sorted(found):
        batch_documents = documents(batch)
        assert engine.get(list(batch_documents)) == batch_documents
        hits = engine.search(vectors(batch), 1, exact=True)
        assert [best for (best,) in hits.ids] == list(batch_documents)
    engine.close()
    return found


def main(url, first, last):
    engine = engine_at(url).open(url)
    for batch in range(int(first), int(last)):
        if next(iter(documents(batch))) not in engine:
            engine.add(documents(batch), vectors(batch))
        sys.stdout.write(f"{batch}\n")
        sys.stdout.flush()
    engine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
