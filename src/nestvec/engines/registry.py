"""Find an engine by its name, or by the path or URL of an index.

An engine is imported when it is first used. A package adds an engine by an entry point in the
group ``nestvec.engines``. The entry point's name is both the name of the engine and its URL
scheme; the value is ``module:Class``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple, cast

from nestvec.engines.engine import Capabilities, Engine
from nestvec.engines.places import is_url
from nestvec.errors import InvalidArgument, MissingExtra

ENTRY_POINTS = "nestvec.engines"
LOCAL = "embedded"
"""The engine of paths: places without a URL scheme."""

_BUILT_IN = {
    LOCAL: "nestvec.engines.embedded.engine:EmbeddedEngine",
    "lancedb": "nestvec.engines.lancedb.engine:LanceEngine",
    "milvus": "nestvec.engines.milvus.engine:MilvusEngine",
    "pgvector": "nestvec.engines.pgvector.engine:PgvectorEngine",
    "qdrant": "nestvec.engines.qdrant.engine:QdrantEdgeEngine",
    "qdrant-server": "nestvec.engines.qdrant_server.engine:QdrantServerEngine",
}
_SCHEMES = {
    "lance": "lancedb",
    "s3": "lancedb",
    "milvus": "milvus",
    "milvus-lite": "milvus",
    "postgresql": "pgvector",
    "postgres": "pgvector",
    "qdrant": "qdrant-server",
    "qdrant+https": "qdrant-server",
    "qdrant-edge": "qdrant",
}
"""The built-in engines by URL scheme. The scheme of another engine is its name."""
_SCHEME = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9+.-]*)://")


@cache
def engines() -> Mapping[str, str]:
    """Return ``module:Class`` of every installed engine, by name."""
    others = {found.name: found.value for found in entry_points(group=ENTRY_POINTS)}
    return others | _BUILT_IN  # an entry point cannot replace a built-in engine


@cache
def engine_class(name: str) -> type[Engine]:
    """Import an engine.

    Raises:
        InvalidArgument: If there is no such engine.
        MissingExtra: If it cannot be imported.
    """
    if name not in engines():
        known = ", ".join(sorted(engines()))
        raise InvalidArgument(f"engine {name!r} is not installed. Choose one of: {known}.")
    module, _, attribute = engines()[name].partition(":")
    try:
        return cast("type[Engine]", getattr(import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        problem = f"engine {name} cannot be imported ({error}). Reinstall its package."
        raise MissingExtra(problem) from error


def capabilities(name: str) -> Capabilities:
    """Return the capabilities of an engine.

    Raises:
        InvalidArgument: If there is no such engine.
        MissingExtra: If it cannot be imported.
    """
    return engine_class(name).capabilities


def engine_name(place: Path | str) -> str:
    """Return the name of the engine for a path or URL.

    >>> engine_name("notes/index")
    'embedded'

    Raises:
        InvalidArgument: If no engine is installed for the URL's scheme.
    """
    scheme = _SCHEME.match(str(place)) if isinstance(place, str) else None
    if scheme is None:
        return LOCAL
    written, known = scheme["name"].lower(), _schemes()
    if written not in known:
        listed = ", ".join(f"{each}://" for each in sorted(known))
        problem = f"no engine is installed for {written}://."
        remedy = f"Pass the path of an index folder, or a URL that begins with {listed}."
        raise InvalidArgument(f"{problem} {remedy}")
    return known[written]


def engine_at(place: Path | str) -> type[Engine]:
    """Import the engine for a path or URL.

    Raises:
        InvalidArgument: If no engine is installed for the URL's scheme.
        MissingExtra: If it cannot be imported.
    """
    return engine_class(engine_name(place))


class NamedEngine(NamedTuple):
    """An engine, and the database that it uses.

    Attributes:
        name: The name of the engine.
        kind: Its class.
        place: The URL of a database; None for the engine's default.
    """

    name: str
    kind: type[Engine]
    place: str | None


def named_engine(text: str) -> NamedEngine:
    """Import the engine of a name or of a URL.

    Raises:
        InvalidArgument: If there is no such engine.
        MissingExtra: If it cannot be imported.
    """
    place = text if is_url(text) else None
    name = text if place is None else engine_name(text)
    return NamedEngine(name, engine_class(name), place)


def open_engine(place: Path | str, *, verify: bool = False) -> Engine:
    """Open an index by its path or URL, as ``Engine.open`` does."""
    return engine_at(place).open(str(place), verify=verify)


def _schemes() -> Mapping[str, str]:
    """Return the engine of each URL scheme."""
    return {name: name for name in engines() if name not in _BUILT_IN} | _SCHEMES
