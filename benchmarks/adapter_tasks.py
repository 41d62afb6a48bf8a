"""What adapters are measured on: real sets, and for each what is fitted on instead.

Fitted on are texts that are not measured: pairs of other texts, or the documents of train queries
and half of those that answer nothing. "docstrings, own" is the case of most people: fitted, without
labels, on the corpus that is searched, but for what answers a query.
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
MOST_PAIRS = 12_000


class Task(NamedTuple):
    """What is measured, and what is fitted on instead."""

    name: str
    corpus: Embeddings
    queries: Embeddings
    judged: RelevanceLabels
    sample: Sample


def make_task(encoder: Encoder, name: str, options: argparse.Namespace) -> Task:
    """Encode what is measured and what is fitted on."""
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
    """Take what answers train queries, and half of what answers nothing; none is measured."""
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
    asked = embed(encoder, list(train.queries), list(train.queries.values()), kind="query")
    return _sample(_documents(encoder, train, ids), asked, rows)


def _of_pairs(encoder: Encoder, file: Path) -> Sample:
    pairs = load_pairs([file])
    drawn = np.random.default_rng(0).permutation(len(pairs))[:MOST_PAIRS].tolist()
    texts: dict[str, int] = {}
    asked: dict[str, list[int]] = {}
    for pair in drawn:
        row = texts.setdefault(pairs.positives[pair], len(texts))
        asked.setdefault(pairs.anchors[pair], []).append(row)
    documents = embed(encoder, list(texts), list(texts), kind="document")
    queries = embed(encoder, list(asked), list(asked), kind="query")
    return _sample(documents, queries, list(asked.values()))


def _sample(
    documents: Embeddings, queries: Embeddings | None = None, rows: Sequence[list[int]] = ()
) -> Sample:
    unit = unit_vectors(documents)
    if queries is None:
        return Sample(unit, unit[:0])
    positives = tuple(np.array(each, dtype=np.int64) for each in rows)
    return Sample(unit, unit_vectors(queries), positives)
