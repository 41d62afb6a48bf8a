"""PostgreSQL with pgvector: one stored vector, and one index for the first stage.

``tables`` connects and keeps the records of indexes, ``table`` stores and searches documents, and
``statements`` writes the SQL of a search. All stages run in one statement.
"""

from __future__ import annotations

from typing import ClassVar, get_args

from nestvec.engines.engine import Capabilities
from nestvec.engines.manifest import Stored
from nestvec.engines.pgvector.tables import PostgresTables
from nestvec.engines.table_engine import TableEngine
from nestvec.engines.tables import DocumentTables
from nestvec.types import Precision

PRECISIONS: frozenset[Precision] = frozenset({"float32", "float16", "sign"})
"""``vector``, ``halfvec`` and ``bit``."""


class PgvectorEngine(TableEngine):
    """An index in a PostgreSQL table."""

    tables: ClassVar[type[DocumentTables]] = PostgresTables
    default_place: ClassVar[str] = "postgresql://"
    capabilities: ClassVar[Capabilities] = Capabilities(
        scanned=PRECISIONS,
        rescored=PRECISIONS,
        stored=frozenset(get_args(Stored)),
        explains=False,
        restores=False,
        approximate=True,
    )
