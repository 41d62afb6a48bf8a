"""The protocol of an engine, and the capabilities that an engine declares.

An engine stores documents, their vectors and a manifest, and searches by an operating point. An
engine does not depend on models: its input is vectors and its output is ``Hits``. ``Trial`` runs
the engine's own search, so that a curve measures the search that is deployed.

``registry`` finds an engine by its name or URL. ``tests/engine_contract.py`` tests every engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from nestvec.engines.canaries import Canaries
from nestvec.engines.filters.condition import Condition
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest, Settings, Stored
from nestvec.engines.results import Compacted, Explained, PointBytes, Stats
from nestvec.models.adapter import Adapter
from nestvec.types import Document, Embeddings, Hits, ModelInfo, OperatingPoint, Precision


class Search(Protocol):
    """A search by one operating point. Only a trial of an approximate engine accepts a filter."""

    def __call__(self, embeddings: Embeddings, k: int, where: Condition | None = None, /) -> Hits:
        """Return the best ``k`` documents of each query, [n_queries, full_dim], that match."""
        ...


@dataclass(frozen=True)
class Capabilities:
    """The features that an engine supports, known before anything is measured or built.

    Attributes:
        scanned: Precisions that the first stage supports.
        rescored: Precisions that later stages support.
        stored: Precisions in which full vectors can be stored.
        max_stages: The largest number of stages of a search; None without a limit.
        filters: Whether a search can be limited to documents that match a condition.
        exact: Whether a search can score every document by its full stored vector.
        any_point: Whether a search can use another operating point than the index's own.
        explains: Whether ``explain`` reports each stage; otherwise it reports all stages together.
        restores: Whether a replaced index can be kept as a backup and restored.
        approximate: Whether the first stage can miss documents, for example in a graph. The curve
            then ranks documents by the engine's own search, not by exhaustive scoring.
    """

    scanned: frozenset[Precision]
    rescored: frozenset[Precision]
    stored: frozenset[Stored]
    max_stages: int | None = None
    filters: bool = True
    exact: bool = True
    any_point: bool = True
    explains: bool = True
    restores: bool = True
    approximate: bool = False

    def can_run(self, point: OperatingPoint) -> bool:
        """Return whether the engine supports every stage of an operating point."""
        first, *later = point.stages
        return (
            first.precision in self.scanned
            and all(stage.precision in self.rescored for stage in later)
            and (self.max_stages is None or len(point.stages) <= self.max_stages)
        )


class Trial(Protocol):
    """The engine's own search over the vectors of a corpus, without an index.

    ``measure`` times this search, so that a curve shows the latency and bytes of the engine.
    """

    def searcher(self, point: OperatingPoint) -> Search:
        """Return the search of a point, with all its data in memory."""
        ...

    def scanned_share(self, point: OperatingPoint) -> float:
        """Return the share of the corpus that a search of the point scans, above 0 and up to 1.

        A search scans less than the whole corpus if the codes do not fit in memory.
        """
        ...

    def cold_searcher(self, point: OperatingPoint) -> Search | None:
        """Return the search of a point, with its files dropped from the page cache.

        None if the search reads no files, or if the system cannot drop them from the page cache.
        """
        ...

    def bytes(self, point: OperatingPoint) -> PointBytes:
        """Return the bytes that the point requires in this engine."""
        ...

    def build_s(self, point: OperatingPoint) -> float:
        """Return the seconds to build the codes of a point from existing vectors."""
        ...

    def settings(self, point: OperatingPoint) -> Settings:
        """Return the settings of the search structures of a point; empty if it is exhaustive."""
        ...

    def lookup_ms(self, k: int) -> float:
        """Time one lookup of ``k`` documents by id, in milliseconds; 0 without documents."""
        ...

    def close(self) -> None:
        """Delete the temporary files of the trial."""
        ...


class Engine(Protocol):
    """An open index. Several threads may use it at the same time.

    A place is the path of an index, or its URL without credentials. Documents with equal scores
    are returned in descending order of id. ``add`` adds all documents of a batch or none of them.
    When ``add`` returns, the batch is on disk and searches find it.
    """

    capabilities: ClassVar[Capabilities]

    @classmethod
    def create(cls, place: str, manifest: Manifest, adapter: Adapter | None = None) -> Self:
        """Create an empty index and open it.

        Args:
            place: A path or URL that is not in use.
            manifest: The model, the precision of stored vectors, and the operating point.
            adapter: The adapter that transformed the vectors, if the manifest names one.

        Raises:
            InvalidArgument: If the engine does not support the precision or the point.
            DataError: If the place is in use, or the index cannot be written.
        """
        ...

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> Self:
        """Open an index.

        Args:
            place: The path or URL of the index.
            verify: Also check every vector. Documents and codes are always checked.

        Raises:
            DataError: If there is no index, its version is not supported, or it cannot be read.
            DamagedFile: If stored data differs from what was written.
        """
        ...

    @classmethod
    def exists(cls, place: str) -> bool:
        """Return whether an index exists at a place."""
        ...

    @classmethod
    def read_manifest(cls, place: str) -> Manifest:
        """Read the manifest of an index without opening the index.

        Raises:
            DataError: If there is no index.
        """
        ...

    @classmethod
    def building(
        cls,
        place: str,
        manifest: Manifest,
        *,
        source: Mapping[str, str],
        adapter: Adapter | None = None,
        keep_backup: bool = False,
    ) -> AbstractContextManager[Self]:
        """Build an index under a temporary name, and move it to its place when the block ends.

        After an error or an interrupt, the next call with an equal source and manifest continues
        the build. The engine that it yields contains the documents added so far. An index that
        exists at the place is unchanged until the block ends.

        Args:
            place: The path or URL of the new index. An existing index is replaced.
            manifest: As for ``create``.
            source: Identifies the source of the documents; a build of another source is not
                continued.
            adapter: As for ``create``.
            keep_backup: Keep the replaced index as a backup for ``restore``.

        Raises:
            IndexLocked: If another process builds an index there.
            DataError: If the place contains anything but an index, or cannot be written.
        """
        ...

    @classmethod
    def count_unfinished(cls, place: str) -> int:
        """Return the number of documents that an interrupted build has stored."""
        ...

    @classmethod
    def backup_place(cls, place: str) -> str:
        """Return the place of the backup that ``building`` keeps."""
        ...

    @classmethod
    def restore(cls, place: str) -> None:
        """Replace an index by its backup.

        Raises:
            DataError: If there is no backup, or it cannot be restored.
        """
        ...

    @classmethod
    def disk_bytes(cls, place: str) -> int:
        """Return the size of an index on disk in bytes."""
        ...

    @classmethod
    def trial(
        cls,
        corpus: Representations,
        ids: Sequence[str],
        documents: Mapping[str, Document],
        *,
        place: str | None = None,
    ) -> Trial:
        """Prepare the engine's search over vectors, so that it can be timed.

        Args:
            corpus: The vectors and their codes, in descending order of id.
            ids: [n], in the same order.
            documents: Documents by id, to measure their lookup time and bytes; may be empty.
            place: The URL of the database that temporary indexes are created in; None for the
                engine's default.
        """
        ...

    @property
    def place(self) -> str:
        """The path of the index, or its URL without credentials."""
        ...

    @property
    def manifest(self) -> Manifest:
        """The model, the operating point and the codecs of the index."""
        ...

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that transformed the vectors; None if the manifest names no adapter.

        Raises:
            DamagedFile: If the adapter is missing, or is not the one that the manifest names.
        """
        ...

    def __len__(self) -> int:
        """Return the number of documents."""
        ...

    def __contains__(self, id_: object) -> bool:
        """Return whether the index contains a document with this id."""
        ...

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents."""
        ...

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return documents by id, in the order of ``ids``; unknown ids are left out."""
        ...

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """Return stored vectors, float32 [n, full_dim]; unknown ids are left out."""
        ...

    def search(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
        exact: bool = False,
    ) -> Hits:
        """Return the best ``k`` documents of each query.

        Args:
            embeddings: [n_queries, full_dim], as the model returns them.
            k: At least 1. Fewer hits are returned if the index or the last shortlist is smaller.
            where: Return only documents that match this condition; None for all documents.
            point: The operating point of this search; None for the index's own.
            exact: Score every document by its full stored vector.

        Raises:
            InvalidArgument: If k is below 1, the index cannot be searched by the point, a query
                contains NaN or infinity, or ``filters.fields.check_fields`` refuses the condition.
            ModelMismatch: If the width of the queries is not the ``full_dim`` of the index.
        """
        ...

    def explain(
        self,
        embeddings: Embeddings,
        k: int,
        *,
        where: Condition | None = None,
        point: OperatingPoint | None = None,
    ) -> Explained:
        """Search as ``search`` does, and also return the result of each stage."""
        ...

    def add(
        self,
        added: Mapping[str, Document],
        embeddings: Embeddings,
        *,
        replace: bool = False,
        build_codes: bool = True,
    ) -> None:
        """Add documents and commit them.

        Args:
            added: Documents by id.
            embeddings: Their vectors in the same order, [n, full_dim], as the model returns them.
            replace: Replace documents that have the same id. If False, such an id is an error.
            build_codes: False to leave codes or search structures to ``build_codes``, which is
                faster for many batches.

        Raises:
            InvalidArgument: If an id exists and ``replace`` is False, a vector is not finite, or
                the number of vectors differs from the number of documents.
            IndexLocked: If another process changes the index.
            DataError: If the index cannot be written; the index is unchanged.
        """
        ...

    def build_codes(self) -> None:
        """Build the codes or search structures of documents that have none yet."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents, commit, and return the number of deleted documents."""
        ...

    def use(self, point: OperatingPoint) -> None:
        """Build the codes of another operating point, and make it the index's own."""
        ...

    def record_encoder(self, model: ModelInfo) -> None:
        """Record the model that encodes texts. No vector changes.

        Raises:
            IndexLocked: If another process changes the index.
            DataError: If the index cannot be written.
        """
        ...

    def record_canaries(self, canaries: Canaries) -> None:
        """Replace the canaries of the manifest. The errors are those of ``record_encoder``."""
        ...

    def compact(self) -> Compacted:
        """Remove deleted documents from disk, and fit the codecs to the remaining ones."""
        ...

    def lock(self) -> None:
        """Acquire the writer's lock now, not at the first change.

        Raises:
            IndexLocked: If another process changes the index.
        """
        ...

    def verify(self) -> None:
        """Check every document and every vector.

        Raises:
            DamagedFile: If stored data differs from what was written.
        """
        ...

    def stats(self) -> Stats:
        """Return the counts and sizes of the index."""
        ...

    def bytes(self) -> PointBytes:
        """Return the bytes that the index requires, averaged over its documents."""
        ...

    def close(self) -> None:
        """Close the files or the connection, and release the writer's lock."""
        ...
