"""Log each request as one line of JSON, without texts.

This is the outermost middleware. It answers an exception with status 500 and logs only the type
and the place of the exception, because its message may contain texts.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from random import getrandbits
from typing import TextIO

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nestvec.serve.errors import EncodingFailed, causes, failure, send_error
from nestvec.serve.metrics import Metrics

_logger = logging.getLogger("nestvec.serve")
_SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class LogRequests:
    """Middleware that logs and counts requests, adds an id, and answers exceptions."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap an application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application and log its status and time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        number = f"{getrandbits(128):032x}"
        status = 0

        async def numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", number.encode()), *_SAFE_HEADERS]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        try:
            await self._app(scope, receive, numbered)
        except Exception as error:
            _logger.error("failed", extra={"fields": {"id": number, **_kind_of(error)}})
            if status:  # the response has started, so the connection is closed
                raise
            await send_error(failure(error), scope, receive, numbered)
        finally:
            seconds = time.perf_counter() - start
            route = _route(scope)
            self._metrics.on_request(route, status, seconds)
            request = {"id": number, "method": scope["method"], "route": route}
            ended = {"status": status, "ms": round(seconds * 1000, 2)}
            _logger.info("request", extra={"fields": request | ended})


def _route(scope: Scope) -> str:
    # The pattern of the route, because a path may contain an id or a whole text.
    route = scope.get("route")
    return getattr(route, "path", None) or "unknown"


def _kind_of(error: BaseException) -> dict[str, str]:
    if isinstance(error, EncodingFailed):
        *_, error = causes(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "at": place}


class JsonLines(logging.Formatter):
    """Formats each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        values = {"time": self.formatTime(record), "level": record.levelname.lower()}
        line = {**values, "event": record.getMessage(), **getattr(record, "fields", {})}
        return orjson.dumps(line).decode()


def log_to(stream: TextIO = sys.stderr) -> None:
    """Write the log of nestvec and uvicorn to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name, level in (("nestvec", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
