"""The URLs of databases and object storage from which vectors are read, by their schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nestvec.sources.lance_tables import open_lance
from nestvec.sources.milvus_collections import open_milvus
from nestvec.sources.parquet_objects import open_objects
from nestvec.sources.places import is_url
from nestvec.sources.postgresql import open_postgresql
from nestvec.sources.qdrant_points import open_qdrant, open_qdrant_edge
from nestvec.sources.stream import Columns, VectorStream

_OPENERS: Mapping[str, Callable[[str, Columns], VectorStream]] = {
    "postgresql": open_postgresql,
    "postgres": open_postgresql,
    "lance": open_lance,
    "s3": open_objects,
    "milvus": open_milvus,
    "milvus-lite": open_milvus,
    "qdrant-edge": open_qdrant_edge,
    "qdrant": open_qdrant,
    "qdrant+https": open_qdrant,
}


def is_vectors_url(place: object) -> bool:
    """Return whether a place is the URL of a database or of object storage with vectors."""
    return isinstance(place, str) and is_url(place) and _scheme(place) in _OPENERS


def open_url(url: str, columns: Columns) -> VectorStream:
    """Open the vectors of a URL for which ``is_vectors_url`` is true.

    Raises:
        InvalidArgument: If the URL cannot be parsed, or names no table.
        DataError: If the database cannot be reached, or there is no such table or column.
        MissingExtra: If the client of the database is not installed.
    """
    return _OPENERS[_scheme(url)](url, columns)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()
