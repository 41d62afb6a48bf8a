"""Routes that parse JSON bodies with orjson, which is fast and strict.

Unlike the ``json`` module of Python, orjson rejects NaN and unpaired surrogates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute


class _JsonRequest(Request):
    async def json(self) -> Any:
        """Parse the body."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A route that parses its body with orjson."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler of FastAPI."""
        handle = super().get_route_handler()

        async def read_strictly(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read_strictly


def json_response(content: Any) -> Response:
    """Return plain values and NumPy arrays as a JSON response."""
    try:
        text = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # metadata of a document contain an integer of more than 64 bits
        text = json.dumps(content).encode()
    return Response(text, media_type="application/json")
