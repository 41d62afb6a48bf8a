"""Keep a server's queue full for minutes, and record response times and memory.

    python benchmarks/serve_load.py --demo nestvec-demo --minutes 5

The clients send more texts than the queue accepts, so that the server always rejects some requests
with status 429. Other clients search at the same time. The benchmark fails if a response is
missing, has a status other than 200 or 429, or exceeds the server's time limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from nestvec.serve.settings import Limits
from record import record
from serving import NAME, resident_bytes, running, short_texts
from serving_load import Load, ask, post_request

_TEXTS = 128  # per request


def main() -> None:
    """Send the load to a server, and write ``results/serve_load.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("nestvec-demo"))
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--searchers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    command = [sys.executable, "-m", "nestvec.cli.main", "serve", str(settings.demo)]
    with running([*command, "--name", NAME, "--port"]) as (url, process):
        windows = [
            asyncio.run(_window(url, settings, number, process.pid))
            for number in range(max(1, round(settings.minutes * 2)))
        ]
    chosen = {name: str(value) for name, value in vars(settings).items()}
    print(json.dumps(windows, indent=1), record("serve_load", settings=chosen, results=windows))


async def _window(
    url: str, settings: argparse.Namespace, number: int, process: int
) -> dict[str, Any]:
    """Send the load for 30 seconds, and return the measurements of the clients."""
    rng = random.Random(settings.seed + number)
    texts = short_texts(settings.demo)
    # No text is repeated, so that the server cannot use its cache.
    long = [f"{rng.random()} {' '.join(rng.choices(texts, k=20))}" for _ in range(40 * _TEXTS)]
    bodies = [
        {"model": NAME, "input": long[start : start + _TEXTS], "encoding_format": "base64"}
        for start in range(0, len(long), _TEXTS)
    ]
    searches = [{"query": f"{text} {number}", "k": 10} for text in texts]
    embedding, searching = await asyncio.gather(
        ask(
            url,
            [post_request(f"{url}/v1/embeddings", body) for body in bodies],
            clients=settings.clients,
            seconds=30,
        ),
        ask(
            url,
            [post_request(f"{url}/v1/search", body) for body in searches],
            clients=settings.searchers,
            seconds=30,
        ),
    )
    for load in (embedding, searching):
        _check(load)
    return {
        "embeddings": {**embedding.summary(), "max_ms": round(max(embedding.milliseconds))},
        "searches": {**searching.summary(), "max_ms": round(max(searching.milliseconds))},
        "rss_mb": round(resident_bytes(process) / 2**20),
    }


def _check(load: Load) -> None:
    if not {*load.statuses} <= {200, 429}:
        raise SystemExit(f"unexpected statuses: {load.statuses}. Only 200 and 429 are expected.")
    slowest, limit = max(load.milliseconds), Limits().timeout_s * 1000
    if slowest > limit:
        raise SystemExit(f"a response took {slowest:.0f} ms, more than the {limit:.0f} ms limit")


if __name__ == "__main__":
    main()
