"""Calls servers: applications without a port, and real ones behind one."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import httpx
import uvicorn


class Client:
    """Calls an application without a port; each call has an event loop of its own."""

    def __init__(self, app, **headers):
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._headers = headers

    def ask(self, method, path, headers=None, **content):
        """Send a request with `json=` or `content=` as httpx takes them."""
        headers = {**self._headers, **(headers or {})}

        async def asked():
            async with httpx.AsyncClient(
                transport=self._transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, headers=headers, **content)

        return asyncio.run(asked())

    def get(self, path, headers=None):
        return self.ask("GET", path, headers)

    def post(self, path, body, headers=None):
        return self.ask("POST", path, headers, json=body)

    def raw(self, path, body):
        """Send bytes that may not be JSON."""
        return self.ask("POST", path, {"content-type": "application/json"}, content=body)


def error_of(answer):
    """Return the envelope's content, once it is one."""
    error = json.loads(answer.content)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


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
