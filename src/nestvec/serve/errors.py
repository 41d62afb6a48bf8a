"""What goes wrong, as OpenAI's clients expect to read it: ``{"error": {...}}``.

A person's mistake is told in full; a failure of ours only by its status, as its words may hold
texts or paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from nestvec.errors import InvalidArgument

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
_OF_ROUTING = {
    404: "there is nothing at this path: /openapi.json says what there is",
    405: "this path is not asked by this method: /openapi.json says by which",
}
_LONGEST = 100  # characters of a client's own words that are said again
_INVALID, _SERVER = "invalid_request_error", "server_error"


class ErrorDetail(BaseModel):
    """What was wrong, and where."""

    message: str
    type: str
    param: str | None
    code: str | None


class Envelope(BaseModel):
    """An error as OpenAI's clients read it."""

    error: ErrorDetail


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Say in the OpenAPI document how a route may end beside well."""
    always = (401, 413, 421, 429, 500, 503)
    return {status: {"model": Envelope} for status in (*statuses, *always)}


class ApiError(HTTPException):
    """A refusal with its status and what OpenAI's envelope says of it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Keep what the envelope needs; ``retry_after`` is in seconds."""
        headers = None if retry_after is None else {"retry-after": str(retry_after)}
        super().__init__(status, message, headers)
        self.param = param
        self.code = code


def refused(message: str, param: str | None = None, *, code: str | None = None) -> ApiError:
    """Return the error of a request that asks for what cannot be."""
    return ApiError(400, message, param=param, code=code)


def busy(retry_after: int) -> ApiError:
    """Return the error of a request that finds the queue full."""
    message = f"the server is busy: try again in {retry_after} s"
    return ApiError(429, message, code="queue_full", retry_after=retry_after)


def failed() -> ApiError:
    """Return the error of a request that met a failure of ours."""
    return ApiError(500, "the server failed to answer this request; its log has more")


def response(error: HTTPException) -> Response:
    """Write an error in OpenAI's envelope."""
    status = error.status_code
    kind = _TYPES.get(status, _SERVER if status >= 500 else _INVALID)
    values = {
        "message": error.detail,
        "type": kind,
        "param": getattr(error, "param", None),
        "code": getattr(error, "code", None),
    }
    content = orjson.dumps({"error": values})
    return Response(content, status, dict(error.headers or {}), "application/json")


async def send_error(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that did not reach a route."""
    await response(error)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Let every error of an app come in the envelope."""

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        words = None if isinstance(error, ApiError) else _OF_ROUTING.get(error.status_code)
        return response(HTTPException(error.status_code, words, error.headers) if words else error)

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        return response(_from_validation(error.errors()))

    @app.exception_handler(InvalidArgument)
    async def of_argument(_: Request, error: InvalidArgument) -> Response:
        return response(refused(str(error)))


def _from_validation(errors: Any) -> ApiError:
    first: Mapping[str, Any] = errors[0]
    kind, place = first["type"], list(first["loc"])
    if kind == "json_invalid":
        return refused("the body is not JSON")
    if place == ["body"]:
        return refused("send a JSON object as the body, with Content-Type: application/json")
    # The first part says where ("body"); what is no name marks a form that a value may have.
    parts = [part for part in place[1:] if isinstance(part, int) or part.isidentifier()]
    param = ".".join(map(str, parts))[:_LONGEST] or None
    words = "is not known here" if kind == "extra_forbidden" else _words(first)
    subject = param or str(place[0] if place else "the request")
    return refused(f"{subject}: {words}", param)


def _words(error: Mapping[str, Any]) -> str:
    message: str = error["msg"]
    return message[:1].lower() + message[1:]
