"""LanceDB: documents, vectors and prefixes as columns, in a folder or on object storage.

``tables`` keeps the records of indexes, ``table`` stores and searches documents. Lance returns the
candidates of the first stage, and ``rescoring`` scores them.
"""

from __future__ import annotations

from typing import ClassVar, get_args

from nestvec.engines.engine import Capabilities
from nestvec.engines.lancedb.tables import LanceTables
from nestvec.engines.manifest import Stored
from nestvec.engines.table_engine import TableEngine
from nestvec.engines.tables import DocumentTables
from nestvec.types import Precision

PRECISIONS: frozenset[Precision] = frozenset({"float32", "float16"})


class LanceEngine(TableEngine):
    """An index in a Lance table."""

    tables: ClassVar[type[DocumentTables]] = LanceTables
    default_place: ClassVar[str] = "lance://nestvec-lancedb"
    capabilities: ClassVar[Capabilities] = Capabilities(
        scanned=PRECISIONS,
        rescored=PRECISIONS,
        stored=frozenset(get_args(Stored)),
        any_point=False,
        explains=False,
        restores=False,
        approximate=True,
    )
