"""Call the handlers of JSON requests directly, without the routing of FastAPI.

FastAPI needs as much processor time for a request as a search needs in a small index. This
middleware reads the body, validates it with the same Pydantic model, and calls the same handler. It
passes every request with an unusual header or an invalid body to FastAPI, which responds with the
error. The routes stay in the application, so the OpenAPI document lists them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import orjson
from fastapi import APIRouter, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nestvec.errors import InvalidArgument
from nestvec.serve.errors import bad_request, response
from nestvec.serve.json_body import JsonRoute
from nestvec.serve.request_body import RequestBody


@dataclass(frozen=True)
class _Direct:
    """A route that is called directly.

    Attributes:
        route: The route of FastAPI.
        body: The model of the body.
        handle: The handler, which returns a response.
    """

    route: JsonRoute
    body: type[RequestBody]
    handle: Callable[[Any], Awaitable[Response]]


class DirectRoutes:
    """Middleware that handles POST requests whose only parameter is a JSON body."""

    def __init__(self, app: ASGIApp, routers: Sequence[APIRouter]) -> None:
        """Wrap an application that has the routes of the routers."""
        self._app = app
        self._routes = {each.route.path: each for each in _direct(routers)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the handler, or pass the request to the application."""
        found = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if found is None or scope["method"] != "POST" or not _is_json(scope["headers"]):
            await self._app(scope, receive, send)
            return
        answer = await self._answer(found, scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)

    async def _answer(
        self, found: _Direct, scope: Scope, receive: Receive, send: Send
    ) -> Response | None:
        """Return the response, or None if the application has sent it."""
        try:
            messages, content = await _read(receive)
            try:
                body = None if content is None else found.body.model_validate(orjson.loads(content))
            except (orjson.JSONDecodeError, ValidationError):
                body = None
            if body is None:
                await self._app(scope, _replayed(messages, receive), send)
                return None
            scope["route"] = found.route  # for the log and the metrics
            return await found.handle(body)
        except HTTPException as error:
            return response(error)
        except InvalidArgument as error:
            return response(bad_request(str(error)))


def _direct(routers: Iterable[APIRouter]) -> Iterable[_Direct]:
    for router in routers:
        for route in router.routes:
            if not isinstance(route, JsonRoute) or route.methods != {"POST"}:
                continue
            hints = get_type_hints(route.endpoint)
            returned, (body, *others) = hints.pop("return"), hints.values()
            if returned is Response and not others and issubclass(body, RequestBody):
                yield _Direct(route, body, route.endpoint)


def _is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    types = [value for name, value in headers if name == b"content-type"]
    return len(types) == 1 and types[0].partition(b";")[0].strip().lower() == b"application/json"


async def _read(receive: Receive) -> tuple[list[Message], bytes | None]:
    """Return all messages of a request and its body; None if the client has disconnected."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body"):
        messages.append(await receive())
    if messages[-1]["type"] != "http.request":
        return messages, None
    return messages, b"".join(each.get("body", b"") for each in messages)


def _replayed(messages: Sequence[Message], receive: Receive) -> Receive:
    """Return a ``receive`` that returns messages again before new ones."""
    before = iter(messages)

    async def replay() -> Message:
        message = next(before, None)
        return await receive() if message is None else message

    return replay
