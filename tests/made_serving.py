"""What tests serve: an index of few documents, its model, two tiers and example queries."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from nestvec.serve.examples import ExampleQuery
from nestvec.serve.served import Served
from nestvec.types import Encoder, OperatingPoint
from nestvec.workflows.index_building import build_index
from ten_documents import CORPUS

POINT = "16:binary@8>64:int8"
TIERS = {
    "fast": OperatingPoint.parse("16:int8"),
    "best": OperatingPoint.parse("32:int8@9>64:float16"),
}
NAME = "tiny"


def demo_like(model: Encoder, index: Path) -> Served:
    """Build an index and serve it with its model."""
    examples = (ExampleQuery("q1", "read a csv file", ("d1",)),)
    opened = build_index(model, CORPUS, POINT, index)
    return Served(NAME, model, opened, tiers=TIERS, examples=examples)


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
