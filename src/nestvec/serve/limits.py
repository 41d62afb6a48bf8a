"""Limit the number, the size and the duration of requests.

This is plain ASGI middleware: it does not read bodies, it only counts their bytes.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nestvec.serve.errors import ApiError, busy, send_error
from nestvec.serve.settings import Limits

_HEALTH = ("/healthz", "/readyz", "/metrics")


class LimitRequests:
    """Middleware that rejects requests that are too many, too large or too slow."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        """Wrap an application."""
        self._app = app
        self._limits = limits
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application if it is within the limits."""
        if scope["type"] != "http" or scope["path"] in _HEALTH:
            await self._app(scope, receive, send)
        elif self._running >= self._limits.requests:
            await send_error(busy(1), scope, receive, send)
        elif _declared(scope) > self._limits.body_bytes:
            await send_error(_too_large(self._limits.body_bytes), scope, receive, send)
        else:
            self._running += 1
            try:
                await self._within_time(scope, receive, send)
            finally:
                self._running -= 1

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self._limits.timeout_s):
                await self._app(scope, _counted(receive, self._limits.body_bytes), note)
        except TimeoutError:
            if begun:  # too late for another status, so the connection is closed
                raise
            await send_error(_too_slow(self._limits.timeout_s), scope, receive, send)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def _counted(receive: Receive, limit: int) -> Receive:
    """Wrap ``receive``; raise 413 once the body is larger than the limit."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> ApiError:
    problem = f"the body is larger than {limit:,} bytes. Send fewer texts per request."
    return ApiError(413, problem, code="body_too_large")


def _too_slow(seconds: float) -> ApiError:
    problem = f"no response within {seconds:g} s. Send fewer texts per request, or retry later."
    return ApiError(503, problem, code="timeout", retry_after=5)
