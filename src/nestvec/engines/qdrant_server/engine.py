"""A Qdrant server: named vectors of a collection, and one graph for the first stage.

The bodies of requests, the filters and the search are those of Qdrant Edge, see ``engines.qdrant``.
``tables`` has the collections and records of indexes, ``collection`` sends requests, and ``table``
handles the changes of other processes.
"""

from __future__ import annotations

from typing import ClassVar

from nestvec.engines.engine import Capabilities
from nestvec.engines.qdrant.engine import CAPABILITIES
from nestvec.engines.qdrant_server.tables import ServerTables
from nestvec.engines.table_engine import TableEngine
from nestvec.engines.tables import DocumentTables


class QdrantServerEngine(TableEngine):
    """An index in a Qdrant server."""

    tables: ClassVar[type[DocumentTables]] = ServerTables
    default_place: ClassVar[str] = "qdrant://127.0.0.1:6333/nestvec"
    capabilities: ClassVar[Capabilities] = CAPABILITIES
