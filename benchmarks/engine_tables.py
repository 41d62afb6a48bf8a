"""Write the tables of ``results/engines.json``: searches, loads, and a projection on paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from markdown_tables import markdown, results

NAMES = {
    "embedded": "embedded",
    "pgvector": "PostgreSQL + pgvector",
    "lancedb": "LanceDB, disk",
    "lancedb-s3": "LanceDB, S3",
    "qdrant-edge": "Qdrant Edge",
    "milvus-lite": "Milvus Lite",
    "milvus": "Milvus",
}
MEASURED = 100_000
SIZES = {10_000_000: "10M", 100_000_000: "100M", 1_000_000_000: "1B"}
CODE_BYTES = (16, 32, 64)
RAM_GB, DISK_GB = 48, 2_000  # of one machine for the index
RAM_PRICE, DISK_PRICE = 3.0, 0.1  # USD for a GB and month, as in the example of prices.json
GRAPHS = ("pgvector", "qdrant-edge", "milvus")  # their search time grows with log n


class Codes(NamedTuple):
    """The point whose measured sizes are scaled, and the bytes of its first stage."""

    point: str
    first_bytes: int


SCALED = {
    "embedded": Codes("512:binary@200>512:float16", 64),
    "pgvector": Codes("512:sign@400>512:float16", 64),
    "lancedb": Codes("256:float16@100>512:float16", 512),
    "qdrant-edge": Codes("256:float16@100>512:float16", 512),
    "milvus": Codes("256:float32@100>512:float32", 1_024),
}


def engines() -> str:
    """List how each engine searches: quality, latency, throughput, with and without a filter."""
    header = ["engine", "operating point", "overlap@10", "nDCG@10", "p50, p95 ms"]
    header += ["queries/s, 1, 8, 32 clients", "10 % filter", "1 % filter"]
    lines = [header]
    for name, point, found in _points():
        none, tenth, hundredth = (found["filters"][key] for key in ("none", "10 %", "1 %"))
        qps = ", ".join(f"{found['clients_qps'][n]:,.0f}" for n in ("1", "8", "32"))
        quality = none["ndcg@10"]
        ndcg = quality[0] if isinstance(quality, list) else quality
        times = f"{none['p50_ms']:.1f}, {none['p95_ms']:.1f}"
        cells = [f"{none['overlap@10']:.3f}", f"{ndcg:.3f}", times, qps]
        lines.append([NAMES[name], f"`{point}`", *cells, *map(_filtered, (tenth, hundredth))])
    return markdown(lines)


def engine_costs() -> str:
    """List the bytes and seconds of each engine, and nestvec's own overhead."""
    header = ["engine", "operating point", "load, s", "bare load, s", "build, s"]
    header += ["memory, B", "disk, B", "nestvec, ms", "own client, ms"]
    lines, before = [header], ""
    for name, point, found in _points():
        engine = results("engines")[name]
        loads = ["", ""]
        if name != before:
            loads = [_seconds(engine["load_s"]), _seconds(engine["bare_load_s"])]
        before = name
        sizes = [found[f"{kind}_bytes_per_vector"] for kind in ("ram", "disk")]
        overhead = found["overhead"]
        medians = ["", ""]
        if overhead is not None:
            medians = [f"{overhead[f'{side}_p50_ms']:.2f}" for side in ("nestvec", "native")]
        cells = [*loads, _seconds(found["build_s"]), *(f"{each:,.0f}" for each in sizes)]
        lines.append([NAMES[name], f"`{point}`", *cells, *medians])
    return markdown(lines)


def engine_paper() -> str:
    """Scale the measured bytes and build times to more documents, for three sizes of codes."""
    header = ["engine", "codes, B", "documents", "memory, GB", "disk, GB", "build, h", "machines"]
    lines = [[*header, "USD a month", "p50, ms"]]
    for name, scaled in SCALED.items():
        found = results("engines").get(name, {}).get(scaled.point)
        if found is None:
            continue
        for code_bytes in CODE_BYTES:
            for n, label in SIZES.items():
                cells = _projected(name, found, code_bytes - scaled.first_bytes, n)
                lines.append([NAMES[name], str(code_bytes), label, *cells])
    return markdown(lines)


def _projected(name: str, found: Mapping[str, Any], fewer_bytes: int, n: int) -> list[str]:
    times, logarithm = n / MEASURED, math.log(n) / math.log(MEASURED)
    growth, slower = (logarithm, logarithm) if name in GRAPHS else (1.0, times)
    ram = n * (found["ram_bytes_per_vector"] + fewer_bytes) / 1e9
    disk = n * (found["disk_bytes_per_vector"] + fewer_bytes) / 1e9
    hours = found["build_s"] * times * growth / 3_600
    p50_ms = found["filters"]["none"]["p50_ms"] * slower
    machines = max(math.ceil(ram / RAM_GB), math.ceil(disk / DISK_GB))
    money = ram * RAM_PRICE + disk * DISK_PRICE
    sizes = [f"{ram:,.1f}", f"{disk:,.0f}", f"{hours:,.1f}", f"{machines:,}"]
    return [*sizes, f"{money:,.0f}", f"{p50_ms:,.0f}"]


def _points() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, found in results("engines").items():
        yield from ((name, point, each) for point, each in found.items() if ":" in point)


def _filtered(found: Mapping[str, Any]) -> str:
    return f"{found['overlap@10']:.3f}, {found['p50_ms']:.1f} ms"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
