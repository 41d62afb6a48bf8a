"""The interface of the points of one index, and the errors of vectors that are missing.

``shards.OpenShard`` implements it with Qdrant Edge, ``qdrant_server.ServerCollection`` with a
server. All bodies have the form of Qdrant's REST API, see ``requests``.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nestvec.engines.qdrant.requests import Body
from nestvec.engines.tables import TableSizes
from nestvec.errors import InvalidArgument
from nestvec.types import CodeKey

BLOCK = 1_024
"""Points that are read at a time."""


class UnpreparedPoint(InvalidArgument):
    """The index lacks the vectors of a point, or not all documents have them."""


class Build(NamedTuple):
    """The search structures to build.

    Attributes:
        vectors: By name, the parameters of all named vectors, as ``Layout.config`` returns them.
        first_stage_bytes: The size of all vectors of the first stage.
    """

    vectors: Body
    first_stage_bytes: int


class Points(ABC):
    """The points of one index. Several threads may use it.

    Attributes:
        changing: A lock for changes of several steps, for the threads of this process.
        complete: The names of prefixes that every document is known to have.
    """

    def __init__(self) -> None:
        """Know nothing about the named vectors yet."""
        self.changing = threading.RLock()
        self.complete: set[str] = set()

    @abstractmethod
    def query(self, bodies: Sequence[Body]) -> list[list[tuple[str, float]]]:
        """Return the ids and the scores of the points that each query finds, best first.

        Raises:
            MissingVector: If a query searches a named vector that does not exist.
        """

    @abstractmethod
    def retrieve(self, points: Sequence[str], keys: list[str], vectors: list[str]) -> list[Any]:
        """Return points with some keys of their payload and some vectors, in any order."""

    @abstractmethod
    def scroll(
        self, keys: list[str], *, vectors: list[str] | None = None, where: Body | None = None
    ) -> Iterator[list[Any]]:
        """Yield blocks of all points that match a filter, in ascending order of point id."""

    @abstractmethod
    def count(self, where: Body | None = None) -> int:
        """Return the exact number of points that match a filter."""

    @abstractmethod
    def has_any(self, where: Body) -> bool:
        """Return whether a point matches a filter."""

    @abstractmethod
    def facet(self, key: str, limit: int) -> list[str]:
        """Return the different texts of a key of the payload."""

    @abstractmethod
    def indexed_keys(self) -> set[str]:
        """Return the keys of the payload that have an index."""

    @abstractmethod
    def named_vectors(self) -> dict[str, CodeKey]:
        """Return the named vectors of prefixes, also those that are not complete."""

    @abstractmethod
    def create_vector(self, name: str, key: CodeKey) -> None:
        """Create a named vector, which no point has yet."""

    @abstractmethod
    def delete_vector(self, name: str) -> None:
        """Delete a named vector of all points."""

    @abstractmethod
    def update(self, operation: Body, *, flush: bool = True) -> None:
        """Apply one change: its kind is the only key of the body.

        Raises:
            MissingVector: If a point has a named vector that does not exist.
        """

    @abstractmethod
    def flush(self) -> None:
        """Make all changes durable."""

    @abstractmethod
    def build(self, build: Build) -> None:
        """Build the search structures, and return when they are complete."""

    @abstractmethod
    def compact(self) -> None:
        """Remove deleted points, and add new points to the search structures."""

    @abstractmethod
    def sizes(self, first: str) -> TableSizes:
        """Return the bytes of the points.

        Args:
            first: The name of the vector of the first stage.
        """
