"""Compare FAISS's quantizers for each precision by retention, alone and rescored.

Three models on three data sets: the static Matryoshka model of ``nestvec demo`` on its docstrings,
all-MiniLM-L6-v2 (not a Matryoshka model) on SciFact, and WordLlama's Matryoshka table (256 dims) on
the sentences of SQuAD. The quantizers run in the same code as ``evaluate``.

    python benchmarks/quantizers.py --demo nestvec-demo --data ../shared/data
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import subjects
from nestvec.codec import codec
from nestvec.codec.quantizer import PRODUCT, QUANTIZERS, Quantizer
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.models.load import load_model
from nestvec.types import Encoder, OperatingPoint, Precision, Stage
from record import record

METRIC, KEEP = "ndcg@10", 100
CANDIDATES: dict[Precision, list[Quantizer]] = {
    "int8": [Quantizer("QT_8bit", 8, rotated, fitted_values=2) for rotated in (False, True)],
    "int4": [
        *(Quantizer("QT_4bit", 4, rotated, fitted_values=2) for rotated in (False, True)),
        *(Quantizer("QT_4bit_tqmse", 4, rotated) for rotated in (False, True)),
    ],
    "int2": [Quantizer("QT_2bit_tqmse", 2, rotated) for rotated in (False, True)],
    "pq4": [Quantizer(PRODUCT, 2, rotated, fitted_values=16) for rotated in (False, True)],
    "binary": [Quantizer("QT_1bit_tqmse", 1, rotated) for rotated in (False, True)],
}
_CENTERED: tuple[Precision, ...] = ("int4", "int2", "binary")
for _precision in _CENTERED:
    CANDIDATES[_precision].append(QUANTIZERS[_precision])  # these also subtract the mean


def main() -> None:
    """Measure every quantizer on every data set, and record the results."""
    options = subjects.options(__doc__, queries=2000).parse_args()
    results = []
    for name, model, data in _subjects(options.demo, options.data):
        for row in _measure(model, data, options.queries):
            results.append({"set": name, **row})
            print(results[-1], flush=True)
    settings = {"metric": METRIC, "keep": KEEP, "max_queries": options.queries}
    print(record("quantizers", settings=settings, results=results))


def _subjects(demo: Path, data: Path) -> Iterator[tuple[str, Encoder, RetrievalSet]]:
    docstrings, scifact, squad = (
        subjects.retrieval_set(name, data=data, demo=demo)
        for name in ("docstrings", "scifact", "squad-sent")
    )
    yield "docstrings, static Matryoshka 512", load_model(demo / "model"), docstrings
    yield "SciFact, all-MiniLM-L6-v2 384", load_model(subjects.minilm_folder()), scifact
    with tempfile.TemporaryDirectory() as scratch:
        words = subjects.wordllama(Path(scratch) / "wordllama")
        yield "SQuAD sentences, WordLlama 256", words, squad


def _measure(model: Encoder, data: RetrievalSet, max_queries: int) -> Iterator[dict[str, object]]:
    document_ids, query_ids = sorted(data.corpus, reverse=True), list(data.queries)[:max_queries]
    corpus = model.encode([data.corpus[i].content for i in document_ids], kind="document")
    queries = model.encode([data.queries[i] for i in query_ids], kind="query")
    labels = RelevanceLabels.from_qrels(data.qrels, query_ids, document_ids)
    full_dim = model.info.full_dim
    full = OperatingPoint.single(full_dim, "float32")

    def mean_scores(points: list[OperatingPoint]) -> list[float]:
        ranked = rank(points, queries, Representations(corpus, layer_norm=False), depth=10)
        grades = [labels.grades(ranked[point].rows) for point in points]
        return [float(score(METRIC, each, labels).mean()) for each in grades]

    (reference,) = mean_scores([full])
    for precision, candidates in CANDIDATES.items():
        for quantizer in candidates:
            for dim in (full_dim, full_dim // 4):
                alone = OperatingPoint.single(dim, precision)
                shortlist = Stage(dim, precision, KEEP)
                rescored = OperatingPoint((shortlist, Stage(full_dim, "float32")))
                with patch.dict(codec.QUANTIZERS, {precision: quantizer}):
                    kept = [each / reference for each in mean_scores([alone, rescored])]
                yield {
                    "precision": precision,
                    "quantizer": quantizer.faiss_name,
                    "rotated": quantizer.rotated,
                    "centered": quantizer.mean_shrinkage is not None,
                    "dim": dim,
                    "alone": round(kept[0], 4),
                    "rescored": round(kept[1], 4),
                }


if __name__ == "__main__":
    main()
