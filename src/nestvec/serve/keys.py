"""Access control: API keys and allowed host names.

Keys are compared in constant time, so that response times do not reveal a part of a key.

Checking the host name prevents DNS rebinding: the page of another site can point its own host name
to this machine, but the browser then sends that name in the ``Host`` header.
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
"""Files of the page need no key: they contain no documents, which come from the API."""


def read_keys(file: Path | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of a file, or without a file the keys of the environment variable.

    The file has one key per line; lines that start with ``#`` are comments.

    Raises:
        DataError: If the file cannot be read or has no key.
        InvalidArgument: If a key is too short or not ASCII.
    """
    if file is None:
        keys = tuple(environment.get(VARIABLE, "").replace(",", " ").split())
        return _checked(keys, VARIABLE)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(file, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(file, f"is not UTF-8 ({error.reason})") from error
    keys = tuple(line.strip() for line in lines if line.strip() and line.strip()[0] != "#")
    if not keys:
        raise DataError(file, "has no API key. Write one key per line.")
    return _checked(keys, str(file))


def _checked(keys: tuple[str, ...], place: str) -> tuple[str, ...]:
    for number, key in enumerate(keys, 1):
        if len(key) < _SHORTEST or not key.isascii():
            problem = f"{place}: key {number} has fewer than {_SHORTEST} characters or is not ASCII"
            raise InvalidArgument(f"{problem}. Generate a key with `openssl rand -hex 24`.")
    return keys


class Keyring:
    """Checks API keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Store digests of the keys; without keys, every request is allowed."""
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def allows(self, path: str, authorization: bytes) -> bool:
        """Return whether a request is allowed.

        Args:
            path: Path of the request.
            authorization: Its Authorization header, ``Bearer KEY``.
        """
        if not self._digests or path in _OPEN or path.startswith(_OPEN_FOLDERS):
            return True
        scheme, _, key = authorization.partition(b" ")
        given = sha256(key.strip()).digest()
        # Every key is compared, also after a match, so that the time does not depend on the keys.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


class AccessControl:
    """Middleware that rejects requests with an unknown host name or without a valid key."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[str], hosts: Sequence[str]) -> None:
        """Wrap an application.

        Args:
            app: The application.
            keys: Accepted keys; without keys, every request is accepted.
            hosts: Accepted host names; empty accepts all.
        """
        self._app = app
        self._keyring = Keyring(keys)
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request to the application; otherwise send an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = self._check(scope)
        if error is None:
            await self._app(scope, receive, send)
        else:
            await send_error(error, scope, receive, send)

    def _check(self, scope: Scope) -> ApiError | None:
        headers = dict(scope["headers"])
        host = _name(headers.get(b"host", b"").decode("latin-1"))
        if self._hosts and host not in self._hosts:
            problem = f"host {host!r} is not allowed. Start the server with --allow-host {host}."
            return ApiError(421, problem, code="unknown_host")
        if not self._keyring.allows(scope["path"], headers.get(b"authorization", b"")):
            problem = "the API key is missing or wrong. Send Authorization: Bearer KEY."
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
