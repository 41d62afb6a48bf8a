"""Who is let in: by the name that the server is called by, and by key.

A page of another site can make a browser call a name of its own that leads to this machine (DNS
rebinding); it cannot make the browser say another name than that.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from nestvec.serve.errors import ApiError, send_error
from nestvec.serve.keys import Keyring


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
