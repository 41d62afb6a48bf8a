"""Errors as responses in the format of the OpenAI API: ``{"error": {...}}``.

Errors of the client have a full message. The response to an internal error has a fixed message,
because the message of the error may contain texts or paths. ``code`` states whether the model
failed or the memory was exhausted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    404: "this path does not exist. See /openapi.json for all paths.",
    405: "this path does not support this method. See /openapi.json for its methods.",
}
_LONGEST = 100  # characters of client input that are repeated in a message
_RETRY_S = 5
_INVALID, _SERVER = "invalid_request_error", "server_error"


class ErrorDetail(BaseModel):
    """The message of an error, its type, the parameter at fault and a code."""

    message: str
    type: str
    param: str | None
    code: str | None


class Envelope(BaseModel):
    """An error in the format of the OpenAI API."""

    error: ErrorDetail


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for the OpenAPI document."""
    always = (401, 413, 421, 429, 500, 503)
    return {status: {"model": Envelope} for status in (*statuses, *always)}


class ApiError(HTTPException):
    """An error response with its status and the fields of the OpenAI format."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Store the fields of the response; ``retry_after`` is in seconds."""
        headers = None if retry_after is None else {"retry-after": str(retry_after)}
        super().__init__(status, message, headers)
        self.param = param
        self.code = code


def bad_request(message: str, param: str | None = None, *, code: str | None = None) -> ApiError:
    """Return the error of an invalid request."""
    return ApiError(400, message, param=param, code=code)


def busy(retry_after: int) -> ApiError:
    """Return the error of a request that meets a full queue."""
    message = f"the server is busy. Retry in {retry_after} s."
    return ApiError(429, message, code="queue_full", retry_after=retry_after)


class EncodingFailed(Exception):
    """The model raised an error, which is the cause of this exception."""


def failure(error: Exception) -> ApiError:
    """Return the response for an exception in the server."""
    if any(_is_out_of_memory(each) for each in causes(error)):
        problem = "the server has too little memory for this request"
        advice = f"Send fewer or shorter texts, or retry in {_RETRY_S} s"
        return ApiError(503, f"{problem}. {advice}.", code="out_of_memory", retry_after=_RETRY_S)
    if isinstance(error, EncodingFailed):
        problem = "the model could not encode the input. See the log of the server."
        return ApiError(500, problem, code="encoding_failed")
    return ApiError(500, "internal server error. See the log of the server.")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its cause, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_out_of_memory(error: BaseException) -> bool:
    # PyTorch raises a RuntimeError if an allocation fails, on a GPU one of a subclass.
    words = ("out of memory", "can't allocate memory")
    from_torch = isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    return from_torch or isinstance(error, MemoryError)


def response(error: HTTPException) -> Response:
    """Return an error as a response in the OpenAI format."""
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
    """Send an error for a request that did not reach a route."""
    await response(error)(scope, receive, send)


def install_handlers(app: FastAPI) -> None:
    """Make an app return every error in the OpenAI format."""

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        text = None if isinstance(error, ApiError) else _OF_ROUTING.get(error.status_code)
        return response(HTTPException(error.status_code, text, error.headers) if text else error)

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        return response(_from_validation(error.errors()))

    @app.exception_handler(InvalidArgument)
    async def of_argument(_: Request, error: InvalidArgument) -> Response:
        return response(bad_request(str(error)))


def _from_validation(errors: Any) -> ApiError:
    first: Mapping[str, Any] = errors[0]
    kind, place = first["type"], list(first["loc"])
    if kind == "json_invalid":
        return bad_request("the body is not valid JSON")
    if place == ["body"]:
        return bad_request(
            "the body is not a JSON object. Send one with Content-Type: application/json."
        )
    # The first part is the place ("body"). A part that is no identifier is a tag of a union.
    parts = [part for part in place[1:] if isinstance(part, int) or part.isidentifier()]
    param = ".".join(map(str, parts))[:_LONGEST] or None
    problem = "unknown field" if kind == "extra_forbidden" else _problem(first)
    subject = param or str(place[0] if place else "the request")
    return bad_request(f"{subject}: {problem}", param)


def _problem(error: Mapping[str, Any]) -> str:
    message: str = error["msg"]
    return message[:1].lower() + message[1:]
