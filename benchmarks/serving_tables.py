"""Write the table of ``results/serving.json``: requests per second and latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from markdown_tables import markdown, results

Row = Mapping[str, Any]
_HEADER = ["server", "clients", "requests/s", "p50, p95, p99 ms", "processor ms per request"]
_SHOWN = {"plain": "FastAPI loop"}  # names of the results, as shown


def serving() -> str:
    """Write the median over repetitions for each server and number of clients."""
    lines = [_HEADER]
    for name, found in results("serving").items():
        for clients, rows in found.items():
            if clients.endswith(" clients"):
                lines.append(
                    [_SHOWN.get(name, name), clients.removesuffix(" clients"), *_cells(rows)]
                )
    return markdown(lines)


def _cells(rows: Sequence[Row]) -> list[str]:
    requests = f"{_median(rows, 'requests_per_s'):.0f}"
    if "texts_per_s" in rows[0]:
        requests += f" ({_median(rows, 'texts_per_s'):,.0f} texts)"
    times = (_median(rows, f"p{percent}_ms") for percent in (50, 95, 99))
    took = ", ".join(f"{time:.0f}" for time in times)
    return [requests, took, f"{_median(rows, 'cpu_ms_per_request'):.1f}"]


def _median(rows: Sequence[Row], name: str) -> float:
    return float(median(row[name] for row in rows))
