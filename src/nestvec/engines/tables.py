"""The interface of a database that an engine keeps its documents in.

An engine over a database implements two classes: ``DocumentTables`` stores a record for each index
and creates its table; ``DocumentTable`` stores and searches the documents of one index.
``TableEngine`` implements the protocol ``Engine`` with them, alike for all databases.

A table stores the unit vectors of ``Manifest.as_stored``. Searches score unit prefixes by inner
product, so that a zero vector or a zero prefix scores 0, as in the embedded engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.condition import Condition
from nestvec.engines.filters.fields import FieldKinds
from nestvec.engines.manifest import Manifest, Settings
from nestvec.types import Document, Embeddings, Hits, OperatingPoint

NO_INDEX = "contains no index. Build it with nestvec index build."


@dataclass(frozen=True)
class Record:
    """What a database stores about one index.

    Attributes:
        manifest: The manifest of the index.
        table: The name of the table, collection or data set with the documents.
        adapter: The bytes of the adapter's file; None without an adapter.
        source: Identifies the documents of an unfinished build; empty for a finished index.
    """

    manifest: Manifest
    table: str
    adapter: bytes | None = field(default=None, repr=False)
    source: Mapping[str, str] = field(default_factory=dict)


class TableSizes(NamedTuple):
    """The bytes of a table.

    Attributes:
        vectors: Vectors, ids and search structures on disk.
        texts: Texts, titles and metadata on disk.
        resident: Search structures of the first stage, which should be in memory.
    """

    vectors: int
    texts: int
    resident: int

    @property
    def disk(self) -> int:
        """All bytes on disk."""
        return self.vectors + self.texts


class DocumentTable(ABC):
    """An open table of documents. Several threads may use it.

    Attributes:
        manifest: The manifest of the index. ``TableEngine`` replaces it when it changes.
    """

    manifest: Manifest

    @abstractmethod
    def add(
        self, added: Mapping[str, Document], vectors: NDArray[np.floating], *, replace: bool
    ) -> None:
        """Add all documents in one transaction, or none.

        A call whose connection is lost is repeated, and never adds a document twice.

        Args:
            added: Documents by id.
            vectors: [n, full_dim] in the same order, as the table stores them.
            replace: Replace documents that have the same id.

        Raises:
            InvalidArgument: ``checks.existing_id`` of an id that exists, if ``replace`` is False.
            DataError: If the database cannot be reached or written.
        """

    @abstractmethod
    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents in one transaction, and return the number of deleted documents."""

    @abstractmethod
    def count(self, where: Condition | None = None) -> int:
        """Return the exact number of documents that match a condition."""

    @abstractmethod
    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents, in any order, in bounded memory."""

    @abstractmethod
    def existing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that the table contains."""

    @abstractmethod
    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id, in any order; unknown ids are left out."""

    @abstractmethod
    def vectors(self, ids: Sequence[str]) -> dict[str, Embeddings]:
        """Return stored vectors, float32 [full_dim], by id; unknown ids are left out."""

    @abstractmethod
    def search(
        self, queries: Embeddings, k: int, point: OperatingPoint | None, where: Condition | None
    ) -> Hits:
        """Return the best ``k`` documents of each query, equal scores by descending id.

        The result has k documents if as many match, also under a filter.

        Args:
            queries: [n_queries, full_dim], of unit length or zero.
            k: At least 1.
            point: The operating point; None to score every document by its stored vector.
            where: Return only documents that match this condition.

        Raises:
            InvalidArgument: If the table has no column or no index that the point needs.
        """

    @abstractmethod
    def field_kinds(self, fields: Iterable[str], limit: int | None) -> dict[str, FieldKinds]:
        """Return the kinds of values of fields.

        Args:
            fields: The fields.
            limit: Read about this number of documents that have a field; None for all documents.
        """

    @abstractmethod
    def field_names(self) -> Iterable[str]:
        """Return the fields of all documents."""

    @abstractmethod
    def prepare(self, point: OperatingPoint) -> Settings:
        """Build the columns and search structures of a point, while searches continue.

        Returns:
            The settings of the search structures, for ``Manifest.settings``; empty if the search
            is exhaustive.
        """

    @abstractmethod
    def remove_unused(self, point: OperatingPoint) -> None:
        """Remove the columns and search structures that a point does not use."""

    @abstractmethod
    def compact(self) -> None:
        """Free the space of deleted documents, and rebuild search structures."""

    @abstractmethod
    def sizes(self) -> TableSizes:
        """Return the bytes of the table."""

    def lock(self) -> None:
        """Prevent changes by other processes until the table is closed, if the database can.

        Raises:
            IndexLocked: If another process changes the table.
        """
        return


class DocumentTables(ABC):
    """An open connection to a database, and the name of one index in it.

    Attributes:
        shown: The URL without credentials.
        name: The name of the index.
    """

    shown: str
    name: str

    @classmethod
    @abstractmethod
    def connect(cls, url: str) -> Self:
        """Connect to the database of a URL.

        Raises:
            InvalidArgument: If the URL is invalid.
            DataError: If the database cannot be reached, after a bounded number of attempts.
            MissingExtra: If the client library is not installed.
        """

    @abstractmethod
    def read(self, name: str) -> Record | None:
        """Return the record of an index; None if there is no index of this name."""

    def why_missing(self, name: str) -> str:
        """Return the problem, and what to do, if ``read`` finds no index of this name."""
        return NO_INDEX

    @abstractmethod
    def write(self, name: str, record: Record) -> None:
        """Write the record of an index in one step; an existing record is replaced."""

    def lock(self, name: str) -> None:
        """Prevent builds of an index by other processes until ``close``, if the database can.

        Args:
            name: The name of the index, which need not exist yet.

        Raises:
            IndexLocked: If another process builds or changes the index.
        """
        return

    @abstractmethod
    def create(self, name: str, record: Record) -> None:
        """Create the empty table of an index, and write its record.

        Raises:
            DataError: If a table of this name exists that is not an index.
        """

    @abstractmethod
    def open(self, record: Record) -> DocumentTable:
        """Open the table of an index."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete the record and the table of an index; without an index, do nothing."""

    @abstractmethod
    def replace(self, name: str, by: str) -> None:
        """Give an index the name of another index, which is dropped, in one step.

        Args:
            name: The name after the call. An index of this name need not exist.
            by: The present name of the index.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""
