"""One line of JSON for each request: what was asked for, never with which texts.

The outermost part of a server. What fails inside is answered here with a 500 that tells nothing,
and logged by its kind and place: an error's words may hold texts.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import TextIO
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nestvec.serve.errors import failed, send_error
from nestvec.serve.metrics import Metrics

_logger = logging.getLogger("nestvec.serve")
_SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class LogRequests:
    """Logs, counts and numbers requests, and answers for what failed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Stand before an application."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and write down how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        number = uuid4().hex
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
            if status:  # an answer had begun: the connection is cut
                raise
            await send_error(failed(), scope, receive, numbered)
        finally:
            seconds = time.perf_counter() - start
            route = _route(scope)
            self._metrics.on_request(route, status, seconds)
            asked = {"id": number, "method": scope["method"], "route": route}
            ended = {"status": status, "ms": round(seconds * 1000, 2)}
            _logger.info("request", extra={"fields": asked | ended})


def _route(scope: Scope) -> str:
    # The route's own text, as what a client writes there may be an id or a whole text.
    route = scope.get("route")
    return getattr(route, "path", None) or "unknown"


def _kind_of(error: BaseException) -> dict[str, str]:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return {"error": type(error).__name__, "at": place}


class JsonLines(logging.Formatter):
    """Writes records as JSON, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one."""
        values = {"time": self.formatTime(record), "level": record.levelname.lower()}
        return json.dumps({**values, "event": record.getMessage(), **getattr(record, "fields", {})})


def log_to(stream: TextIO = sys.stderr) -> None:
    """Let the log of a server, and of all that it uses, be written."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name, level in (("nestvec", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
