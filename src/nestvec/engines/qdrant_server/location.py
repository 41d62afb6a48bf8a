"""The URL of an index in a Qdrant server.

qdrant://HOST:PORT/COLLECTION?quantization=int8
qdrant+https://HOST:PORT/COLLECTION
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from nestvec.engines.places import Place, check_name
from nestvec.engines.qdrant.indexing import check_quantization
from nestvec.errors import InvalidArgument

DEFAULT_PORT = 6_333
API_KEY = "QDRANT_API_KEY"
"""The environment variable with the API key."""
_PROTOCOLS = {"qdrant": "http", "qdrant+https": "https"}
_PARAMETERS = ("quantization",)
_FORM = "Write qdrant://HOST:PORT/COLLECTION, or qdrant+https://HOST:PORT/COLLECTION."


@dataclass(frozen=True)
class QdrantLocation:
    """A parsed URL.

    Attributes:
        address: The address of the REST API: ``http://host:port``.
        name: The name of the index.
        quantization: The quantization that the URL requests; "" without one.
        shown: The URL.
    """

    address: str
    name: str
    quantization: str
    shown: str

    @classmethod
    def parse(cls, url: str) -> QdrantLocation:
        """Parse a URL.

        Raises:
            InvalidArgument: If the URL is not one of the forms above, or contains credentials.
        """
        place = Place.parse(url, _PARAMETERS)
        parts = urlsplit(place.url)
        if "@" in parts.netloc:  # not repeated in the message
            problem = "the URL contains credentials."
            raise InvalidArgument(f"{problem} Remove them, and set {API_KEY} to the API key.")
        if parts.query or "#" in url:  # it can be a credential, so it is not repeated
            problem = "the URL has an unknown parameter."
            raise InvalidArgument(f"{problem} Use only: {', '.join(_PARAMETERS)}.")
        name = parts.path.removeprefix("/")
        if not parts.hostname or not name:
            raise InvalidArgument(f"{place.shown} names no server or no collection. {_FORM}")
        quantization = place.parameters.get("quantization")
        return cls(
            f"{_PROTOCOLS[parts.scheme]}://{_with_port(parts.netloc, place.shown)}",
            check_name(name, "collection"),
            "" if quantization is None else check_quantization(quantization),
            place.shown,
        )


def _with_port(host: str, shown: str) -> str:
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        raise InvalidArgument(f"{shown} has an invalid port. {_FORM}") from None
    return host if port else f"{host.rstrip(':')}:{DEFAULT_PORT}"
