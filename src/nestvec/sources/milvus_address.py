"""The address in a URL of Milvus: a server, or a file of Milvus Lite.

A path after ``milvus-lite://`` is relative unless it begins with a slash.

    milvus://USER:PASSWORD@HOST:PORT/DATABASE?collection=docs
    milvus-lite://folder/docs.db?collection=docs
    milvus:///folder/docs.db
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlencode, urlsplit

from nestvec.errors import InvalidArgument
from nestvec.sources.places import Place

DEFAULT_COLLECTION = "documents"
DEFAULT_PORT = 19_530
LITE = "milvus-lite"
_FORM = "Write milvus://HOST:PORT/DATABASE?collection=NAME or milvus-lite://FILE.db."


@dataclass(frozen=True)
class MilvusAddress:
    """The address of a server or a file.

    Attributes:
        uri: The address for the client: ``http://host:port``, or the path of Milvus Lite.
        user: The user; "" without one.
        password: The password; "" without one. It must not be stored, logged or printed.
        database: The database of the server; "" for the default.
        shown: The URL without credentials.
    """

    uri: str
    user: str
    password: str = field(repr=False)
    database: str
    shown: str

    @property
    def is_lite(self) -> bool:
        """Whether the address is a file of Milvus Lite."""
        return "://" not in self.uri


def parse_address(url: str, parameters: tuple[str, ...]) -> tuple[MilvusAddress, Place]:
    """Parse a URL.

    Args:
        url: The URL.
        parameters: The parameters that the URL can have.

    Raises:
        InvalidArgument: If the URL is not one of the forms above.
    """
    place = Place.parse(url, parameters)
    parts, own = urlsplit(place.url), place.parameters
    if parts.query:  # it can contain credentials, so it is not repeated
        known = ", ".join(parameters)
        raise InvalidArgument(f"the URL has an unknown parameter. Use only: {known}.")
    host = parts.netloc.rpartition("@")[2]
    query = f"?{urlencode(own)}" if own else ""
    shown = f"{parts.scheme}://{host}{parts.path}{query}"
    if parts.scheme == LITE or not host:
        file = unquote(host + parts.path)
        if not file.endswith(".db"):
            raise InvalidArgument(f"{shown} does not name a file of Milvus Lite. {_FORM}")
        return MilvusAddress(file, "", "", "", shown), place
    address = MilvusAddress(
        f"{'https' if own.get('tls') == 'true' else 'http'}://{_with_port(host, shown)}",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        parts.path.strip("/"),
        shown,
    )
    return address, place


def _with_port(host: str, shown: str) -> str:
    try:
        port = urlsplit(f"//{host}").port
    except ValueError:
        raise InvalidArgument(f"{shown} has an invalid port. {_FORM}") from None
    return host if port else f"{host.rstrip(':')}:{DEFAULT_PORT}"
