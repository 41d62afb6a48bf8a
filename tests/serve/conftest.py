"""Servers of made things: applications called directly, and real ones behind a port."""

import asyncio
import json

import httpx
import pytest

from fakes import NestedHashEncoder
from made_serving import demo_like, running
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


@pytest.fixture
def address(served):
    with running(create_app(served, Settings())) as address:
        yield address
