"""Qdrant Edge: named vectors of an embedded shard, and one graph for the first stage.

``tables`` has the folders and records of indexes, ``table`` stores and searches documents, and
``searching`` runs the stages. ``requests`` writes the queries in the form of Qdrant's REST API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar, get_args

from nestvec.engines.engine import Capabilities
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Stored
from nestvec.engines.qdrant.tables import SCHEME, EdgeTables
from nestvec.engines.scratch import ScratchTrial
from nestvec.engines.table_engine import TableEngine
from nestvec.engines.tables import DocumentTables
from nestvec.types import Document, Precision

PRECISIONS: frozenset[Precision] = frozenset({"float32", "float16"})
CAPABILITIES = Capabilities(
    scanned=PRECISIONS,
    rescored=PRECISIONS,
    stored=frozenset(get_args(Stored)),
    any_point=False,
    explains=False,
    restores=False,
    approximate=True,
)


class QdrantEdgeEngine(TableEngine):
    """An index in a folder of Qdrant Edge. One process can open it; its threads share it."""

    tables: ClassVar[type[DocumentTables]] = EdgeTables
    default_place: ClassVar[str] = f"{SCHEME}://nestvec"
    capabilities: ClassVar[Capabilities] = CAPABILITIES

    @classmethod
    def trial(
        cls,
        corpus: Representations,
        ids: Sequence[str],
        documents: Mapping[str, Document],
        *,
        place: str | None = None,
    ) -> ScratchTrial:
        """Prepare the search over vectors, as ``Engine.trial`` does.

        Args:
            corpus: As in ``Engine.trial``.
            ids: As in ``Engine.trial``.
            documents: As in ``Engine.trial``.
            place: A URL; temporary indexes are created next to its folder. None for the folder of
                temporary files.
        """
        temporary = f"{SCHEME}://{Path(gettempdir()) / 'nestvec'}"
        return super().trial(corpus, ids, documents, place=place or temporary)
