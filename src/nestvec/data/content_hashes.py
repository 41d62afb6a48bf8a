"""Hashes of a retrieval set by its content, whatever the format and the order of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from nestvec.data.retrieval import RetrievalSet


def content_hashes(data: RetrievalSet) -> dict[str, str]:
    """Return the sha256 of the corpus, of the queries and of the relevance labels.

    Each hash is of the sorted rows, so it does not depend on the order or the format of files. Rows
    contain ids, titles, texts, metadata, fields of queries, and grades. As in a measurement, only
    queries of the split are counted. Documents without texts are hashed by their ids.

    Args:
        data: The retrieval set.

    Returns:
        The hashes in hexadecimal, by "corpus", "queries" and "qrels".
    """
    documents = (
        [id_, document.title, document.text, dict(document.metadata)]
        for id_, document in sorted(data.corpus.items())
    )
    queries = (
        [id_, text, dict(data.query_fields.get(id_, {}))]
        for id_, text in sorted(data.queries.items())
    )
    qrels = ([id_, dict(grades)] for id_, grades in sorted(data.qrels.items()))
    return {"corpus": _sha256(documents), "queries": _sha256(queries), "qrels": _sha256(qrels)}


def _sha256(rows: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=repr).encode() + b"\n")
    return digest.hexdigest()
