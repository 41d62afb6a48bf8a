"""Measure what subtracting the corpus mean before coding retains, if vectors share a direction.

Vectors of two models and three data sets, as they are and with a common direction added: a random
unit vector times a factor. This sets the mean cosine between documents, which is high for models
such as text-embedding-ada-002. Each precision is measured with and without the mean, by the
overlap of its top 10 with exact search, alone and after rescoring its best 100. The codes run in
the same code as ``evaluate``. pq4 fits centroids, so it needs no mean.

    python benchmarks/centering.py --data ../shared/data --cache /tmp/embeddings
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

import subjects
from nestvec.codec import codec
from nestvec.codec.prefix import normalize
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.agreement import overlap
from nestvec.types import Embeddings, OperatingPoint, Precision, Stage
from record import record

SETS, SHIFTS, K, KEEP, SEED = ("scifact", "squad-sent", "cosqa"), (0.0, 0.8, 1.6), 10, 100, 0
PRECISIONS: tuple[Precision, ...] = ("int4", "int2", "binary", "pq4")


def main() -> None:
    """Measure every precision on every set of vectors, and record the results."""
    parser = subjects.options(__doc__, queries=500)
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        models = subjects.models(Path(scratch), cache=options.cache)
        for name in SETS:
            data = subjects.retrieval_set(name, data=options.data, demo=options.demo)
            texts = [document.content for document in data.corpus.values()]
            for label, model in models.items():
                corpus = model.encode(texts, kind="document")
                asked = list(data.queries.values())[: options.queries]
                queries = model.encode(asked, kind="query")
                for row in _measure(normalize(corpus), normalize(queries)):
                    results.append({"set": name, "model": label, **row})
                    print(results[-1], flush=True)
    settings = {"k": K, "keep": KEEP, "seed": SEED, "max_queries": options.queries}
    print(record("centering", settings=settings, results=results))


def _measure(corpus: Embeddings, queries: Embeddings) -> Iterator[dict[str, object]]:
    full_dim = corpus.shape[1]
    direction = normalize(np.random.default_rng(SEED).standard_normal((1, full_dim)))
    full = OperatingPoint.single(full_dim, "float32")
    for shift in SHIFTS:
        shifted, asked = (
            normalize((each + shift * direction).astype(np.float32)) for each in (corpus, queries)
        )
        mean = shifted.mean(axis=0, dtype=np.float64)
        exact = rank([full], asked, Representations(shifted, layer_norm=False), depth=K)[full]
        for precision in PRECISIONS:
            plain = replace(QUANTIZERS[precision], mean_shrinkage=None)
            for centered in (False, True) if QUANTIZERS[precision] != plain else (False,):
                quantizer = QUANTIZERS[precision] if centered else plain
                with patch.dict(codec.QUANTIZERS, {precision: quantizer}):
                    for dim in (full_dim, full_dim // 4):
                        alone = OperatingPoint.single(dim, precision)
                        shortlist = Stage(dim, precision, KEEP)
                        rescored = OperatingPoint((shortlist, Stage(full_dim, "float32")))
                        whole = Representations(shifted, layer_norm=False)
                        found = rank([alone, rescored], asked, whole, depth=K)
                        yield {
                            "mean_cosine": round(float(mean @ mean), 3),
                            "precision": precision,
                            "centered": centered,
                            "dim": dim,
                            "alone": _overlap(found[alone].rows, exact.rows),
                            "rescored": _overlap(found[rescored].rows, exact.rows),
                        }


def _overlap(found: np.ndarray, exact: np.ndarray) -> float:
    return round(float(overlap(found, exact, K).mean()), 4)


if __name__ == "__main__":
    main()
