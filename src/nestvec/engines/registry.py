"""Find an engine by its name, or by the URL of a place; import it only then.

Another package adds an engine by an entry point of the group ``nestvec.engines``, whose name is
the engine's name and its URL scheme, and whose value is ``module:Class``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from nestvec.engines.engine import Capabilities, Engine
from nestvec.errors import InvalidArgument, MissingExtra

ENTRY_POINTS = "nestvec.engines"
LOCAL = "embedded"
"""The engine of a place without a URL scheme."""

_OWN = {LOCAL: "nestvec.engines.embedded.engine:EmbeddedEngine"}
_SCHEME = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9+.-]*)://")


@cache
def engines() -> Mapping[str, str]:
    """Return ``module:Class`` of every engine that is installed, by name."""
    others = {found.name: found.value for found in entry_points(group=ENTRY_POINTS)}
    return others | _OWN  # no package replaces an engine of nestvec


@cache
def engine_class(name: str) -> type[Engine]:
    """Import an engine.

    Raises:
        InvalidArgument: If there is no such engine.
        MissingExtra: If it cannot be imported.
    """
    if name not in engines():
        raise InvalidArgument(f"engine {name!r} is not one of {', '.join(sorted(engines()))}")
    module, _, attribute = engines()[name].partition(":")
    try:
        return cast("type[Engine]", getattr(import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise MissingExtra(f"engine {name} cannot be imported ({error})") from error


def capabilities(name: str) -> Capabilities:
    """Return what an engine can do.

    Raises:
        InvalidArgument: If there is no such engine.
        MissingExtra: If it cannot be imported.
    """
    return engine_class(name).capabilities


def engine_name(place: Path | str) -> str:
    """Return the name of the engine that keeps a place: a path or a URL.

    >>> engine_name("notes/index")
    'embedded'

    Raises:
        InvalidArgument: If no engine is installed for the URL's scheme.
    """
    scheme = _SCHEME.match(str(place)) if isinstance(place, str) else None
    if scheme is None:
        return LOCAL
    name = scheme["name"].lower()
    if name == LOCAL or name not in engines():
        known = ", ".join(f"{each}://" for each in sorted(engines()) if each != LOCAL)
        others = f" or a URL that begins with {known}" if known else ""
        problem = f"no engine is installed for {name}://"
        raise InvalidArgument(f"{problem}: give the path of an index folder{others}")
    return name


def engine_at(place: Path | str) -> type[Engine]:
    """Return the engine that keeps a place.

    Raises:
        InvalidArgument: If no engine is installed for the URL's scheme.
        MissingExtra: If it cannot be imported.
    """
    return engine_class(engine_name(place))


def open_engine(place: Path | str, *, verify: bool = False) -> Engine:
    """Open the index at a place, as ``Engine.open`` does."""
    return engine_at(place).open(str(place), verify=verify)
