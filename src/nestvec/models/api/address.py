"""Names of API models, and the address that a model is called at.

A name is ``DIALECT:MODEL``, or ``DIALECT:MODEL@BASE_URL`` for a server of your choice. An index
records the second form, so that the index opens the model at the same server again.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from nestvec.errors import InvalidArgument, ModelError
from nestvec.models.api.dialect import Dialect
from nestvec.models.api.dialects import DIALECTS

_NAME = re.compile(r"(?P<dialect>[a-z]+):(?P<model>.+?)(?:@(?P<url>https?://.*))?", re.DOTALL)
_EXAMPLE = "https://embeddings.example.com/v1"


@dataclass(frozen=True)
class ApiAddress:
    """A model at an API.

    Attributes:
        dialect: The kind of API.
        model: Name of the model at the API.
        base_url: The address below which requests are sent, without a slash at the end.
        chosen: Whether the caller or the environment chose the host now. A host that only the name
            of the model contains may come from a file of another person.
    """

    dialect: Dialect
    model: str
    base_url: str
    chosen: bool

    @property
    def name(self) -> str:
        """The name that loads the model again."""
        own = self.base_url == self.dialect.base_url
        return f"{self.dialect.name}:{self.model}{'' if own else f'@{self.base_url}'}"

    @property
    def host(self) -> str:
        """Host and port; without the port if it is the default of the protocol."""
        return host_of(self.base_url)

    @property
    def is_vendor(self) -> bool:
        """Whether the server is the vendor's own, which charges for requests."""
        return bool(self.dialect.base_url) and self.host == host_of(self.dialect.base_url)

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this computer."""
        return is_loopback(urlsplit(self.base_url).hostname or "")


def is_api_name(name: str) -> bool:
    """Return whether a name begins with the name of an API, such as ``openai:``.

    >>> is_api_name("openai:text-embedding-3-large"), is_api_name("intfloat/e5-base")
    (True, False)
    """
    return name.partition(":")[0] in DIALECTS and ":" in name


def model_part(name: str) -> str:
    """Return the name of a model at its API; other names are returned unchanged.

    >>> model_part("voyage:voyage-4-large@https://HOST/v1"), model_part("intfloat/e5-base")
    ('voyage-4-large', 'intfloat/e5-base')
    """
    match = _NAME.fullmatch(name) if is_api_name(name) else None
    return name if match is None else match["model"]


def without_address(name: str) -> str:
    """Return the name of an API model without its address, to show the name in a table.

    >>> without_address("openai:my-model@https://HOST/v1")
    'openai:my-model'
    """
    return name.partition("@http")[0] if is_api_name(name) else name


def parse_name(name: str, base_url: str | None) -> ApiAddress:
    """Return the address of a model.

    Args:
        name: As in the first lines of this module.
        base_url: The address of the server; None for the one in the name, in the environment, or
            of the vendor, in this order.

    Raises:
        ModelError: If the name has no model.
        InvalidArgument: If the address is missing, not safe, or differs from the one in the name.
    """
    match = _NAME.fullmatch(name)
    if match is None or not match["model"].strip():
        raise ModelError(f"{name!r} names no model. Example: openai:text-embedding-3-large")
    dialect = DIALECTS[match["dialect"]]
    named = match["url"] and check_base_url(match["url"])
    given = base_url and check_base_url(base_url)
    if named and given and named != given:
        raise InvalidArgument(
            f"base_url={given!r} contradicts the name {name!r}. Omit one of them."
        )
    variable = os.environ.get(dialect.base_url_variable, "") if dialect.base_url_variable else ""
    chosen = given or (check_base_url(variable) if variable and not named else None)
    url = chosen or named or dialect.base_url
    if not url:
        example = f"--base-url {_EXAMPLE}"
        raise InvalidArgument(f"{name}: has no base URL. Pass base_url=... ({example}).")
    own = url == dialect.base_url
    return ApiAddress(dialect, match["model"], url, chosen=bool(chosen) or own)


def url_in_environment(dialect: Dialect) -> str | None:
    """Return the base URL that the environment sets for a dialect; None if it sets none.

    Raises:
        InvalidArgument: If the URL cannot be used.
    """
    url = os.environ.get(dialect.base_url_variable, "") if dialect.base_url_variable else ""
    return check_base_url(url) if url.strip() else None


def check_base_url(url: str) -> str:
    """Return a base URL without a slash at the end.

    Raises:
        InvalidArgument: If the URL has credentials, a query, no host, or is not encrypted and not
            on this computer.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgument(f"base_url is not a URL ({error}). Example: {_EXAMPLE}") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # The message does not repeat the URL, because the URL may contain a key.
        raise InvalidArgument(
            f"base_url for {host} contains a user, password, query or fragment. URLs are stored in "
            "files, so pass the key in an environment variable: NESTVEC_API_KEY."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidArgument(f"base_url={url!r:.80} is not an HTTP address. Example: {_EXAMPLE}")
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidArgument(
            f"base_url={url!r:.80} is not encrypted. Use https, or a server on this computer "
            "(http://127.0.0.1:PORT/v1), for example through an SSH tunnel."
        )
    return url.strip().rstrip("/")


def host_of(url: str) -> str:
    """Return host and port of a URL or of a text ``HOST[:PORT]``, in lower case.

    >>> host_of("https://API.example.com:443/v1"), host_of("http://127.0.0.1:8000/v1")
    ('api.example.com', '127.0.0.1:8000')
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{(parts.hostname or '').rstrip('.')}{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host can be reached only from the same machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
