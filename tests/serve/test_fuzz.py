"""More than ten thousand requests that no client should send: none meets a failure of ours.

They are made from good requests by a seeded random walk, and sent to the application itself.
"""

import asyncio
import gc
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from fakes import NestedHashEncoder
from made_serving import NAME, demo_like
from nestvec.serve.app import create_app
from nestvec.serve.settings import Limits, Settings

N = 12_000
PATHS = [
    *("/v1/embeddings", "/v1/search", "/v1/compare", "/v1/documents", "/v1/models"),
    *("/v1/documents/d1", "/v1/documents/%00", "/v1/models/x", "/v1/curve", "/metrics", "/healthz"),
    *("/", "/page/../..", "/v1//search", "/v1/documents/" + "a" * 3000, "/\xff", "/v1/search/"),
]
METHODS = ["POST"] * 12 + ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "NONSENSE"]
GOOD = [
    {"model": NAME, "input": ["read csv", "open"], "dimensions": 16, "encoding_format": "base64"},
    {"model": NAME, "input": [[1, 2], [3]], "user": "u", "input_type": "query"},
    {"query": "read csv", "k": 3, "where": "n >= 2 and not n = 5", "point": "16:int8@4>64:float16"},
    {"embedding": [0.1] * 64, "k": 2, "model": f"{NAME}:fast", "explain": True},
    {"texts": ["a", "b", "c"], "dims": [16, 32], "precision": "float32"},
    {"documents": [{"id": "x", "text": "t", "metadata": {"n": 1}}], "replace": True},
    {"ids": ["d1", "d2"]},
]
ODD = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64, 10**400, 0.1, -0.0, 1e308),
    *(
        5e-324,
        "",
        " ",
        "\x00",
        "a" * 5000,
        "\u202e\U0001f4a9",
        "é" * 50,
        "' or 1=1 --",
        "../../etc",
    ),
    *("<script>", "n >=", "n in (", "(" * 60, "64:int8@0>", "900:binary", "16:pq4@3>17:pq4", "::"),
    *([], {}, [[]], [{}], [[[]]], [None], ["a", 1], {"a": {"b": []}}, ["a"] * 3000, [0.5] * 64),
]
TYPES = [b"application/json"] * 8 + [
    b"text/plain",
    b"",
    b"application/json; charset=utf-7",
    b"\xff",
]


def mutated(rng, value, depth=0):
    """Return a value with some of its parts replaced, left out, added or nested."""
    if rng.random() < 0.15 or depth > 4:
        return rng.choice(ODD)
    if isinstance(value, dict):
        kept = {
            key: mutated(rng, each, depth + 1) if rng.random() < 0.4 else each
            for key, each in value.items()
            if rng.random() > 0.1
        }
        if rng.random() < 0.15:
            kept[rng.choice(["x", "", "model", "k", "\x00", "a" * 2000])] = rng.choice(ODD)
        return kept
    if isinstance(value, list):
        return [mutated(rng, each, depth + 1) for each in value] * rng.choice([0, 1, 1, 2])
    return rng.choice(ODD)


def body_of(rng):
    shape = rng.random()
    if shape < 0.08:
        return rng.randbytes(rng.randrange(200))
    if shape < 0.1:
        return b"[" * rng.choice([10, 1000, 200_000])
    text = json.dumps(mutated(rng, rng.choice(GOOD))).encode()
    if shape < 0.2:  # cut, or with bytes changed
        text = text[: rng.randrange(len(text) + 1)]
        return text + rng.choice([b"", b"\xff", b"}", b"NaN", b'"\\ud800"'])
    return text


def request_of(rng):
    body = body_of(rng)
    headers = [(b"host", b"localhost"), (b"content-type", rng.choice(TYPES))]
    if rng.random() < 0.2:
        lie = rng.choice([b"0", b"-5", b"nonsense", b"99999999999999", b"3", b"\xb2"])
        headers.append((b"content-length", lie))
    if rng.random() < 0.1:
        headers += [
            (rng.choice([b"authorization", b"x-y", b"origin", b"cookie"]), rng.randbytes(40))
        ]
    path = rng.choice(PATHS)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": rng.choice(METHODS),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8"),
        "query_string": rng.choice([b"", b"a=b", b"%ff=%00", b"&" * 50]),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }, body


async def send(app, rng):
    """Send one request, its body in pieces, and return the status of the answer."""
    scope, body = request_of(rng)
    cut = rng.randrange(len(body) + 1)
    messages = [
        {"type": "http.request", "body": body[:cut], "more_body": True},
        {"type": "http.request", "body": body[cut:], "more_body": False},
    ]
    if rng.random() < 0.03:
        messages[-1] = {"type": "http.disconnect"}
    statuses = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def sent(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, sent)
    return scope, body, statuses


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("writable", [False, True])
def test_no_request_makes_the_server_fail_or_grow(tmp_path, writable):
    served = demo_like(NestedHashEncoder(), tmp_path / "index")
    limits = Limits(body_bytes=100_000, cache_bytes=100_000)
    app = create_app(served, Settings(writable=writable, limits=limits))
    rng = random.Random(11 + writable)
    seen, sizes = Counter(), []

    async def walk():
        for number in range(N // 2):
            scope, body, statuses = await send(app, rng)
            # Who has left gets no answer.
            assert len(statuses) <= 1
            for status in statuses:
                assert status < 500, (scope["method"], scope["path"], body[:500])
                seen[status] += 1
            if number % 1000 == 999:
                gc.collect()
                sizes.append(resident_bytes() if Path("/proc/self/statm").exists() else 0)

    asyncio.run(walk())
    served.close()
    assert sum(n for status, n in seen.items() if status >= 400) > 5000
    assert {200, 400, 404, 405, 413} <= {*seen}
    assert (403 in seen) is not writable
    # What is kept is bounded: after the first thousands, it is all there.
    assert sizes[-1] - sizes[1] < 30 * 2**20, sizes
