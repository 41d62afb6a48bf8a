"""The search of a table: candidates of the first stage, scored by the codecs.

The first stage searches prefixes, or the documents themselves if it uses the full width. Milvus
proposes candidates, whose stored vectors ``rescoring`` scores by all stages. If a search in an
index returns fewer candidates than match, the matching documents are scored one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nestvec.codec.prefix import prefix
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus.collections import EMBEDDING, ID, StaleTable
from nestvec.engines.milvus.connection import Connection, MissingCollection
from nestvec.engines.milvus.documents import Rows, block_size
from nestvec.engines.milvus.prefixes import PrefixCollections
from nestvec.engines.milvus.rows import id_of
from nestvec.engines.milvus.searching import Found, Request, check_wanted, nearest
from nestvec.engines.rescoring import Shortlist, rescore
from nestvec.types import Embeddings, Hits, OperatingPoint, Stage

EF_SEARCH = 64
"""The width of a search whose index has no fitted width."""
FILTERED = 8
"""A filtered search is wider by this factor: most of the documents that it visits do not match."""


class CandidateSearch:
    """The search of one table by a manifest.

    Attributes:
        collection: The collection that first stages search; None for the one of the point.
        ef_search: The width of the search in an index; None for the fitted one.
    """

    def __init__(
        self, connection: Connection, prefixes: PrefixCollections, table: str, manifest: Manifest
    ) -> None:
        """Name the collection of documents, and their prefixes."""
        self._connection, self._prefixes = connection, prefixes
        self._table, self._manifest = table, manifest
        self._stored = Rows(connection, table)
        self.collection: str | None = None
        self.ef_search: int | None = None

    def sample(self, n: int) -> Embeddings:
        """Return up to ``n`` stored vectors."""
        step = block_size(4 * self._manifest.model.full_dim)
        rows = self._stored.some([EMBEDDING], step)
        chosen = rows[:: max(1, len(rows) // n)][:n]
        return np.asarray([row[EMBEDDING] for row in chosen], dtype=np.float32)

    def run(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, expression: str
    ) -> Hits:
        """Return the best ``k`` documents of each query.

        Args:
            queries: [n_queries, full_dim], of unit length or zero.
            k: At least 1.
            point: The operating point; None to score every document by its stored vector.
            expression: The filter; "" for all documents.

        Raises:
            InvalidArgument: If the table has no prefixes for the point, or k is above the limit.
            StaleTable: If the table or its prefixes no longer exist.
        """
        full = Stage(self._manifest.model.full_dim, self._manifest.stored)
        stages = (full,) if point is None else point.stages
        wanted = stages[0].keep or k
        check_wanted(wanted)
        try:
            if self._uses_documents(point, stages[0]):
                found = self._documents(queries, wanted, expression)
            else:
                found = self._shortlists(queries, wanted, stages[0].dim, expression)
            found = self._completed(found, queries, wanted, stages[0], expression)
        except MissingCollection:
            raise StaleTable(stages[0].dim, self._connection.shown) from None
        return rescore(queries, found, stages, k)

    def _uses_documents(self, point: OperatingPoint | None, first: Stage) -> bool:
        if self.collection is not None or first.dim < self._manifest.model.full_dim:
            return False
        indexed = "index" in self._manifest.settings and point == self._manifest.point
        return point is None or not indexed

    def _documents(self, queries: Embeddings, wanted: int, expression: str) -> list[Shortlist]:
        request = Request(self._table, expression, EF_SEARCH, vectors=True)
        return [_candidates(each) for each in nearest(self._connection, request, queries, wanted)]

    def _shortlists(
        self, queries: Embeddings, wanted: int, dim: int, expression: str
    ) -> list[Shortlist]:
        """Search prefixes, and read the stored vectors of the candidates."""
        name = self.collection or self._prefixes.complete(dim)
        if name is None:
            raise StaleTable(dim, self._connection.shown)
        fitted = self.ef_search or int(self._manifest.settings.get("ef_search", EF_SEARCH))
        width = fitted * FILTERED if expression else fitted
        request = Request(name, expression, width, vectors=False)
        found = nearest(self._connection, request, prefix(queries, dim), wanted)
        keys = list(dict.fromkeys(key for each in found for key in each.keys))
        stored = Rows(self._connection, self._table, self._connection.location.level)
        step = block_size(4 * queries.shape[1])
        rows = stored.of_keys(keys, [EMBEDDING], expression=expression, block=step)
        vectors = {row[ID]: np.asarray(row[EMBEDDING], dtype=np.float32) for row in rows}
        return [_known(each.keys, vectors, queries.shape[1]) for each in found]

    def _completed(
        self,
        found: list[Shortlist],
        queries: Embeddings,
        wanted: int,
        first: Stage,
        expression: str,
    ) -> list[Shortlist]:
        """Repeat the searches that returned fewer candidates than match, without an index."""
        short = [row for row, each in enumerate(found) if len(each.ids) < wanted]
        if not short:
            return found
        fewest = min(len(found[row].ids) for row in short)
        if fewest >= min(wanted, self._stored.count(expression)):
            return found
        completed = list(found)
        again = self._exhaustive(queries[short], wanted, first.dim, expression)
        for row, each in zip(short, again, strict=True):
            completed[row] = each
        return completed

    def _exhaustive(
        self, queries: Embeddings, wanted: int, dim: int, expression: str
    ) -> list[Shortlist]:
        """Score the prefixes of all matching documents, in bounded memory."""
        full_dim = queries.shape[1]
        best = [Shortlist([], np.empty((0, full_dim), np.float32)) for _ in queries]
        prefixes = prefix(queries, dim)
        step = block_size(4 * full_dim)
        for rows in self._stored.blocks([EMBEDDING], expression=expression, block=step):
            vectors = np.asarray([row[EMBEDDING] for row in rows], dtype=np.float32)
            ids = [id_of(row[ID]) for row in rows]
            best = [
                _best(each, query, ids, vectors, wanted + 32)
                for each, query in zip(best, prefixes, strict=True)
            ]
        return best


def _best(
    former: Shortlist, query: Embeddings, ids: list[str], vectors: Embeddings, limit: int
) -> Shortlist:
    """Return the best of former candidates and other documents; equal scores by descending id."""
    all_ids = np.array([*former.ids, *ids], dtype=object)
    rows = np.concatenate([former.vectors, vectors])
    order = np.argsort(all_ids, kind="stable")[::-1]
    scores = np.einsum("nd,d->n", prefix(rows[order], len(query)), query)
    chosen = order[np.argsort(-scores, kind="stable")[:limit]]
    return Shortlist(all_ids[chosen].tolist(), rows[chosen])


def _candidates(found: Found) -> Shortlist:
    vectors = np.empty((0, 0), np.float32) if found.vectors is None else found.vectors
    return Shortlist([id_of(key) for key in found.keys], vectors)


def _known(keys: Sequence[str], vectors: dict[str, Embeddings], full_dim: int) -> Shortlist:
    """Return the candidates that the documents contain."""
    known = [key for key in keys if key in vectors]
    rows = [vectors[key] for key in known]
    stacked = np.stack(rows) if rows else np.empty((0, full_dim), np.float32)
    return Shortlist([id_of(key) for key in known], stacked)
