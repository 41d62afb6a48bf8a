"""What an index can say of itself in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nestvec.engines.embedded.manifest import Stored


@dataclass(frozen=True)
class Stats:
    """Numbers of an index.

    Attributes:
        documents: How many there are.
        deleted: Rows that a compaction would remove.
        model: Whose vectors they are.
        full_dim: Their width.
        adaptor: sha256 of what they went through; "" where they are as the model gives them.
        stored: How full vectors are kept.
        point: How they are searched.
        parts: Of how many parts the codes are.
        uncoded: Documents that have no codes yet, and are scored from their vectors.
        outside: Share of the values added since that stand outside the ranges that codecs were
            fitted on; None where none were added, or no codec has learnt ranges.
        resident_bytes: Codes of the first stage, which a search has in memory.
        disk_bytes: All files.
        commits: How often the index was changed.
        generation: How often it was compacted.
    """

    documents: int
    deleted: int
    model: str
    full_dim: int
    adaptor: str
    stored: Stored
    point: str
    parts: int
    uncoded: int
    outside: float | None
    resident_bytes: int
    disk_bytes: int
    commits: int
    generation: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
