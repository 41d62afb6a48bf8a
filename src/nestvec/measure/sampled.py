"""What is measured of stored vectors: a sample of the documents, and documents as queries."""

from __future__ import annotations

from typing import NamedTuple

from nestvec.curve.sample import SAMPLED_DOCUMENTS, DocumentSample
from nestvec.data.corpus import without_texts
from nestvec.data.parts import restrict
from nestvec.data.query_log import hash_of
from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import DataError, InvalidArgument
from nestvec.models.paired import PairedEncoder
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.types import Encoder

SAMPLED_QUERIES = 1_000
"""Most documents that become queries."""
_STORED_QUERIES = "stored queries"
_PARTS = 4  # at most this part of the documents becomes queries
_LEAST = 8  # documents


class Measured(NamedTuple):
    """A model, the data that it is measured on, and the sample of the documents, if any."""

    model: Encoder
    data: RetrievalSet
    sample: DocumentSample | None


def measured(model: Encoder, data: RetrievalSet | None, *, seed: int = 0) -> Measured:
    """Return what is measured: the sampled documents of stored vectors, and the queries.

    Without a data set, the stored queries are searched. If there are none, some documents become
    queries and are not searched; the evidence is agreement.

    Args:
        model: The model, or stored vectors.
        data: The data set; None to use only stored vectors.
        seed: Seed for the choice of the documents that become queries.

    Raises:
        InvalidArgument: If there is no data set and the model is not only stored vectors.
        DataError: If there are too few documents, or none of the data set is in the sample.
    """
    if data is None:
        return _without_data(model, seed)
    documents = stored_documents(model)
    sample = None if documents is None else documents.sample
    if documents is None or sample is None:
        return Measured(model, data, None)
    found = restrict(data, documents.rows("document"))
    if len(found.corpus) < len(data.corpus) or data.has_texts:
        sample = DocumentSample(len(found.corpus), len(data.corpus), sample.seed)
    return Measured(model, found, sample)


def stored_documents(model: Encoder) -> PrecomputedVectors | None:
    """Return the stored vectors of documents; None if a model encodes documents."""
    documents = model.by_kind["document"] if isinstance(model, PairedEncoder) else model
    return documents if isinstance(documents, PrecomputedVectors) else None


def _without_data(model: Encoder, seed: int) -> Measured:
    if not isinstance(model, PrecomputedVectors) or not model.ids("document"):
        problem = f"{model.info.name} cannot be measured without a data set."
        remedy = "Pass a data set (DATASET), or omit the query model and pass stored vectors."
        raise InvalidArgument(f"{problem} {remedy}")
    ids, queries, split = model.ids("document"), model.ids("query"), _STORED_QUERIES
    if not queries:
        split = SAMPLED_DOCUMENTS
        queries = _drawn(ids, seed, model.info.name)
        ids = sorted(set(ids).difference(queries))
        model = model.with_documents_as_queries()
    data = RetrievalSet(
        name=model.info.name,
        split=split,
        corpus=without_texts(ids),
        queries={id_: f"document {id_}" for id_ in queries},
        qrels={},
        counts={},
        evidence="agreement",
        has_texts=False,
    )
    return Measured(model, data, model.sample)


def _drawn(ids: list[str], seed: int, name: str) -> list[str]:
    """Return the ids of the documents that become queries, in their order.

    They have the smallest hashes of another kind than those of a sample, because the sample itself
    consists of small hashes.
    """
    if len(ids) < _LEAST:
        problem = f"contains {len(ids)} documents, too few to use some of them as queries"
        raise DataError(name, f"{problem}. Pass queries (--queries).")
    size = min(SAMPLED_QUERIES, len(ids) // _PARTS)
    return sorted(sorted(ids, key=lambda id_: hash_of(f"query:{id_}", seed))[:size])
