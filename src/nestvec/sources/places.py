"""The URL of a table in a database: its credentials, and the parameters that nestvec reads.

``postgresql://user:password@host/database?table=docs&sslmode=require`` has credentials, a parameter
of nestvec (``table``) and a parameter of the database's own client (``sslmode``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from nestvec.errors import InvalidArgument

COLUMN_PARAMETERS = ("id", "vector")
"""Parameters that name the columns of ids and of vectors."""
TABLE_PARAMETERS = ("table", "id", "vector", "text", "title", "metadata")
"""Parameters that name an existing table and its columns."""
_SHOWN_PARAMETERS = (*TABLE_PARAMETERS, "collection")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True)
class Place:
    """A parsed URL.

    Attributes:
        url: The URL with its credentials, without the parameters that nestvec reads. It must not
            be stored, logged or printed.
        shown: The URL without credentials.
        parameters: The parameters that nestvec reads, by name.
    """

    url: str
    shown: str
    parameters: Mapping[str, str]

    def __repr__(self) -> str:
        """Show the URL without credentials."""
        return f"Place({self.shown!r})"

    @classmethod
    def parse(cls, url: str, parameters: Iterable[str]) -> Place:
        """Split a URL.

        Args:
            url: The URL.
            parameters: The names of the parameters that nestvec reads. Other parameters remain
                part of ``url`` and are not shown: they can be credentials, too.

        Raises:
            InvalidArgument: If the URL cannot be parsed, or repeats a parameter.
        """
        try:
            parts = urlsplit(url)
            # Others remain as written: clients differ in what they decode, such as "+".
            written = [each for each in parts.query.split("&") if each]
            pairs = [(each, *parse_qsl(each, keep_blank_values=True)[0]) for each in written]
        except ValueError:
            problem = "the URL cannot be parsed."
            raise InvalidArgument(f"{problem} Write it as scheme://host/name.") from None
        own = [(name, value) for _, name, value in pairs if name in set(parameters)]
        if len(dict(own)) != len(own):
            names = ", ".join(name for name, _ in own)
            raise InvalidArgument(f"the URL repeats a parameter: {names}. Write each name once.")
        others = "&".join(each for each, name, _ in pairs if name not in dict(own))
        host = parts.netloc.rpartition("@")[2]
        shown = f"{parts.scheme}://{host}{parts.path}"  # urlunsplit omits an empty host
        return cls(
            urlunsplit((parts.scheme, parts.netloc, parts.path, others, "")),
            f"{shown}?{urlencode(own)}" if own else shown,
            dict(own),
        )


def is_url(place: object) -> bool:
    """Return whether a place is a URL, and not the path of a folder."""
    return isinstance(place, str) and _SCHEME.match(place) is not None


def table_name(place: str) -> str:
    """Return the name of the table of a URL, or a place without a table unchanged.

    >>> table_name("postgresql://localhost/shop?table=docs")
    'docs'
    """
    if not is_url(place):
        return place
    found = Place.parse(place, _SHOWN_PARAMETERS).parameters
    return found.get("table") or found.get("collection") or shown_place(place)


def shown_place(place: Path | str) -> str:
    """Return a place as text: a URL without credentials or parameters that may be credentials."""
    text = str(place)
    return Place.parse(text, _SHOWN_PARAMETERS).shown if is_url(text) else text
