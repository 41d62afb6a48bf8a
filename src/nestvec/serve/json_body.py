"""Routes whose bodies are read by orjson: fast, and strict about what JSON is.

It refuses NaN and half surrogate pairs, which Python's own reader lets in.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute


class _JsonRequest(Request):
    async def json(self) -> Any:
        """Read the body."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A route that reads its body so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler that FastAPI makes."""
        handle = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read_strictly


def json_response(content: Any) -> Response:
    """Write plain values and NumPy arrays as JSON."""
    text = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(text, media_type="application/json")
