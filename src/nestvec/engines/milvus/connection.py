"""One client of Milvus for the index of a URL."""

from __future__ import annotations

from nestvec.engines.milvus.location import Location
from nestvec.sources.milvus_connection import (
    CALL_S,
    STRONG,
    MilvusConnection,
    MissingCollection,
)

__all__ = ["CALL_S", "STRONG", "Connection", "MissingCollection"]


class Connection(MilvusConnection):
    """A client. Several threads may use it.

    Attributes:
        location: The parsed URL.
    """

    def __init__(self, location: Location) -> None:
        """Connect, as ``MilvusConnection`` does."""
        super().__init__(location)
        self.location = location
