"""The filters of the queries: which documents each query may return.

``engines.filters.where`` defines the syntax of a filter, and ``condition`` its meaning.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestvec.data.retrieval import RetrievalSet
from nestvec.engines.filters.columns import Column
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.fields import check_fields
from nestvec.engines.filters.masks import matching
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument
from nestvec.measure.texts import check_field, preview
from nestvec.metrics.relevance import RelevanceLabels
from nestvec.types import Document, Rows

FILTER_SLICE = "filter"
"""Name of the slices of the queries by the share of documents that match."""
UNFILTERED = "none"
_SHARES = ((0.1, "above 10 %"), (0.01, "1 to 10 %"), (0.0, "below 1 %"))
SELECTIVITIES = tuple(name for _, name in _SHARES)
"""Names of the slices of the queries with a filter, the largest share first."""
_logger = logging.getLogger(__name__)


class FilterGroup(NamedTuple):
    """The queries with the same filter.

    Attributes:
        where: The filter; None for queries without a filter.
        queries: Numbers of the queries, ascending.
        share: Number of documents that match, divided by the size of the corpus.
    """

    where: Condition | None
    queries: Rows
    share: float

    @property
    def selectivity(self) -> str:
        """The name of the slice of these queries."""
        if self.where is None:
            return UNFILTERED
        if self.share > _SHARES[0][0]:
            return _SHARES[0][1]
        return next(name for least, name in _SHARES[1:] if self.share >= least)


@dataclass(frozen=True)
class QueryFilters:
    """The filters of all queries, each of which matches at least one document.

    Attributes:
        groups: The queries by filter.
        columns: Metadata of the documents, by field, in the order of the rows.
        n_rows: Number of documents.
    """

    groups: tuple[FilterGroup, ...]
    columns: Mapping[str, Column]
    n_rows: int

    def rows(self, where: Condition) -> Rows:
        """Return the rows of the documents that match a filter, ascending."""
        return np.flatnonzero(matching(where, self.columns, self.n_rows))

    @cached_property
    def selectivity(self) -> NDArray[np.str_]:
        """The selectivity of each query, [n_queries]."""
        of_query = {
            number: group.selectivity for group in self.groups for number in group.queries.tolist()
        }
        return np.array([of_query[number] for number in range(len(of_query))], dtype=np.str_)

    def count_outside(self, labels: RelevanceLabels, doc_of_row: Rows) -> int:
        """Count the relevant documents that the filter of their query excludes.

        Args:
            labels: The relevance labels.
            doc_of_row: Number of the document of each row, [n_rows].
        """
        queries, docs = np.divmod(labels.keys, max(1, labels.n_docs))
        excluded = 0
        for group in self.groups:
            if group.where is not None:
                own = docs[np.isin(queries, group.queries)]
                excluded += int((~np.isin(own, doc_of_row[self.rows(group.where)])).sum())
        return excluded


def read_filters(data: RetrievalSet, field: str | None) -> tuple[RetrievalSet, QueryFilters | None]:
    """Parse the filters in a field of the queries, and find the documents that match.

    Args:
        data: The retrieval set.
        field: The field whose value is a filter; empty or missing for queries without a filter.
            None if the queries have no filters.

    Returns:
        The set without the queries whose filter matches no document, which are counted; and the
        filters of the other queries, or None.

    Raises:
        InvalidArgument: If no query has the field, a filter cannot be parsed, or
            ``check_fields`` refuses a filter, or no query remains.
    """
    if field is None:
        return data, None
    fields = {id_: data.query_fields.get(id_, {}) for id_ in data.queries}
    check_field("query", field, list(fields.values()))
    texts = {id_: str(values.get(field, "")).strip() for id_, values in fields.items()}
    documents = [data.corpus[id_] for id_ in sorted(data.corpus, reverse=True)]
    of_text, columns = _conditions(texts, documents)
    shares = {
        where: float(matching(where, columns, len(documents)).mean()) if where is not None else 1.0
        for where in of_text.values()
    }
    kept = [id_ for id_, text in texts.items() if shares[of_text[text]]]
    data = _without_empty(data, kept, texts)
    queries: dict[Condition | None, list[int]] = {}
    for number, id_ in enumerate(kept):
        queries.setdefault(of_text[texts[id_]], []).append(number)
    groups = (FilterGroup(where, np.array(own), shares[where]) for where, own in queries.items())
    return data, QueryFilters(tuple(groups), columns, len(documents))


def filter_slices(filters: QueryFilters | None) -> dict[str, NDArray[np.str_]]:
    """Return the selectivity of each query as a slice; empty without filters."""
    return {} if filters is None else {FILTER_SLICE: filters.selectivity}


def keep_queries(data: RetrievalSet, ids: Collection[str]) -> RetrievalSet:
    """Return a retrieval set with some of its queries."""
    return replace(
        data,
        queries={id_: data.queries[id_] for id_ in ids},
        qrels={id_: data.qrels[id_] for id_ in ids if id_ in data.qrels},
    )


def _without_empty(
    data: RetrievalSet, kept: Collection[str], texts: Mapping[str, str]
) -> RetrievalSet:
    """Leave out queries whose filter matches no document: no search returns anything for them."""
    remaining = {*kept}
    empty = dict.fromkeys(text for id_, text in texts.items() if id_ not in remaining)
    if not empty:
        return data
    example = next(iter(empty))
    if not kept:
        problem = f"No document matches the filter of any query, such as {preview(example)!r}."
        raise InvalidArgument(f"{problem} Check the values of the filters.")
    _logger.warning(
        "filters that match no document: %d, such as %r. Their queries are not measured.",
        *(len(empty), preview(example)),
    )
    left_out = len(data.queries) - len(kept)
    return replace(
        keep_queries(data, kept), counts={**data.counts, "queries_with_empty_filter": left_out}
    )


def _conditions(
    texts: Mapping[str, str], documents: Iterable[Document]
) -> tuple[dict[str, Condition | None], dict[str, Column]]:
    """Parse and check each distinct text, and read the columns of the fields.

    Args:
        texts: The text of the filter by query, "" without a filter.
        documents: The documents, in the order of the rows.
    """
    first: dict[str, str] = {}
    for id_, text in texts.items():
        first.setdefault(text, id_)
    parsed = {text: _parse(text, id_) for text, id_ in first.items()}
    conditions = {text: where for text, where in parsed.items() if where is not None}
    metadata = [document.metadata for document in documents]
    names = frozenset[str]().union(*(where.fields for where in conditions.values()))
    columns = {
        name: Column().extend(0, (values.get(name) for values in metadata)) for name in names
    }
    live = np.ones(len(metadata), dtype=np.bool_)
    kinds = {name: column.kinds(live) for name, column in columns.items()}

    def all_fields() -> Iterator[str]:
        yield from {name for values in metadata for name in values}

    for text, where in conditions.items():
        try:
            check_fields(where, kinds, all_fields)
        except InvalidArgument as error:
            raise _refused(text, first[text], error) from error
    return parsed, columns


def _parse(text: str, query_id: str) -> Condition | None:
    try:
        return Where.parse(text) if text else None
    except InvalidArgument as error:
        raise _refused(text, query_id, error) from error


def _refused(text: str, query_id: str, error: InvalidArgument) -> InvalidArgument:
    return InvalidArgument(f"query {query_id!r} has the filter {preview(text)!r}. {error}")
