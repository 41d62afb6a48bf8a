"""A retrieval set as lists, in the order of the arrays that stand for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import InvalidArgument
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.types import Document, Metadata, Rows

_SHOWN = 120  # characters of a text that are kept to be shown


@dataclass(frozen=True)
class Texts:
    """What is encoded, and what is found and judged: each document, or the whole that it is of.

    Attributes:
        row_ids: Documents by descending id, which is the order of ties.
        rows: Their texts, [n_rows].
        doc_ids: What is found: the documents, or what ``group_by`` names in their metadata, by
            descending id.
        doc_of_row: Position in ``doc_ids`` of each row.
        query_ids: Queries in the order of the set.
        queries: Their texts.
        qrels: Relevance labels of ``doc_ids``.
    """

    row_ids: list[str]
    rows: list[str]
    doc_ids: list[str]
    doc_of_row: Rows
    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, dict[str, float]]

    @classmethod
    def of(cls, data: RetrievalSet, *, group_by: str | None = None) -> Texts:
        """Sort the documents, and group them by a field.

        A document without the field stands for itself. Labels may name a document or a group;
        of several the highest grade counts.

        Raises:
            InvalidArgument: If no document has the field.
        """
        row_ids = sorted(data.corpus, reverse=True)
        parents = _parents(data.corpus, group_by)
        doc_ids = sorted(set(parents.values()), reverse=True)
        position = {id_: number for number, id_ in enumerate(doc_ids)}
        return cls(
            row_ids=row_ids,
            rows=[data.corpus[id_].content for id_ in row_ids],
            doc_ids=doc_ids,
            doc_of_row=np.array([position[parents[id_]] for id_ in row_ids], dtype=np.int64),
            query_ids=list(data.queries),
            queries=list(data.queries.values()),
            qrels={id_: _highest(data.qrels.get(id_, {}), parents) for id_ in data.queries},
        )

    def labels(self) -> RelevanceLabels:
        """Return what is relevant to each query."""
        return RelevanceLabels.from_qrels(self.qrels, self.query_ids, self.doc_ids)

    def part(self, queries: Rows, docs: NDArray[np.bool_]) -> TextSubset:
        """Return some queries against some documents.

        Args:
            queries: Positions of queries.
            docs: Whether each document is in the part, [n_docs].
        """
        rows = np.flatnonzero(docs[self.doc_of_row])
        inside = {id_ for id_, kept in zip(self.doc_ids, docs.tolist(), strict=True) if kept}
        query_ids = [self.query_ids[query] for query in queries.tolist()]
        qrels = {
            query_id: {id_: grade for id_, grade in self.qrels[query_id].items() if id_ in inside}
            for query_id in query_ids
        }
        labels = RelevanceLabels.from_qrels(qrels, query_ids, self.doc_ids)
        return TextSubset(rows, self.doc_of_row[rows], labels)

    def titles(self, data: RetrievalSet, docs: Iterable[int]) -> NDArray[np.str_]:
        """Return what to show of documents: the title, else how the text begins."""
        # The last of a document's rows has its lowest id: most often how a text begins.
        shown_row = dict(zip(self.doc_of_row.tolist(), self.row_ids, strict=True))
        documents = (data.corpus[shown_row[doc]] for doc in docs)
        return np.array([shown(each.title or each.text) for each in documents], dtype=np.str_)


class TextSubset(NamedTuple):
    """Some queries against some documents.

    Attributes:
        rows: The part's rows, ascending.
        doc_of_row: The document of each of them.
        labels: Those of the part's documents, for its queries.
    """

    rows: Rows
    doc_of_row: Rows
    labels: RelevanceLabels


def shown(text: str) -> str:
    """Cut a text to one short line."""
    return " ".join(text[: 4 * _SHOWN].split())[:_SHOWN]


def slices_of(data: RetrievalSet, fields: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Return the value of each query in each field, "" where it has none.

    Raises:
        InvalidArgument: If no query has a field.
    """
    known = [data.query_fields.get(id_, {}) for id_ in data.queries]
    for field in fields:
        _check_field("query", field, known)
    return {field: np.array([str(each.get(field, "")) for each in known]) for field in fields}


def _parents(corpus: Mapping[str, Document], field: str | None) -> dict[str, str]:
    if field is None:
        return {id_: id_ for id_ in corpus}
    _check_field("document", field, [document.metadata for document in corpus.values()])
    return {id_: str(document.metadata.get(field, id_)) for id_, document in corpus.items()}


def _check_field(what: str, field: str, known: Sequence[Metadata]) -> None:
    fields = sorted({name for each in known for name in each})
    if field not in fields:
        named = f"fields that exist: {', '.join(fields)}" if fields else "none has any field"
        raise InvalidArgument(f"no {what} has the field {field!r} ({named})")


def _highest(judged: Mapping[str, float], parents: Mapping[str, str]) -> dict[str, float]:
    grades: dict[str, float] = {}
    for id_, grade in judged.items():
        parent = parents.get(id_, id_)
        grades[parent] = max(grade, grades.get(parent, grade))
    return grades
