"""The URL of an index in Milvus: a server, or a file of Milvus Lite.

A path after ``milvus-lite://`` is relative unless it begins with a slash.

    milvus://USER:PASSWORD@HOST:PORT/DATABASE?collection=docs
    milvus-lite://folder/docs.db?collection=docs
    milvus:///folder/docs.db
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlencode, urlsplit

from nestvec.engines.places import Place, check_name
from nestvec.errors import InvalidArgument

DEFAULT_COLLECTION = "documents"
DEFAULT_PORT = 19_530
LITE = "milvus-lite"
LEVELS = {"strong": "Strong", "session": "Session"}
"""The consistency of searches: by the parameter of the URL, the name in Milvus."""
_PARAMETERS = ("collection", "consistency", "tls")
_FORM = "Write milvus://HOST:PORT/DATABASE?collection=NAME or milvus-lite://FILE.db."


@dataclass(frozen=True)
class Location:
    """A parsed URL.

    Attributes:
        uri: The address for the client: ``http://host:port``, or the path of Milvus Lite.
        user: The user; "" without one.
        password: The password; "" without one. It must not be stored, logged or printed.
        database: The database of the server; "" for the default.
        name: The name of the index.
        level: The consistency level of searches, as Milvus names it.
        shown: The URL without credentials.
    """

    uri: str
    user: str
    password: str = field(repr=False)
    database: str
    name: str
    level: str
    shown: str

    @property
    def is_lite(self) -> bool:
        """Whether the location is a file of Milvus Lite."""
        return "://" not in self.uri

    @classmethod
    def parse(cls, url: str) -> Location:
        """Parse a URL.

        Raises:
            InvalidArgument: If the URL is not one of the forms above.
        """
        place = Place.parse(url, _PARAMETERS)
        parts, own = urlsplit(place.url), place.parameters
        if parts.query:  # it can contain credentials, so it is not repeated
            known = ", ".join(_PARAMETERS)
            raise InvalidArgument(f"the URL has an unknown parameter. Use only: {known}.")
        name = check_name(own.get("collection", DEFAULT_COLLECTION), "collection")
        level = own.get("consistency", "strong")
        if level not in LEVELS:
            problem = f"consistency={level!r:.40} is not supported."
            raise InvalidArgument(f"{problem} Choose one of: {', '.join(LEVELS)}.")
        host = parts.netloc.rpartition("@")[2]
        query = f"?{urlencode(own)}" if own else ""
        shown = f"{parts.scheme}://{host}{parts.path}{query}"
        if parts.scheme == LITE or not host:
            file = unquote(host + parts.path)
            if not file.endswith(".db"):
                raise InvalidArgument(f"{shown} does not name a file of Milvus Lite. {_FORM}")
            return cls(file, "", "", "", name, LEVELS[level], shown)
        return cls(
            f"{'https' if own.get('tls') == 'true' else 'http'}://{_address(host, shown)}",
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            parts.path.strip("/"),
            name,
            LEVELS[level],
            shown,
        )


def _address(host: str, shown: str) -> str:
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        raise InvalidArgument(f"{shown} has an invalid port. {_FORM}") from None
    return host if port else f"{host.rstrip(':')}:{DEFAULT_PORT}"
