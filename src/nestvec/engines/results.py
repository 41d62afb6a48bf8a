"""The results that an engine returns: search traces, sizes and statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from nestvec.engines.canaries import CanarySummary
from nestvec.engines.manifest import Settings, Stored
from nestvec.types import Hits, ModelInfo, Stage


@dataclass(frozen=True)
class PointBytes:
    """The bytes that searching by an operating point requires.

    Attributes:
        ram_per_vector: Codes that must be in memory, in bytes per vector.
        disk_per_vector: Full vectors, codes of all stages and the table of ids, in bytes per
            vector on disk.
        text_per_vector: Texts, titles, metadata and their checksums, in bytes per vector on disk.
        read_per_query: Codes or vectors that one query reads to rescore, in bytes.
    """

    ram_per_vector: float
    disk_per_vector: float
    text_per_vector: float
    read_per_query: float


@dataclass(frozen=True)
class StageTrace:
    """The result of one stage for a batch of queries.

    Attributes:
        stage: The stage: its dim, its precision and the length of its shortlist.
        kept: The number of candidates that it returned for each query.
        milliseconds: The run time of the stage.
        bytes: The bytes of codes scanned, or of codes or vectors read.
        read_hits: A function that looks up the ids of the candidates. It is called only when
            ``hits`` is read.
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
    """The hits of a search with the result of each stage.

    Attributes:
        hits: The hits that ``search`` returns.
        stages: The stages in the order in which they ran. The last stage has the same hits.
    """

    hits: Hits
    stages: tuple[StageTrace, ...]


@dataclass(frozen=True)
class Compacted:
    """The effect of a compaction.

    Attributes:
        bytes_before: Size of all files before the compaction.
        bytes_after: Size of all files after the compaction.
        pinned: Bytes that are freed only when a reader has ended its search or process.
    """

    bytes_before: int
    bytes_after: int
    pinned: int


@dataclass(frozen=True)
class Stats:
    """Counts and sizes of an index.

    Attributes:
        documents: Number of documents.
        deleted: Number of deleted rows, which a compaction would remove.
        model: Name of the model of the vectors.
        encoder: Everything that is recorded about the model that encodes texts.
        full_dim: Width of the vectors.
        adapter: SHA-256 of the adapter that transformed the vectors; "" without an adapter.
        stored: Precision of the stored vectors.
        point: Operating point of searches, in text form.
        parts: Number of parts of the codes; 0 for an engine that keeps no codes of its own.
        uncoded: Number of documents without codes, which are scored from their vectors.
        outside: Share of the values that the calibration of the codecs does not fit, among values
            added since the codecs were fitted; None if no values were added or nothing is fitted.
        resident_bytes: Bytes of the first stage's codes, which a search loads into memory.
        disk_bytes: Bytes on disk: ``vector_bytes``, ``text_bytes`` and small files.
        vector_bytes: Bytes of full vectors, codes and the table of ids.
        text_bytes: Bytes of texts, titles, metadata and their checksums.
        commits: Number of changes of the index; 0 if the engine does not count them.
        generation: Number of compactions of the index; 0 if the engine does not count them.
        settings: Settings of the search structures, with the overlap that they retain; empty if
            searches are exhaustive.
        canaries: The texts with vectors of the model, which ``nestvec check`` encodes again; None
            without any.
    """

    documents: int
    deleted: int
    model: str
    encoder: ModelInfo
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
    settings: Settings = field(default_factory=dict)
    canaries: CanarySummary | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return asdict(self)
