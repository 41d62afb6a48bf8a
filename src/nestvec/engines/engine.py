"""What an engine is to the rest of nestvec: a protocol, and its capabilities as data.

An engine stores documents, their vectors and a manifest, and searches by an operating point. It
knows nothing of models: vectors go in, ``Hits`` come out. It reports its own bytes, and its own
search code is what a curve times (``Trial``). How an engine is found by its name or by a URL is in
``registry``; the contract that every engine passes is in ``tests/engine_contract.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from nestvec.engines.filters.condition import Condition
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest, Stored
from nestvec.engines.results import Compacted, Explained, PointBytes, Stats
from nestvec.models.adapter import Adapter
from nestvec.types import Document, Embeddings, Hits, OperatingPoint, Precision

Search = Callable[[Embeddings, int], Hits]
"""Finds the best k of each query: embeddings [n_queries, full_dim] and k in, hits out."""


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, known before anything is measured, planned or built.

    Attributes:
        scanned: Precisions of a first stage.
        rescored: Precisions of later stages.
        stored: How full vectors can be stored.
        max_stages: How many stages one search can have; None where there is no limit.
        filters: Whether a search can be limited to documents that match a condition.
        exact: Whether a search can score every document by its full stored vector.
        any_point: Whether a search can use another operating point than the index's own.
        explains: Whether a search can report what each stage did.
        restores: Whether a replaced index can be kept and put back (``building``, ``restore``).
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

    def can_run(self, point: OperatingPoint) -> bool:
        """Return whether the engine can run a point as it is written."""
        first, *later = point.stages
        return (
            first.precision in self.scanned
            and all(stage.precision in self.rescored for stage in later)
            and (self.max_stages is None or len(point.stages) <= self.max_stages)
        )


class Trial(Protocol):
    """An engine's own search over the vectors of a corpus, without an index of documents.

    ``measure`` times it, so that a curve's latencies and bytes are those of the deployed engine.
    """

    def searcher(self, point: OperatingPoint) -> Search:
        """Return the search of a point, everything that it reads in memory."""
        ...

    def cold_searcher(self, point: OperatingPoint) -> Search | None:
        """Return the search of a point, with none of what it reads from disk in memory.

        None where nothing is read from disk, or its pages cannot be dropped from memory.
        """
        ...

    def bytes(self, point: OperatingPoint) -> PointBytes:
        """Return what the point requires in this engine."""
        ...

    def build_s(self, point: OperatingPoint) -> float:
        """Return the seconds to make what the point searches, of vectors that exist."""
        ...

    def lookup_ms(self, k: int) -> float:
        """Return the median milliseconds of fetching ``k`` documents by id; 0 without documents."""
        ...

    def close(self) -> None:
        """Delete what was made for the trial."""
        ...


class Engine(Protocol):
    """An index that is open; any number of threads may use it at once.

    A place is a path or a URL without credentials. Equal scores are in descending order of id. A
    batch is added as a whole or not at all, and is durable and found when ``add`` returns.
    """

    capabilities: ClassVar[Capabilities]

    @classmethod
    def create(cls, place: str, manifest: Manifest, adapter: Adapter | None = None) -> Self:
        """Make an empty index and open it.

        Args:
            place: Where nothing is yet.
            manifest: Its model, how vectors are stored, and its operating point.
            adapter: What the vectors were transformed by, where the manifest names one.

        Raises:
            InvalidArgument: If the engine cannot store or search like this.
            DataError: If something is there already, or it cannot be written.
        """
        ...

    @classmethod
    def open(cls, place: str, *, verify: bool = False) -> Self:
        """Open an index.

        Args:
            place: Where it is.
            verify: Check every vector, too, not only documents and codes.

        Raises:
            DataError: If there is no index, it is of another version, or it cannot be read.
            DamagedFile: If something is not what was written.
        """
        ...

    @classmethod
    def exists(cls, place: str) -> bool:
        """Return whether there is an index."""
        ...

    @classmethod
    def read_manifest(cls, place: str) -> Manifest:
        """Return the manifest of an index without opening the index.

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
        keep_replaced: bool = False,
    ) -> AbstractContextManager[Self]:
        """Build an index beside its place; it takes the place when the block ends.

        What an error or an interrupt leaves is continued by the next call with an equal source and
        manifest: the documents that the yielded engine holds need not be added again. Until the
        block has ended, what was in the place is untouched.

        Args:
            place: Where the index will be; an index there is replaced.
            manifest: As for ``create``.
            source: Names what the documents come from, so that nothing else is continued.
            adapter: As for ``create``.
            keep_replaced: Keep the index that is replaced, for ``restore``.

        Raises:
            IndexLocked: If another process builds there.
            DataError: If the place holds something else, or cannot be written.
        """
        ...

    @classmethod
    def count_unfinished(cls, place: str) -> int:
        """Return how many documents an interrupted build for this place holds."""
        ...

    @classmethod
    def kept_place(cls, place: str) -> str:
        """Return where ``building`` keeps the index that it replaces."""
        ...

    @classmethod
    def restore(cls, place: str) -> None:
        """Put a kept index back, in the place of the one that replaced it.

        Raises:
            DataError: If none was kept, or it cannot be put back.
        """
        ...

    @classmethod
    def disk_bytes(cls, place: str) -> int:
        """Return the bytes of everything that an index has on disk."""
        ...

    @classmethod
    def trial(
        cls, corpus: Representations, ids: Sequence[str], documents: Mapping[str, Document]
    ) -> Trial:
        """Prepare the engine's search over vectors, to be timed.

        Args:
            corpus: The vectors and their codes, in descending order of id.
            ids: [n], in the same order.
            documents: By id, for the time and the bytes of documents; may be empty.
        """
        ...

    @property
    def place(self) -> str:
        """Where the index is: a path, or a URL without credentials."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What the index records of itself."""
        ...

    @property
    def adapter(self) -> Adapter | None:
        """What the vectors were transformed by; None where the manifest names no adapter.

        Raises:
            DamagedFile: If it is missing, or not the one that the manifest names.
        """
        ...

    def __len__(self) -> int:
        """Count the documents."""
        ...

    def __contains__(self, id_: object) -> bool:
        """Return whether there is a document of that id."""
        ...

    def ids(self) -> Iterator[str]:
        """Yield the ids of all documents."""
        ...

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """Return the documents of those ids that are there, in the order of ``ids``."""
        ...

    def vectors(self, ids: Sequence[str]) -> Embeddings:
        """Return the stored vectors of those ids that are there, float32 [n, full_dim]."""
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
            k: At least 1; a shortlist or corpus that holds fewer gives fewer.
            where: Which documents may be returned.
            point: Another operating point than the index's own.
            exact: Score every document by its full stored vector.

        Raises:
            InvalidArgument: If k is below 1, the vectors cannot be searched by the point, or a
                query holds NaN or infinity.
            ModelMismatch: If the vectors have another width than the stored model's.
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
        """Search as ``search`` does, and report what each stage did."""
        ...

    def add(
        self,
        added: Mapping[str, Document],
        embeddings: Embeddings,
        *,
        replace: bool = False,
        code: bool = True,
    ) -> None:
        """Commit documents.

        Args:
            added: By id.
            embeddings: One for each in the same order, [n, full_dim], as the model returns them.
            replace: True replaces documents of the same id; False refuses them.
            code: False leaves codes or index structures to a later ``code``, for bulk loads.

        Raises:
            InvalidArgument: If an id is there already, a vector is not finite or counts differ.
            IndexLocked: If another process changes the index.
            DataError: If it cannot be written; then nothing has changed.
        """
        ...

    def code(self) -> None:
        """Make the codes or index structures that added documents do not have yet."""
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Commit that documents are gone, and return how many of the ids were there."""
        ...

    def use(self, point: OperatingPoint) -> None:
        """Search by another point from now on; what it needs is made before this returns."""
        ...

    def compact(self) -> Compacted:
        """Remove deleted documents from the disk, and fit the codecs to what is there."""
        ...

    def lock(self) -> None:
        """Become the one writer now, not at the first change.

        Raises:
            IndexLocked: If another process changes the index.
        """
        ...

    def verify(self) -> None:
        """Check every document and every vector.

        Raises:
            DamagedFile: If something is not what was written.
        """
        ...

    def stats(self) -> Stats:
        """Return numbers of the index."""
        ...

    def bytes(self) -> PointBytes:
        """Return what the index requires, averaged over its documents."""
        ...

    def close(self) -> None:
        """Close the files or the connection, and let others write."""
        ...
