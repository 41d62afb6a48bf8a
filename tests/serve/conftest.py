"""Servers of made things: applications called directly, and real ones behind a port."""

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from fakes import NestedHashEncoder
from made_serving import demo_like
from nestvec.serve.app import create_app
from nestvec.serve.settings import Settings


class Client:
    """Calls an application without a port; each call has an event loop of its own."""

    def __init__(self, app, **headers):
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._headers = headers

    def ask(self, method, path, body=None, **headers):
        async def asked():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://localhost"
            ) as client:
                return await client.request(
                    method, path, json=body, headers={**self._headers, **headers}
                )

        return asyncio.run(asked())

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, body, **headers):
        return self.ask("POST", path, body, **headers)


def error_of(answer):
    """Return the envelope's content, once it is one."""
    error = json.loads(answer.content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.fixture
def served(tmp_path):
    return demo_like(NestedHashEncoder(), tmp_path / "index")


@pytest.fixture
def client(served):
    yield Client(create_app(served))
    served.close()


@contextmanager
def running(app):
    """Serve an application on a free port; yields its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


@pytest.fixture
def address(served):
    with running(create_app(served, Settings())) as address:
        yield address
