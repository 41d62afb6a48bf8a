"""Search an index of nestvec, in any engine, as its users do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np

from nestvec.codec.codec import Codec
from nestvec.engines.engine import Engine
from nestvec.engines.filters.condition import Condition
from nestvec.engines.registry import open_engine
from nestvec.index.model import IndexModel
from nestvec.operate.exact import LiveQueries, Metric, Observer, ScannedRows
from nestvec.operate.live.database import ExactAnswers, SearchPath, Settings
from nestvec.operate.losses import plain_codec
from nestvec.types import CodeKey, Embeddings, Encoder, Hits, OperatingPoint, Rows

_BLOCK = 4_096  # vectors that are read at a time


@contextmanager
def open_live_index(
    place: str, point: OperatingPoint | None, model: Encoder | None
) -> Iterator[LiveIndex]:
    """Open an index; nothing is changed.

    Args:
        place: The path or URL of the index.
        point: The operating point of searches; None for that of the index.
        model: The model of the index; None to load the recorded one when a text is encoded.

    Raises:
        DataError: If there is no index.
        ModelMismatch: If the index contains vectors of another model.
    """
    engine = open_engine(place)
    try:
        yield LiveIndex(engine, point, model)
    finally:
        engine.close()


class LiveIndex:
    """An index, and its search at one operating point."""

    metric: Metric = "cosine"

    def __init__(self, engine: Engine, point: OperatingPoint | None, model: Encoder | None) -> None:
        """Use an open engine.

        Args:
            engine: The engine of the index.
            point: As in ``open_live_index``.
            model: As in ``open_live_index``.
        """
        self._engine, self._model = engine, IndexModel(engine, model)
        self._point, manifest = point, engine.manifest
        self.place, self.dim = engine.place, manifest.model.full_dim
        settings = ", ".join(f"{name} {value}" for name, value in manifest.settings.items())
        self.path = SearchPath(settings, point or manifest.point)
        self._scanned: list[str] = []  # the ids of the rows that an observer has seen

    def encode(self, queries: list[str] | Embeddings) -> Embeddings:
        """Return the vectors of queries, as ``LiveDatabase.encode`` does."""
        return self._model.queries(queries)

    def codec(self, key: CodeKey) -> Codec:
        """Return the codec of a representation, as ``LiveDatabase.codec`` does."""
        manifest = self._engine.manifest
        if key in manifest.codecs:
            return manifest.codecs[key]
        return plain_codec(key, layer_norm=manifest.model.layer_norm)

    def alternatives(self, *, short: bool) -> Sequence[Settings]:
        """Return no settings: those of an index are fitted when it is built."""
        return ()

    def search(
        self,
        query: Embeddings,
        k: int,
        where: Condition | None,
        settings: Settings | None = None,
    ) -> list[str]:
        """Return the ids of the best documents, as ``LiveDatabase.search`` does."""
        return self._engine.search(query[None], k, where=where, point=self._point).ids[0]

    def exact(self, queries: LiveQueries, k: int, observer: Observer | None = None) -> ExactAnswers:
        """Return the exact answers of all queries, by the exhaustive search of the engine."""
        found = self.hits(queries, k, exact=True)
        if observer is not None:
            self._scan(observer)
        matching = [None] * len(queries.conditions)
        return ExactAnswers(found.ids, found.scores, matching, len(self._engine), 0, unit=True)

    def hits(self, queries: LiveQueries, k: int, *, exact: bool = False) -> Hits:
        """Return the results of all queries with their scores, as users get them.

        Args:
            queries: The queries with their filters.
            k: Number of documents.
            exact: Score every document by its full stored vector instead.
        """
        n, point = len(queries.values), None if exact else self._point
        found = Hits([[] for _ in range(n)], [[] for _ in range(n)])
        for group in np.unique(queries.groups):
            lines = np.flatnonzero(queries.groups == group)
            where, values = queries.condition(int(lines[0])), queries.values[lines]
            hits = self._engine.search(values, k, where=where, point=point, exact=exact)
            for line, ids, scores in zip(lines, hits.ids, hits.scores, strict=True):
                found.ids[int(line)], found.scores[int(line)] = ids, scores
        return found

    def vectors(self, ids: Sequence[str]) -> Mapping[str, Embeddings]:
        """Return vectors by id; unknown ids are left out."""
        known = [id_ for id_ in dict.fromkeys(ids) if id_ in self._engine]
        return dict(zip(known, self._engine.vectors(known), strict=True))

    def vectors_of_rows(self, rows: Rows) -> Embeddings:
        """Return the vectors of rows that an observer has seen, [n, dim]."""
        return self._engine.vectors(self.ids_of_rows(rows))

    def ids_of_rows(self, rows: Rows) -> list[str]:
        """Return the ids of rows that an observer has seen, in the same order."""
        return [self._scanned[row] for row in rows]

    def sample(self, n: int, seed: int) -> tuple[list[str], Embeddings]:
        """Return ids and vectors of at most n documents, chosen at random."""
        ids = sorted(self._engine.ids())
        chosen = np.random.default_rng(seed).permutation(len(ids))[:n]
        names = [ids[row] for row in np.sort(chosen)]
        return names, self._engine.vectors(names)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents."""
        return self._engine.ids()

    @property
    def engine(self) -> Engine:
        """The open engine of the index."""
        return self._engine

    @property
    def model(self) -> IndexModel:
        """The model of the index, which is loaded when it is used."""
        return self._model

    def _scan(self, observer: Observer) -> None:
        ids = self._engine.ids()
        self._scanned = []
        while names := list(islice(ids, _BLOCK)):
            values = self._engine.vectors(names)
            if len(values) != len(names):  # deleted meanwhile
                names = [id_ for id_ in names if id_ in self._engine]
                values = self._engine.vectors(names)
            start = len(self._scanned)
            self._scanned += names
            rows = np.arange(start, start + len(names))
            observer(ScannedRows(rows, values, np.empty((len(names), 0), dtype=np.bool_)))
