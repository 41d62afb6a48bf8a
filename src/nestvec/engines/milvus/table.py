"""A table of documents in Milvus: changes, reads and sizes. ``candidates`` has its searches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.checks import existing_id
from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.engines.filters.milvus import TOKENS, compile_condition, has_tokens
from nestvec.engines.filters.tokens import exists_token, field_of, kind_tokens, kinds_of
from nestvec.engines.manifest import Settings
from nestvec.engines.milvus import collections
from nestvec.engines.milvus.batches import Batches
from nestvec.engines.milvus.candidates import CandidateSearch
from nestvec.engines.milvus.collections import DOCUMENT, EMBEDDING, ID, M
from nestvec.engines.milvus.connection import Connection
from nestvec.engines.milvus.documents import Rows, block_size
from nestvec.engines.milvus.fitting import fit_index, is_current
from nestvec.engines.milvus.lease import Lease
from nestvec.engines.milvus.prefixes import PrefixCollections
from nestvec.engines.milvus.records import Records
from nestvec.engines.milvus.rows import Row, document_rows, id_of, key_of, read_document
from nestvec.engines.tables import DocumentTable, Record, TableSizes
from nestvec.types import Document, Embeddings, Hits, OperatingPoint

LEAST_ROWS = 10_000
"""Documents from which a first stage has an HNSW index on a server."""
REQUEST_BYTES = 16_000_000
"""Bytes of one request, about."""
_KINDS_S = 5.0  # another process may have changed the kinds of a field
_SAMPLED = 500  # documents whose tokens or texts are read at a time
_KEY_BYTES = 50  # an id and its numbers, about


class MilvusTable(DocumentTable):
    """An open table of documents.

    Attributes:
        reread: Returns the present record of the index; None if it was deleted.
        is_unfinished: Whether the index is being built, so that no search uses it yet.
    """

    def __init__(self, connection: Connection, records: Records, record: Record) -> None:
        """Open the collections of a record, which are loaded."""
        self._connection, self._records = connection, records
        self.manifest = record.manifest
        self.reread: Callable[[], Record | None] = lambda: None
        self.is_unfinished = False
        self._former: set[OperatingPoint | None] = set()  # own points, which searches may still use
        self._use(record.table)
        self._kinds: dict[str, tuple[float, FieldKinds]] = {}

    def add(
        self, added: Mapping[str, Document], vectors: NDArray[np.floating], *, replace: bool
    ) -> None:
        """Add documents, as ``DocumentTable.add`` does.

        Milvus makes one request visible in one step. A batch above 16 MB is several requests, and
        searches can find a part of its documents, each of them complete, before ``add`` returns.
        After an error, the documents of the batch are deleted, unless ``replace`` is True or the
        server cannot be reached. After a crash, or if they could not be deleted, the documents of
        the first requests remain. The same batch can then be added again. Prefixes that a crash
        left behind are repaired by the next change. If two processes add the same id at the same
        time, the last one replaces the other.
        """
        rows = document_rows(added, vectors)
        keys = [row[ID] for row in rows]
        requests = list(_requests(rows))
        if not replace:
            self._refuse_existing(added)
        is_batch = len(requests) > 1 and not replace
        with (
            self._batches.adding(keys) if is_batch else nullcontext(),
            self._prefixes.changing(keys) as names,
        ):
            for block in requests:
                self._stored.upsert(block)
            self._prefixes.write(names, rows, vectors.astype(np.float32, copy=False))
        self._kinds = {}

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, and return the number of deleted documents."""
        keys = [key_of(id_) for id_ in self.existing(ids)]
        if keys:
            with self._prefixes.changing(keys) as names:
                self._stored.delete(keys)
                self._prefixes.delete(names, keys)
        self._kinds = {}
        return len(keys)

    def count(self, where: Condition | None = None) -> int:
        """Return the exact number of documents that match a condition."""
        return self._stored.count(_expression(where))

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents, in blocks."""
        for rows in self._stored.blocks([]):
            yield from (id_of(row[ID]) for row in rows)

    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the table contains."""
        keys = [key_of(id_) for id_ in dict.fromkeys(ids)]
        return {id_of(row[ID]) for row in self._stored.of_keys(keys, [])}

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id; unknown ids are left out."""
        keys = [key_of(id_) for id_ in dict.fromkeys(ids)]
        rows = self._stored.of_keys(keys, [DOCUMENT], block=_SAMPLED)
        return {id_of(row[ID]): read_document(row[DOCUMENT]) for row in rows}

    def vectors(self, ids: Sequence[str]) -> dict[str, Embeddings]:
        """Return stored vectors, float32 [full_dim], by id; unknown ids are left out."""
        keys = [key_of(id_) for id_ in dict.fromkeys(ids)]
        step = block_size(4 * self.manifest.model.full_dim)
        rows = self._stored.of_keys(keys, [EMBEDDING], block=step)
        return {id_of(row[ID]): np.asarray(row[EMBEDDING], dtype=np.float32) for row in rows}

    def search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Condition | None
    ) -> Hits:
        """Return the best ``k`` documents of each query, as ``DocumentTable.search`` does."""
        expression = _expression(where)
        search = CandidateSearch(self._connection, self._prefixes, self._name, self.manifest)
        try:
            return search.run(queries, k, point, expression)
        except collections.StaleTable:  # another process has replaced the index or its point
            record = self.reread()
            if record is None:
                raise
            self._former |= {self.manifest.point}
            used = record.manifest.point if point in self._former else point
            self.manifest = record.manifest
            self._use(record.table)
            again = CandidateSearch(self._connection, self._prefixes, self._name, self.manifest)
            return again.run(queries, k, used, expression)

    def field_kinds(self, fields: Iterable[str], limit: int | None) -> dict[str, FieldKinds]:
        """Return the kinds of values of fields, as ``DocumentTable.field_kinds`` does."""
        now, kinds = time.monotonic(), {}
        for field in fields:
            read_at, known = self._kinds.get(field, (-_KINDS_S, FieldKinds(Kinds.NONE)))
            if limit is None or now - read_at > _KINDS_S:
                known = self._all_kinds(field) if limit is None else self._some_kinds(field, limit)
                self._kinds[field] = now, known
            kinds[field] = known
        return kinds

    def field_names(self) -> Iterable[str]:
        """Return the fields of all documents."""
        names: dict[str, None] = {}
        for rows in self._stored.blocks([TOKENS], block=_SAMPLED):
            for field in (field_of(token) for row in rows for token in row[TOKENS]):
                if field is not None:
                    names[field] = None
        return list(names)

    def prepare(self, point: OperatingPoint) -> Settings:
        """Build the prefixes and the index of the first stage, if the point needs them.

        Raises:
            IndexLocked: If another process prepares a point of this index.
        """
        with self._lease.held():
            return self._prepare(point)

    def remove_unused(self, point: OperatingPoint) -> None:
        """Drop the prefixes that a point does not use, and let other processes prepare points."""
        dim = point.stages[0].dim
        is_full = dim == self.manifest.model.full_dim and "index" not in self.manifest.settings
        self._lease.check()
        self._prefixes.drop_others(None if is_full else dim)
        self._lease.release()

    def compact(self) -> None:
        """Let Milvus merge its segments, which frees the space of deleted rows in time."""
        for name in (self._name, *self._prefixes.names()):
            collections.compact(self._connection, name)

    def sizes(self) -> TableSizes:
        """Return the bytes of the table, computed from its counts: Milvus does not report them.

        Texts are measured on a sample.
        """
        n, full_dim = self.count(), self.manifest.model.full_dim
        sample = self._stored.some([DOCUMENT, TOKENS], _SAMPLED)
        lengths = [len("".join((*row[DOCUMENT], *row[TOKENS])).encode()) for row in sample]
        texts = round(float(np.mean(lengths)) * n) if lengths else 0
        dim = self.manifest.point.stages[0].dim
        links = 8 * M if "index" in self.manifest.settings else 0
        loaded = n * (4 * full_dim + _KEY_BYTES)
        if dim < full_dim or links:  # Milvus loads the collection of the first stage as well
            loaded += n * (4 * dim + _KEY_BYTES + links)
        return TableSizes(loaded, texts, loaded)

    def _refuse_existing(self, added: Mapping[str, Document]) -> None:
        """Raise an error if an id exists, except ids of an unfinished batch."""
        existing = self.existing(list(added))
        if existing:
            existing -= {id_of(key) for key in self._batches.unfinished()}
        if existing:
            raise existing_id([id_ for id_ in added if id_ in existing])

    def _prepare(self, point: OperatingPoint) -> Settings:
        dim, rows = point.stages[0].dim, self.count()
        approximate = rows >= LEAST_ROWS and not self._connection.is_lite
        if not approximate and dim == self.manifest.model.full_dim:
            return {}
        complete = self._prefixes.complete(dim)
        if complete is not None:
            self._prefixes.repair()
            if is_current(self._connection, complete, self.manifest, rows, indexed=approximate):
                return self.manifest.settings if approximate else {}
        is_own = complete is not None and self.is_unfinished
        name = complete if complete is not None and is_own else self._prefixes.build(dim)
        settings: Settings = {}
        if approximate:
            search = CandidateSearch(self._connection, self._prefixes, self._name, self.manifest)
            settings = fit_index(self._connection, search, name, point)
        if not is_own:
            self._lease.check()
            self._prefixes.publish(name)
        return settings

    def _use(self, table: str) -> None:
        self._name, self._stored = table, Rows(self._connection, table)
        full_dim = self.manifest.model.full_dim
        self._prefixes = PrefixCollections(self._connection, self._records, table, full_dim)
        self._batches = Batches(self._records, self._stored, table)
        self._lease = Lease(self._records, table, self._connection.shown)

    def _some_kinds(self, field: str, limit: int) -> FieldKinds:
        expression = has_tokens([exists_token(field)])
        most = min(limit, _SAMPLED)
        rows = self._stored.some([TOKENS], most, expression)
        return kinds_of(field, {token for row in rows for token in row[TOKENS]}.__contains__)

    def _all_kinds(self, field: str) -> FieldKinds:
        left, found = {*kind_tokens(field), *kind_tokens(field, item=True)}, set[str]()
        while left and (rows := self._stored.some([TOKENS], 1, has_tokens(sorted(left)))):
            found.update(rows[0][TOKENS])
            left -= found
        return kinds_of(field, found.__contains__)


def _expression(where: Condition | None) -> str:
    return "" if where is None else compile_condition(where)


def _requests(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows in blocks of about ``REQUEST_BYTES``, usually one."""
    size, first = 0, 0
    for number, row in enumerate(rows):
        own = 4 * len(row[EMBEDDING]) + sum(map(len, (*row[DOCUMENT], *row[TOKENS])))
        if size and size + own > REQUEST_BYTES:
            yield rows[first:number]
            first, size = number, 0
        size += own
    yield rows[first:]
