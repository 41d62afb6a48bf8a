"""A retrieval set as lists, in the order of its arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nestvec.data.retrieval import RetrievalSet
from nestvec.errors import InvalidArgument
from nestvec.measure.documents import DocumentRows
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.types import Document, Metadata, Rows

_PREVIEW = 120  # characters


@dataclass(frozen=True)
class Texts:
    """A retrieval set as lists: rows to encode, documents to rank, queries, and labels.

    A row is a document of the data set. With ``group_by``, rows are chunks, and several rows form
    one document.

    Attributes:
        row_ids: Ids of the rows, in descending order, which is the order of ties.
        rows: Texts of the rows, [n_rows].
        doc_ids: Ids of the ranked documents, in descending order: the rows, or the groups.
        documents: Position in ``doc_ids`` of each row, and the row that each query ignores.
        n_self_matches: Number of queries that are documents of the corpus.
        query_ids: Ids of the queries, in the order of the data set.
        queries: Texts of the queries.
        qrels: Relevance labels of ``doc_ids``, by query.
    """

    row_ids: list[str]
    rows: list[str]
    doc_ids: list[str]
    documents: DocumentRows
    n_self_matches: int
    query_ids: list[str]
    queries: list[str]
    qrels: dict[str, dict[str, float]]

    @classmethod
    def of(
        cls, data: RetrievalSet, *, group_by: str | None = None, keep_self: bool = False
    ) -> Texts:
        """Sort the documents, and group them by a metadata field.

        A document without the field is its own group. Relevance labels may refer to documents or
        groups; a group has the highest grade of its labels.

        In some data sets, queries are documents of the corpus: the id and the text are equal. A
        query ignores its own document, unless the labels grade this document as relevant, or
        ``keep_self`` is set.

        Raises:
            InvalidArgument: If no document has the field.
        """
        row_ids = sorted(data.corpus, reverse=True)
        parents = _parents(data.corpus, group_by)
        doc_ids, doc_of_row = row_ids, np.arange(len(row_ids))
        if group_by is not None:
            doc_ids = sorted(set(parents.values()), reverse=True)
            position = {id_: number for number, id_ in enumerate(doc_ids)}
            doc_of_row = np.array([position[parents[id_]] for id_ in row_ids], dtype=np.int64)
        own_row = _own_rows(data, row_ids)
        n_self_matches = int((own_row >= 0).sum())
        if keep_self:
            own_row.fill(-1)
        return cls(
            row_ids=row_ids,
            rows=[data.corpus[id_].content for id_ in row_ids],
            doc_ids=doc_ids,
            documents=DocumentRows(doc_of_row, own_row),
            n_self_matches=n_self_matches,
            query_ids=list(data.queries),
            queries=list(data.queries.values()),
            qrels={id_: _highest(data.qrels.get(id_, {}), parents) for id_ in data.queries},
        )

    def labels(self) -> RelevanceLabels:
        """Return the relevance labels of each query."""
        return RelevanceLabels.from_qrels(self.qrels, self.query_ids, self.doc_ids)

    def titles(self, data: RetrievalSet, docs: Iterable[int]) -> NDArray[np.str_]:
        """Return the title of each document, or the beginning of its text."""
        # The last row of a document has the lowest id and most often contains the beginning.
        last_row = np.zeros(len(self.doc_ids), dtype=np.int64)
        last_row[self.documents.doc_of_row] = np.arange(len(self.row_ids))
        documents = (data.corpus[self.row_ids[last_row[doc]]] for doc in docs)
        return np.array([preview(each.title or each.text) for each in documents], dtype=np.str_)


def preview(text: str) -> str:
    """Shorten a text to one line."""
    return " ".join(text[: 4 * _PREVIEW].split())[:_PREVIEW]


def slices_of(data: RetrievalSet, fields: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Return the value of each query in each field; "" if a query does not have the field.

    Raises:
        InvalidArgument: If no query has a field, or a field contains lists.
    """
    known = [data.query_fields.get(id_, {}) for id_ in data.queries]
    for field in fields:
        check_field("query", field, known)
    return {field: np.array([str(each.get(field, "")) for each in known]) for field in fields}


def _own_rows(data: RetrievalSet, row_ids: Sequence[str]) -> Rows:
    """Return the row of each query that is itself a document, [n_queries]; -1 for the others."""
    row_of = {id_: row for row, id_ in enumerate(row_ids) if id_ in data.queries}
    return np.array(
        [
            row_of[id_] if id_ in row_of and _is_own(data, id_, query) else -1
            for id_, query in data.queries.items()
        ],
        dtype=np.int64,
    )


def _is_own(data: RetrievalSet, id_: str, query: str) -> bool:
    document = data.corpus[id_]
    texts = (document.text.strip(), document.content.strip())
    return query.strip() in texts and data.qrels.get(id_, {}).get(id_, 0) <= 0


def _parents(corpus: Mapping[str, Document], field: str | None) -> dict[str, str]:
    """Return the document of each row that has a group; other rows are their own documents."""
    if field is None:
        return {}
    check_field("document", field, [document.metadata for document in corpus.values()])
    return {id_: str(document.metadata.get(field, id_)) for id_, document in corpus.items()}


def check_field(what: str, field: str, known: Sequence[Metadata]) -> None:
    """Check that at least one query or document has a field, and that no value is a list.

    Args:
        what: "query" or "document".
        field: The name of the field.
        known: The fields of each query or document.

    Raises:
        InvalidArgument: If none has the field, or a value is a list.
    """
    fields = sorted({name for each in known for name in each})
    if field not in fields:
        known_fields = f"Fields: {', '.join(fields)}." if fields else "There are no fields."
        raise InvalidArgument(f"No {what} has the field {field!r}. {known_fields}")
    if any(isinstance(each.get(field), list) for each in known):
        problem = f"The field {field!r} of a {what} contains a list."
        raise InvalidArgument(f"{problem} Choose a field with one value for each {what}.")


def _highest(labels: Mapping[str, float], parents: Mapping[str, str]) -> dict[str, float]:
    grades: dict[str, float] = {}
    for id_, grade in labels.items():
        parent = parents.get(id_, id_)
        grades[parent] = max(grade, grades.get(parent, grade))
    return grades
