"""A server on this computer that speaks the dialects of embedding APIs, and fails on demand."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from zlib import crc32

import numpy as np

WIDTH = 64
KEY = "sk-a-key-that-nobody-may-see"


def vector_of(text: str, width: int = WIDTH) -> np.ndarray:
    """The vector that the server returns for a text."""
    rng = np.random.default_rng(crc32(text.encode(errors="replace")))
    return rng.standard_normal(width).astype(np.float32)


@dataclass
class Fault:
    """A response that replaces, or changes, the right one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    change: Callable[[dict[str, Any]], Any] | None = None
    truncated: bool = False
    dropped: bool = False


@dataclass
class Received:
    """A request: its path, headers in lower case, and body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ApiServer:
    """What the server received, and what it answers.

    Attributes:
        faults: Responses to the next requests, in order; None for a right one.
        received: All requests.
        quota: Number of texts that are encoded before 429 "insufficient_quota"; None for any.
        most_texts: More texts in a request are refused with 413.
        base64: Whether vectors are base64 if the request names this format.
        model: The model that answers name; None for the requested one.
    """

    def __init__(self) -> None:
        self.faults: list[Fault | None] = []
        self.received: list[Received] = []
        self.quota: int | None = None
        self.most_texts = 100_000
        self.width = WIDTH
        self.base64 = True
        self.model: str | None = None
        self.encoded: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.address = ""

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def respond(self, received: Received) -> tuple[int, dict[str, str], bytes, bool]:
        """Return status, headers, body, and whether the connection ends early."""
        with self.lock:
            self.received.append(received)
            fault = self.faults.pop(0) if self.faults else None
            texts = texts_of(received.body)
            if fault and fault.body is not None:
                return fault.status, fault.headers, as_bytes(fault.body), fault.dropped
            if len(texts) > self.most_texts:
                return 413, {}, as_bytes({"error": {"message": "batch size is too large"}}), False
            if self.quota is not None and sum(self.encoded.values()) + len(texts) > self.quota:
                error = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
                return 429, {}, as_bytes({"error": error}), False
            self.encoded.update(texts)
        answer = self.answer(received, texts)
        if fault and fault.change:
            answer = fault.change(answer)
        content = as_bytes(answer)
        if fault and fault.truncated:
            content = content[: len(content) // 2]
        return 200, {}, content, bool(fault and fault.dropped)

    def answer(self, received: Received, texts: list[str]) -> dict[str, Any]:
        body = received.body
        vectors = [vector_of(text, self.width) for text in texts]
        if "requests" in body:
            return {"embeddings": [{"values": vector.tolist()} for vector in vectors]}
        if "texts" in body:
            rows = [vector.tolist() for vector in vectors]
            return {"id": "1", "embeddings": {"float": rows}, "texts": texts, "meta": {}}
        packed = self.base64 and body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": number, "embedding": shown(vector, packed)}
            for number, vector in enumerate(vectors)
        ]
        return {
            "object": "list",
            "data": data,
            "model": self.model or body["model"],
            "usage": {"prompt_tokens": len(texts), "total_tokens": len(texts)},
        }


def shown(vector: np.ndarray, packed: bool) -> Any:
    return base64.b64encode(vector.tobytes()).decode() if packed else vector.tolist()


def texts_of(body: dict[str, Any]) -> list[str]:
    """The texts of a request in any dialect."""
    if "requests" in body:
        return [each["content"]["parts"][0]["text"] for each in body["requests"]]
    given = body.get("texts", body.get("input", []))
    return [given] if isinstance(given, str) else given


def as_bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@contextmanager
def running_api() -> Iterator[ApiServer]:
    """Run a server on a free port."""
    state = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.path, headers, json.loads(content))
            status, extra, body, dropped = state.respond(request)
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body) + (10 if dropped else 0)))
            self.end_headers()
            self.wfile.write(body)
            if dropped:
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Ignore clients that end the connection."""

    server = Server(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
