"""The data sets on which adapters are measured, with the data to which they are fitted.

Adapters are fitted to texts that are not measured: pairs of other texts, or the documents relevant
to training queries and half of the documents relevant to no query. "docstrings, own" is the most
common use: the adapter is fitted without labels to the searched corpus, except the documents
relevant to a query.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import subjects
from nestvec.adapt.sample import Sample, unit_vectors
from nestvec.data.retrieval import RetrievalSet
from nestvec.data.training import load_pairs
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.models.encoding import embed
from nestvec.types import Embeddings, Encoder

TRAIN_SIDE, UNANSWERING = "train side", "what answers nothing"
SETS = {
    "scifact": TRAIN_SIDE,
    "squad-sent": "squad-sent",
    "cosqa": "code-docstring-py",
    "ms-support": "ms-support",
    "docstrings": TRAIN_SIDE,
    "docstrings, own": UNANSWERING,
}
MAX_PAIRS = 12_000


class Task(NamedTuple):
    """A data set to measure, and the sample to which adapters are fitted."""

    name: str
    corpus: Embeddings
    queries: Embeddings
    judged: RelevanceLabels
    sample: Sample


def make_task(encoder: Encoder, name: str, options: argparse.Namespace) -> Task:
    """Encode a data set and its sample for fitting."""
    folder, _, _ = name.partition(",")
    data = subjects.retrieval_set(folder, data=options.data, demo=options.demo)
    drawn = np.random.default_rng(0).permutation(list(data.queries))[: options.queries].tolist()
    answers = {id_ for query in drawn for id_, grade in data.qrels[query].items() if grade > 0}
    taken: set[str] = set()
    if SETS[name] == TRAIN_SIDE:
        train = subjects.retrieval_set(folder, data=options.data, demo=options.demo, split="train")
        taken = _train_ids(train, answers)
        sample = _labeled(encoder, train, taken)
    elif SETS[name] == UNANSWERING:
        sample = _sample(_documents(encoder, data, sorted(set(data.corpus) - answers)))
    else:
        sample = _of_pairs(encoder, options.data / "pairs" / f"{SETS[name]}.jsonl.gz")
    ids = sorted((id_ for id_ in data.corpus if id_ not in taken), reverse=True)
    return Task(
        name,
        _documents(encoder, data, ids),
        embed(encoder, drawn, [data.queries[id_] for id_ in drawn], kind="query"),
        RelevanceLabels.from_qrels(data.qrels, drawn, ids),
        sample,
    )


def _documents(encoder: Encoder, data: RetrievalSet, ids: Sequence[str]) -> Embeddings:
    return embed(encoder, ids, [data.corpus[id_].content for id_ in ids], kind="document")


def _train_ids(train: RetrievalSet, answers: set[str]) -> set[str]:
    """Return the documents for fitting, which are not measured.

    These are the documents relevant to training queries, and half of those relevant to no query.
    """
    of_train = {
        id_ for judged in train.qrels.values() for id_, grade in judged.items() if grade > 0
    }
    others = sorted(set(train.corpus) - answers - of_train)
    half = np.random.default_rng(1).permutation(others)[: len(others) // 2].tolist()
    return (of_train - answers) | set(half)


def _labeled(encoder: Encoder, train: RetrievalSet, taken: set[str]) -> Sample:
    ids = sorted(taken)
    row_of = {id_: row for row, id_ in enumerate(ids)}
    rows = [
        [row_of[id_] for id_, grade in train.qrels[query].items() if grade > 0 and id_ in row_of]
        for query in train.queries
    ]
    queries = embed(encoder, list(train.queries), list(train.queries.values()), kind="query")
    return _sample(_documents(encoder, train, ids), queries, rows)


def _of_pairs(encoder: Encoder, file: Path) -> Sample:
    pairs = load_pairs([file])
    drawn = np.random.default_rng(0).permutation(len(pairs))[:MAX_PAIRS].tolist()
    texts: dict[str, int] = {}
    rows_of: dict[str, list[int]] = {}
    for pair in drawn:
        row = texts.setdefault(pairs.positives[pair], len(texts))
        rows_of.setdefault(pairs.anchors[pair], []).append(row)
    documents = embed(encoder, list(texts), list(texts), kind="document")
    queries = embed(encoder, list(rows_of), list(rows_of), kind="query")
    return _sample(documents, queries, list(rows_of.values()))


def _sample(
    documents: Embeddings, queries: Embeddings | None = None, rows: Sequence[list[int]] = ()
) -> Sample:
    unit = unit_vectors(documents)
    if queries is None:
        return Sample(unit, unit[:0])
    positives = tuple(np.array(each, dtype=np.int64) for each in rows)
    return Sample(unit, unit_vectors(queries), positives)
