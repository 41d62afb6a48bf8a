"""The address in a URL of a Qdrant server, and the name of a collection.

qdrant://HOST:PORT/COLLECTION
qdrant+https://HOST:PORT/COLLECTION
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from nestvec.errors import InvalidArgument
from nestvec.sources.places import Place

DEFAULT_PORT = 6_333
API_KEY = "QDRANT_API_KEY"
"""The environment variable with the API key."""
_PROTOCOLS = {"qdrant": "http", "qdrant+https": "https"}
_FORM = "Write qdrant://HOST:PORT/COLLECTION, or qdrant+https://HOST:PORT/COLLECTION."


@dataclass(frozen=True)
class QdrantAddress:
    """The address of a collection.

    Attributes:
        address: The address of the REST API: ``http://host:port``.
        name: The name of the collection or of an alias.
        shown: The URL.
    """

    address: str
    name: str
    shown: str


def parse_qdrant(url: str, parameters: tuple[str, ...]) -> tuple[QdrantAddress, Place]:
    """Parse a URL.

    Args:
        url: The URL.
        parameters: The parameters that the URL can have.

    Raises:
        InvalidArgument: If the URL is not one of the forms above, or contains credentials.
    """
    place = Place.parse(url, parameters)
    parts = urlsplit(place.url)
    if "@" in parts.netloc:  # not repeated in the message
        problem = "the URL contains credentials."
        raise InvalidArgument(f"{problem} Remove them, and set {API_KEY} to the API key.")
    if parts.query or "#" in url:  # it can be a credential, so it is not repeated
        problem = "the URL has an unknown parameter."
        raise InvalidArgument(f"{problem} Use only: {', '.join(parameters)}.")
    name = parts.path.removeprefix("/")
    if not parts.hostname or not name:
        raise InvalidArgument(f"{place.shown} names no server or no collection. {_FORM}")
    host = _with_port(parts.netloc, place.shown)
    address = f"{_PROTOCOLS[parts.scheme]}://{host}"
    return QdrantAddress(address, unquote(name), place.shown), place


def _with_port(host: str, shown: str) -> str:
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        raise InvalidArgument(f"{shown} has an invalid port. {_FORM}") from None
    return host if port else f"{host.rstrip(':')}:{DEFAULT_PORT}"
