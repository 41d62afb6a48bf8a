"""What an engine reports: of a search stage by stage, of its bytes, of its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from nestvec.engines.manifest import Stored
from nestvec.types import Hits, Stage


@dataclass(frozen=True)
class PointBytes:
    """What searching by an operating point requires, in bytes.

    Attributes:
        ram_per_vector: Codes that must be resident to search.
        disk_per_vector: Full vectors, codes of all stages, and what finds a document by its id.
        text_per_vector: Documents: texts, titles, metadata and their checksums.
        read_per_query: Codes or vectors that one query reads for rescoring.
    """

    ram_per_vector: float
    disk_per_vector: float
    text_per_vector: float
    read_per_query: float


@dataclass(frozen=True)
class StageTrace:
    """What one stage did with a batch of queries.

    Attributes:
        stage: What it scored.
        kept: The number of candidates that it returned for each query.
        milliseconds: How long it ran.
        bytes: Codes that it scanned, or vectors that it read.
        read_hits: Looks up the ids of the candidates; a search does not pay for it.
    """

    stage: Stage
    kept: int
    milliseconds: float
    bytes: int
    read_hits: Callable[[], Hits] = field(repr=False, compare=False)

    @cached_property
    def hits(self) -> Hits:
        """The candidates, best first by the scores of this stage."""
        return self.read_hits()


@dataclass(frozen=True)
class Explained:
    """A search with what led to it.

    Attributes:
        hits: What ``search`` returns.
        stages: In the order in which they ran; the hits of the last are these hits.
    """

    hits: Hits
    stages: tuple[StageTrace, ...]


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        bytes_before: Of all files, before.
        bytes_after: And after it.
        pinned: Bytes that cannot be given back before a reader has ended its search or process;
            0 where nothing is pinned.
    """

    bytes_before: int
    bytes_after: int
    pinned: int


@dataclass(frozen=True)
class Stats:
    """Numbers of an index.

    Attributes:
        documents: How many there are.
        deleted: Rows that a compaction would remove.
        model: Whose vectors they are.
        full_dim: Their width.
        adapter: sha256 of the adapter that transformed them; "" without one.
        stored: How full vectors are stored.
        point: The operating point that searches use.
        parts: Of how many parts the codes are.
        uncoded: Documents that have no codes yet, and are scored from their vectors.
        outside: Share of the values added since the codecs were fitted that are outside the fitted
            ranges; None where none were added, or no codec has ranges.
        resident_bytes: Codes of the first stage, which a search has in memory.
        disk_bytes: Everything on disk: ``vector_bytes``, ``text_bytes`` and small files.
        vector_bytes: Of these, full vectors, codes, and what finds a document by its id.
        text_bytes: Of these, documents: texts, titles, metadata and their checksums.
        commits: How often the index was changed.
        generation: How often it was compacted.
    """

    documents: int
    deleted: int
    model: str
    full_dim: int
    adapter: str
    stored: Stored
    point: str
    parts: int
    uncoded: int
    outside: float | None
    resident_bytes: int
    disk_bytes: int
    vector_bytes: int
    text_bytes: int
    commits: int
    generation: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
