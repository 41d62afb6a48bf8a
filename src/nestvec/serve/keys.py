"""API keys, and which requests are let in: by the name of the server, and by key.

A key is compared in constant time, so that no answer's delay tells how much of it was right.

A page of another site can make a browser call a name of its own that leads to this machine (DNS
rebinding); it cannot make the browser say another name than that.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from nestvec.errors import DataError, InvalidArgument
from nestvec.serve.errors import ApiError, send_error

VARIABLE = "NESTVEC_API_KEYS"
_SHORTEST = 16
_OPEN = ("/healthz", "/readyz", "/")
_OPEN_FOLDERS = ("/page/",)
"""The page itself holds no documents; what it shows comes from the API."""


def read_keys(file: Path | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of a file, one a line (# begins a comment), else of the environment.

    Raises:
        DataError: If the file cannot be read or holds no key.
        InvalidArgument: If a key is too short to be one.
    """
    if file is None:
        keys = tuple(environment.get(VARIABLE, "").replace(",", " ").split())
        return _checked(keys, VARIABLE)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(file, f"cannot be read ({error})") from error
    keys = tuple(line.strip() for line in lines if line.strip() and line.strip()[0] != "#")
    if not keys:
        raise DataError(file, "holds no API key: write one a line")
    return _checked(keys, str(file))


def _checked(keys: tuple[str, ...], place: str) -> tuple[str, ...]:
    for number, key in enumerate(keys, 1):
        if len(key) < _SHORTEST or not key.isascii():
            problem = f"{place}: key {number} is not of {_SHORTEST} or more plain characters"
            raise InvalidArgument(f"{problem}: make one with `openssl rand -hex 24`")
    return keys


class Keyring:
    """Knows who may ask for what."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the keys; none lets everybody in."""
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def lets_in(self, path: str, authorization: bytes) -> bool:
        """Tell whether a request may go on.

        Args:
            path: What it asks for.
            authorization: Its header, ``Bearer KEY``.
        """
        if not self._digests or path in _OPEN or path.startswith(_OPEN_FOLDERS):
            return True
        scheme, _, key = authorization.partition(b" ")
        given = sha256(key.strip()).digest()
        # Every key is compared, whichever fits.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


class Gate:
    """Refuses requests for other names, or without a key."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[str], hosts: Sequence[str]) -> None:
        """Stand before an application.

        Args:
            app: What answers those who are let in.
            keys: Keys that are let in; none lets everybody in.
            hosts: Names that the server may be called by; none allows all.
        """
        self._app = app
        self._keyring = Keyring(keys)
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on whoever is let in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await send_error(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = dict(scope["headers"])
        host = _name(headers.get(b"host", b"").decode("latin-1"))
        if self._hosts and host not in self._hosts:
            problem = f"this server is not called {host!r}: start it with --allow-host {host}"
            return ApiError(421, problem, code="unknown_host")
        if not self._keyring.lets_in(scope["path"], headers.get(b"authorization", b"")):
            problem = "no API key, or not a known one: send it as Authorization: Bearer KEY"
            return ApiError(401, problem, code="invalid_api_key")
        return None


def _name(host: str) -> str:
    """Return a host without its port.

    >>> _name("localhost:8000"), _name("[::1]:8000"), _name("::1")
    ('localhost', '::1', '::1')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, sign, _ = host.rpartition(":")
    return (name if sign and ":" not in name else host).lower()
