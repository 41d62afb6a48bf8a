"""Milvus: a collection of full vectors, and one of prefixes for the first stage.

``tables`` keeps the records of indexes, ``table`` changes and reads documents, ``prefixes`` keeps
the prefixes equal to the documents, and ``candidates`` searches.
"""

from __future__ import annotations

from typing import ClassVar, get_args

from nestvec.engines.engine import Capabilities
from nestvec.engines.manifest import Stored
from nestvec.engines.milvus.tables import MilvusTables
from nestvec.engines.table_engine import TableEngine
from nestvec.engines.tables import DocumentTables
from nestvec.types import Precision

PRECISIONS: frozenset[Precision] = frozenset({"float32", "float16"})
"""Milvus 2.3 stores float32; vectors of float16 are stored with the values of float16."""


class MilvusEngine(TableEngine):
    """An index in Milvus or Milvus Lite."""

    tables: ClassVar[type[DocumentTables]] = MilvusTables
    default_place: ClassVar[str] = "milvus://127.0.0.1:19530"
    capabilities: ClassVar[Capabilities] = Capabilities(
        scanned=PRECISIONS,
        rescored=PRECISIONS,
        stored=frozenset(get_args(Stored)),
        any_point=False,
        explains=False,
        restores=False,
        approximate=True,
    )
