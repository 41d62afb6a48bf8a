"""Keep a server's queue full for minutes, and record that answers stay bounded and memory flat.

    python benchmarks/serve_load.py --demo nestvec-demo --minutes 5

More texts are asked for than may wait, so that some requests are always told to come back; searches
go on beside them. It ends with an error if an answer is missing, has another status than 200 or
429, or takes longer than the server's own limit.
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

_TEXTS = 128  # in a request


def main() -> None:
    """Load a server, and write ``results/serve_load.json``."""
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
    """Load the server for half a minute, and return what its clients met."""
    rng = random.Random(settings.seed + number)
    texts = short_texts(settings.demo)
    # No text twice, and of all lengths, so that nothing is looked up.
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
        raise SystemExit(f"statuses {load.statuses}: not only 200 and 429")
    slowest, limit = max(load.milliseconds), Limits().timeout_s * 1000
    if slowest > limit:
        raise SystemExit(f"an answer took {slowest:.0f} ms > {limit:.0f} ms")


if __name__ == "__main__":
    main()
