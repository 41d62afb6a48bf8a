"""Reduce a retrieval set to a part of its documents."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import DataError


def restrict(data: RetrievalSet, ids: Container[str]) -> RetrievalSet:
    """Return a retrieval set with only some of its documents.

    Queries with labels that lose all relevant documents are removed, and counted as
    ``queries_without_sampled_relevant``.

    Args:
        data: The retrieval set.
        ids: The documents that remain.

    Raises:
        DataError: If no document remains, or no query with a relevant document.
    """
    corpus = {id_: document for id_, document in data.corpus.items() if id_ in ids}
    if len(corpus) == len(data.corpus):
        return data
    if not corpus:
        problem = "has no document whose id is in the sample"
        raise DataError(data.name, f"{problem}. Choose a larger sample, or check the ids.")
    if data.evidence == "agreement":
        return replace(data, corpus=corpus)
    graded = {
        query: {id_: grade for id_, grade in labels.items() if id_ in corpus}
        for query, labels in data.qrels.items()
    }
    qrels = {query: labels for query, labels in graded.items() if max(labels.values(), default=0)}
    if not qrels:
        problem = "has no query with a relevant document in the sample"
        raise DataError(data.name, f"{problem}. Choose a larger sample.")
    lost = {"queries_without_sampled_relevant": len(data.qrels) - len(qrels)}
    return replace(
        data,
        corpus=corpus,
        qrels=qrels,
        queries={id_: text for id_, text in data.queries.items() if id_ in qrels},
        query_fields={id_: each for id_, each in data.query_fields.items() if id_ in qrels},
        counts=data.counts | lost,
    )
