"""Measure the retention of each precision at equal bytes, next to Sentence Transformers.

Two models and four data sets, from 8 to 384 bytes per vector, alone and with the best 100 rescored
at full float32. Sentence Transformers' quantized search has the same vectors, truncated and
normalized. It uses its scalar and binary codes, its default number of candidates for rescoring
(2 k), and ranges fitted to the corpus.

    pip install usearch
    python benchmarks/bytes.py --demo nestvec-demo --data ../shared/data --cache /tmp/embeddings
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import subjects
from nestvec.codec.prefix import prefix
from nestvec.codec.quantizer import QUANTIZERS
from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.flat.representations import Representations
from nestvec.measure.exhaustive import rank
from nestvec.metrics.relevance import RelevanceLabels, score
from nestvec.types import Embeddings, Encoder, OperatingPoint, Precision, Rows, Stage
from record import record

METRIC, KEEP, DEPTH = "ndcg@10", 100, 10
SIZES = (8, 16, 32, 48, 64, 96, 192, 384)
PRECISIONS: tuple[Precision, ...] = ("int8", "int4", "pq4", "int2", "binary")
# Name, library of the search, precision, bits per dim.
RIVALS = (
    ("Sentence Transformers int8", "usearch", "int8", 8),
    ("Sentence Transformers uint8", "faiss", "uint8", 8),
    ("Sentence Transformers binary", "faiss", "ubinary", 1),
)


@dataclass(frozen=True)
class Subject:
    """The vectors of a model on a data set, and the relevance labels."""

    queries: Embeddings
    corpus: Embeddings
    labels: RelevanceLabels

    @property
    def full_dim(self) -> int:
        """Width of the vectors."""
        return self.corpus.shape[1]

    def mean(self, ranked: Rows) -> float:
        """Return the mean score of a ranking."""
        grades = self.labels.grades(ranked)
        return float(score(METRIC, grades, self.labels).mean())


def main() -> None:
    """Measure every model on every set, and record the results."""
    parser = subjects.options(__doc__, queries=2000)
    parser.add_argument("--cache", type=Path, help="Folder of the embedding cache.")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        models = subjects.models(Path(scratch), cache=options.cache)
        for set_name in subjects.SETS:
            data = subjects.retrieval_set(set_name, data=options.data, demo=options.demo)
            for model_name, model in models.items():
                for row in _measure(_subject(model, data, options.queries)):
                    results.append({"model": model_name, "set": set_name, **row})
                    print(results[-1], flush=True)
    settings = {"metric": METRIC, "keep": KEEP, "sizes": SIZES, "max_queries": options.queries}
    print(record("bytes", settings=settings, results=results))


def _subject(model: Encoder, data: RetrievalSet, max_queries: int) -> Subject:
    document_ids, query_ids = sorted(data.corpus, reverse=True), list(data.queries)[:max_queries]
    return Subject(
        queries=model.encode([data.queries[i] for i in query_ids], kind="query"),
        corpus=model.encode([data.corpus[i].content for i in document_ids], kind="document"),
        labels=RelevanceLabels.from_qrels(data.qrels, query_ids, document_ids),
    )


def _measure(subject: Subject) -> Iterator[dict[str, object]]:
    full = OperatingPoint.single(subject.full_dim, "float32")
    pairs = {key: _points(*key, full) for key in _affordable(subject.full_dim)}
    points = [full, *(point for pair in pairs.values() for point in pair)]
    corpus = Representations(subject.corpus, layer_norm=False)
    ranked = rank(points, subject.queries, corpus, depth=DEPTH)
    reference = subject.mean(ranked[full].rows)
    for (dim, precision), (alone, rescored) in pairs.items():
        yield {
            "how": precision,
            "bytes": dim * QUANTIZERS[precision].bits // 8,
            "dim": dim,
            "alone": round(subject.mean(ranked[alone].rows) / reference, 4),
            "rescored": round(subject.mean(ranked[rescored].rows) / reference, 4),
        }
    yield from _rivals(subject, reference)


def _affordable(full_dim: int) -> list[tuple[int, Precision]]:
    """Return each (dim, precision) that has one of the sizes and fits the model's width."""
    keys = [(size * 8 // QUANTIZERS[each].bits, each) for each in PRECISIONS for size in SIZES]
    return [(dim, precision) for dim, precision in keys if dim <= full_dim]


def _points(
    dim: int, precision: Precision, full: OperatingPoint
) -> tuple[OperatingPoint, OperatingPoint]:
    rescored = OperatingPoint((Stage(dim, precision, KEEP), *full.stages))
    return OperatingPoint.single(dim, precision), rescored


def _rivals(subject: Subject, reference: float) -> Iterator[dict[str, object]]:
    for name, library, code, bits in RIVALS:
        for size in SIZES:
            dim = size * 8 // bits
            if dim > subject.full_dim:
                continue
            queries, corpus = (prefix(each, dim) for each in (subject.queries, subject.corpus))
            kept = [
                subject.mean(_rival(queries, corpus, library, code, rescore=rescore)) / reference
                for rescore in (False, True)
            ]
            yield {
                "how": name,
                "bytes": size,
                "dim": dim,
                "alone": round(kept[0], 4),
                "rescored": round(kept[1], 4),
            }


def _rival(
    queries: Embeddings, corpus: Embeddings, library: str, code: str, *, rescore: bool
) -> Rows:
    from sentence_transformers.util import quantization

    search = getattr(quantization, f"semantic_search_{library}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = quantization.quantize_embeddings(corpus, precision=code)
        found, *_ = search(
            query_embeddings=queries,
            corpus_embeddings=codes,
            corpus_precision=code,
            calibration_embeddings=corpus,
            top_k=DEPTH,
            rescore=rescore,
            exact=True,
        )
    return _as_rows(found)


def _as_rows(found: Sequence[Sequence[dict[str, float]]]) -> NDArray[np.int64]:
    rows = np.full((len(found), DEPTH), -1, dtype=np.int64)
    for line, hits in zip(rows, found, strict=True):
        line[: len(hits)] = [hit["corpus_id"] for hit in hits]
    return rows


if __name__ == "__main__":
    main()
