"""The protocol of a search that is in use, which ``check`` compares with exact answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

from nestvec.codec.codec import Codec
from nestvec.engines.filters.condition import Condition
from nestvec.operate.exact import ExactRows, LiveQueries, Metric, Observer
from nestvec.types import CodeKey, Embeddings, OperatingPoint, Rows

_UNIT = 1e-3  # largest deviation of the length of a vector from 1
Settings: TypeAlias = Mapping[str, str]
"""Settings of a database by name, such as ``{"hnsw.ef_search": "80"}``."""


@dataclass(frozen=True)
class Width:
    """The setting that determines how many candidates an approximate index examines.

    Attributes:
        name: Its name in the database, such as ``hnsw.ef_search``.
        value: Its value in this search.
        largest: The largest value that the database accepts.
    """

    name: str
    value: int
    largest: int


@dataclass(frozen=True)
class SearchPath:
    """How a database runs the search.

    Attributes:
        index: The index that the search uses, such as ``docs_embedding_idx (hnsw)``, or a statement
            whose index is not known; "" for none: the search reads all vectors and is exact.
        point: The operating point that the search computes; None if it is unknown.
        width: The setting of an approximate index; None if there is none.
        unused: An index of the vectors that the search could use and does not; "" for none.
    """

    index: str
    point: OperatingPoint | None
    width: Width | None = None
    unused: str = ""


@dataclass(frozen=True)
class TableSearch:
    """How the table is searched, if the search is not the plain one.

    Attributes:
        statement: SQL of PostgreSQL that users run, with the query vector as ``$1`` and the number
            of documents as ``$2``. Its first column is the id. "" for the plain search.
        point: The operating point that the statement computes; None if it is unknown.
        metric: The metric; None for that of the index, or cosine without an index.
        settings: Settings of the search by name, such as ``hnsw.ef_search`` or ``nprobes``.
    """

    statement: str = ""
    point: OperatingPoint | None = None
    metric: Metric | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


class ExactAnswers(NamedTuple):
    """The exact nearest documents of each query, best first.

    Attributes:
        ids: Ids of each query, at most k.
        scores: Scores in the same order; a higher score is nearer.
        matching: The number of documents that match each condition; None if it was not counted.
        total: The number of searched documents.
        zeros: The number of documents whose vector is zero.
        unit: Whether all vectors have length 1, so that all metrics give the same order.
    """

    ids: list[list[str]]
    scores: list[list[float]]
    matching: Sequence[int | None]
    total: int
    zeros: int
    unit: bool


def exact_answers(found: ExactRows, ids: Mapping[int, str]) -> ExactAnswers:
    """Return the answers of an exact pass with the ids of their rows."""
    low, high = found.lengths
    lines = [
        [(ids[int(row)], float(score)) for row, score in zip(*line, strict=True) if row >= 0]
        for line in zip(found.rows, found.scores, strict=True)
    ]
    return ExactAnswers(
        [[id_ for id_, _ in line] for line in lines],
        [[score for _, score in line] for line in lines],
        found.counts.tolist(),
        found.total,
        found.zeros,
        abs(low - 1) < _UNIT and abs(high - 1) < _UNIT,
    )


class LiveDatabase(Protocol):
    """A search that is in use, and the vectors that it searches, both in one state."""

    @property
    def place(self) -> str:
        """The place, without credentials."""
        ...

    @property
    def dim(self) -> int:
        """Number of dimensions of the vectors."""
        ...

    @property
    def metric(self) -> Metric:
        """The metric of the search."""
        ...

    @property
    def path(self) -> SearchPath:
        """How the database runs the search."""
        ...

    def encode(self, queries: list[str] | Embeddings) -> Embeddings:
        """Return the vectors by which queries are searched, [n, dim].

        Args:
            queries: Texts, or vectors as the model of the documents returns them.

        Raises:
            NestvecError: If the queries are texts and there is no model, or the vectors have
                another width.
        """
        ...

    def codec(self, key: CodeKey) -> Codec:
        """Return the codec of a representation of ``path.point``.

        Raises:
            InvalidArgument: If its calibration is unknown.
        """
        ...

    def alternatives(self, *, short: bool) -> Sequence[Settings]:
        """Return other settings of the search that may lose less, the cheapest first.

        Args:
            short: Whether searches returned fewer documents than match.
        """
        ...

    def search(
        self, query: Embeddings, k: int, where: Condition | None, settings: Settings | None = None
    ) -> list[str]:
        """Return the ids of the best ``k`` documents, as users get them.

        Args:
            query: [dim].
            k: Number of documents.
            where: The filter.
            settings: One of ``alternatives``; None for the settings in use.

        Raises:
            DataError: If the database refuses the search.
        """
        ...

    def exact(self, queries: LiveQueries, k: int, observer: Observer | None = None) -> ExactAnswers:
        """Return the exact answers of all queries; each vector is read once.

        Args:
            queries: The queries with their filters.
            k: Number of documents.
            observer: Reads each block of vectors as well.
        """
        ...

    def vectors(self, ids: Sequence[str]) -> Mapping[str, Embeddings]:
        """Return vectors [dim] by id; unknown ids are left out."""
        ...

    def vectors_of_rows(self, rows: Rows) -> Embeddings:
        """Return the vectors of rows that an observer has seen, [n, dim]."""
        ...

    def ids_of_rows(self, rows: Rows) -> list[str]:
        """Return the ids of rows that an observer has seen, in the same order."""
        ...

    def sample(self, n: int, seed: int) -> tuple[list[str], Embeddings]:
        """Return ids and vectors of at most n documents, chosen at random, to use as queries."""
        ...

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents that have a vector."""
        ...
