"""A closed loop of HTTP clients: each client sends its next request after the last response.

The clients are minimal, so that the server is measured and not the clients. Requests are built in
advance, each client has one connection, and only the status and the length of a response are read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np


@dataclass
class Load:
    """The measurements of all clients.

    Attributes:
        milliseconds: The time of each response with status 200.
        statuses: The number of responses by status.
        seconds: The duration of the whole loop.
    """

    milliseconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return throughput and percentiles."""
        p50, p95, p99 = np.percentile(self.milliseconds, [50, 95, 99]).round(2).tolist()
        rate = round(len(self.milliseconds) / self.seconds, 1)
        latency = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99}
        statuses = {str(status): n for status, n in sorted(self.statuses.items())}
        return {"requests_per_s": rate, **latency, "statuses": statuses}


def post_request(url: str, body: dict[str, Any]) -> bytes:
    """Build the bytes of a POST request."""
    parts = urlsplit(url)
    content = json.dumps(body).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def ask(
    url: str, requests: Sequence[bytes], *, clients: int, seconds: float, patient: bool = True
) -> Load:
    """Run clients in a closed loop. Each client starts at another request.

    Args:
        url: The URL of the server.
        requests: The bytes of the requests, sent in turn.
        clients: The number of concurrent clients.
        seconds: The time after which no new request is sent.
        patient: Wait 50 ms after a response with a status other than 200, such as 429.
    """
    load, parts = Load(), urlsplit(url)
    start = time.perf_counter()
    deadline = start + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        turn = number * len(requests) // clients
        while time.perf_counter() < deadline:
            begun = time.perf_counter()
            writer.write(requests[turn % len(requests)])
            status = await _read_response(reader)
            load.statuses[status] = load.statuses.get(status, 0) + 1
            if status == 200:
                load.milliseconds.append((time.perf_counter() - begun) * 1000)
            elif patient:
                await asyncio.sleep(0.05)
            turn += 1
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.seconds = time.perf_counter() - start
    return load


async def _read_response(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status, length = int(head[9:12]), 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    await reader.readexactly(length)
    return status
