"""One client of a Qdrant server for the index of a URL."""

from __future__ import annotations

from nestvec.engines.qdrant_server.location import QdrantLocation
from nestvec.sources.qdrant_connection import CHANGE_S, QdrantServerConnection

__all__ = ["CHANGE_S", "QdrantConnection"]

LEAST_VERSION = (1, 19)
"""The first version with all parameters that nestvec sends, such as ``memory``."""


class QdrantConnection(QdrantServerConnection):
    """A client. Several threads may use it.

    Attributes:
        location: The parsed URL.
    """

    def __init__(self, location: QdrantLocation) -> None:
        """Connect, as ``QdrantServerConnection`` does.

        Raises:
            DataError: If the server cannot be reached, or is too old.
            MissingExtra: If qdrant-client is not installed.
        """
        super().__init__(location, least=LEAST_VERSION)
        self.location = location
