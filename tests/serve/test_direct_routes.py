"""Requests that are handled without FastAPI, and those that are passed to FastAPI unchanged."""

import asyncio
import json

import pytest

from fakes import NestedHashEncoder
from made_serving import NAME
from nestvec.codec.prefix import prefix
from nestvec.serve.direct_routes import DirectRoutes
from nestvec.serve.routes_documents import documents_router
from nestvec.serve.routes_embeddings import embeddings_router
from nestvec.serve.serving import Serving
from nestvec.serve.settings import Settings

JSON = (b"content-type", b"application/json; charset=utf-8")
BODY = json.dumps({"model": NAME, "input": "read a csv file"}).encode()


@pytest.fixture
def serving(served):
    serving = Serving.start(served, Settings())
    yield serving
    serving.close()


class Fastapi:
    """Reads the body that it gets, in place of FastAPI."""

    def __init__(self):
        self.body = None

    async def __call__(self, scope, receive, send):
        self.body = b""
        while (message := await receive())["type"] == "http.request":
            self.body += message["body"]
            if not message.get("more_body"):
                break
        else:
            self.body = message["type"]
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def call(serving, messages, *, path="/v1/embeddings", method="POST", headers=(JSON,)):
    """Return the status, the content, the scope, and what FastAPI has read (None: nothing)."""
    fastapi, sent, left = Fastapi(), [], iter(messages)
    routers = [embeddings_router(serving), documents_router(serving)]
    scope = {"type": "http", "path": path, "method": method, "headers": list(headers)}

    async def receive():
        return next(left)

    async def send(message):
        sent.append(message)

    asyncio.run(DirectRoutes(fastapi, routers)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], scope, fastapi.body


def in_parts(body):
    parts = [body[:9], body[9:20], body[20:]]
    return [
        {"type": "http.request", "body": part, "more_body": part != body[20:]} for part in parts
    ]


def test_a_valid_request_does_not_reach_fastapi(serving):
    status, content, scope, read = call(serving, in_parts(BODY))
    assert (status, read, scope["route"].path) == (200, None, "/v1/embeddings")
    (line,) = json.loads(content)["data"]
    vectors = NestedHashEncoder().encode(["read a csv file"], kind="document")
    assert line["embedding"] == pytest.approx(prefix(vectors, 64)[0].tolist(), abs=1e-6)


@pytest.mark.parametrize(
    "body", [b'{"input": "not JSON', b'["no object", "but a list"]', b"{}" * 20]
)
def test_an_invalid_body_reaches_fastapi_unchanged(serving, body):
    status, _, _, read = call(serving, in_parts(body.ljust(30)))
    assert (status, read) == (299, body.ljust(30))


@pytest.mark.parametrize(
    "different",
    [
        {"headers": [(b"content-type", b"text/plain")]},
        {"headers": []},
        {"headers": [JSON, JSON]},
        {"method": "GET"},
        {"path": "/v1/models"},
        {"path": "/v1/documents/d1"},
    ],
)
def test_other_requests_reach_fastapi(serving, different):
    status, _, _, read = call(serving, in_parts(BODY), **different)
    assert (status, read) == (299, BODY)


def test_a_disconnect_reaches_fastapi(serving):
    messages = [*in_parts(BODY)[:2], {"type": "http.disconnect"}]
    assert call(serving, messages)[3] == "http.disconnect"


def test_errors_of_a_handler_have_the_format_of_the_api(serving):
    body = json.dumps({"model": "another", "input": "read a csv file"}).encode()
    status, content, _, read = call(serving, in_parts(body))
    assert (status, read) == (404, None)
    assert json.loads(content)["error"]["code"] == "model_not_found"
