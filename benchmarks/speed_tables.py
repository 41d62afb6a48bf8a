"""Write the tables of ``results/index_speed.json`` and ``million.json``, which has its form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markdown_tables import markdown, results

TARGETS = (0.95, 0.99)  # of overlap@10
_EXTRAPOLATED = 10_000_000
_READ = 1024  # bytes of a vector of 512 dims at float16, read to rescore it
_HEADER = (
    *("target overlap@10", "index", "setting", "overlap@10", "nDCG@10", "queries/s, one core"),
    *(
        "p50, p99 ms",
        "processor ms",
        "queries/s, 2 threads",
        "own MB opened, searched",
        "mapped MB",
    ),
    *("KB read per query", "disk MB", "build s (processor s)"),
)
_GRAPH = "FAISS HNSW32 float32"
_GRAPH_HEADER = "queries/s, multiple of HNSW32"
Row = Mapping[str, Any]


def index_speed(n: int) -> str:
    """Write each contender at the fastest setting that reaches each target, for n vectors."""
    lines = [list(_HEADER)]
    contenders = [each for each in results("index_speed")["contenders"] if each["n"] == n]
    for target in TARGETS:
        for each in contenders:
            found = _first(each["settings"], target)
            cells = _reached(each, found) if found else _missed(each)
            lines.append([f"{target:g}", each["name"], *cells])
    return markdown(lines)


def million() -> str:
    """Write each contender at the fastest setting that reaches 0.99, for a million vectors."""
    found = results("million")
    rows = [(each, _first(each["settings"], TARGETS[-1])) for each in found["contenders"]]
    graph = next(row for each, row in rows if each["name"] == _GRAPH and row)
    lines = [["index", "setting", "overlap@10", "ms", _GRAPH_HEADER, "queries/s, 2 threads"]]
    lines[0] += ["own MB, searched", "build s (processor s)"]
    for each, row in rows:
        build = f"{each['build']['seconds']:,.0f} ({each['build']['processor_seconds']:,.0f})"
        memory = f"{each['searched']['own_mb']:,.0f}"
        if row is None:
            lines.append([each["name"], "not reached", *[""] * 4, memory, build])
            continue
        faster = f"{row['qps'] / graph['qps']:.1f}"
        cells = [_setting(row), f"{row['overlap@10']:.3f}", f"{row['p50_ms']:.2f}", faster]
        lines.append([each["name"], *cells, f"{row['batch_qps']:,.0f}", memory, build])
    return markdown(lines)


def million_service() -> str:
    """Write the speed of filtered searches and of several readers, for a million vectors."""
    found = results("million")
    lines = [["search", "queries/s", "p50, p99 ms"]]
    for row in found["filtered"]:
        share = row["share_percent"]
        name = "one reader" if share == 100 else f"one reader, {share} % of the documents match"
        lines.append([name, f"{row['qps']:,.0f}", f"{row['p50_ms']:.2f}, {row['p99_ms']:.2f}"])
    for row in found["threads"]:
        name = f"{row['threads']:.0f} reader{'s' if row['threads'] > 1 else ''} on 2 cores"
        lines.append([name, f"{row['qps']:,.0f}", f"{row['p50_ms']:.2f}, {row['p99_ms']:.2f}"])
    return markdown(lines)


def index_speed_growth() -> str:
    """Write the time of a query by corpus size, and a linear extrapolation of the largest two."""
    found = results("index_speed")
    rows = [*found["growth"], *found["contenders"]]
    names = dict.fromkeys(each["name"] for each in found["growth"])
    sizes = sorted({each["n"] for each in rows})
    header = [f"{n:,}" for n in sizes]
    lines = [["point", *header, f"{_EXTRAPOLATED:,} (extrapolated)"]]
    for name in names:
        own = {
            each["n"]: _first(each["settings"], TARGETS[-1])
            for each in rows
            if each["name"] == name
        }
        times = [(n, row) for n in sizes if (row := own.get(n)) is not None]
        cells = [f"{row['processor_ms']:.2f} ms @{_setting(row)}" for _, row in times]
        if len(cells) == len(sizes):
            last = _line([(n, row["processor_ms"]) for n, row in times])
            lines.append([name, *cells, last])
    return markdown(lines)


def index_speed_service() -> str:
    """Write the time to open an index, many readers, a cold disk, and the scan's bandwidth."""
    found = results("index_speed")
    opening, cold = found["opening"], found["cold"]
    lines = [["what", f"{found['service_n']:,} vectors"]]
    grown, codes = opening["grown"]["own_mb"], opening["codes_mb"]
    seconds = f"{opening['opening']['seconds']:.2f} s, {grown:.0f} MB for {codes:.0f} MB of codes"
    lines.append(["open, FAISS already imported", seconds])
    for name, each, rows in (
        ("one process", "", found["threads"]),
        ("two processes", " in each", found["processes"]),
    ):
        lines += [
            [
                f"{name}, {row['threads']:.0f} reader{'s' if row['threads'] > 1 else ''}{each}",
                f"{row['qps']:.0f} queries/s, p99 {row['p99_ms']:.1f} ms",
            ]
            for row in rows
        ]
    for name in ("warm", "cold"):
        row = cold[name]
        took = f"p50 {row['p50_ms']:.2f}, p99 {row['p99_ms']:.2f} ms"
        read = f", {row['kb_per_query']:.0f} KB read per query" if "kb_per_query" in row else ""
        lines.append([f"vectors {name}", took + read])
    lines += [
        [
            f"{row['codes']}, {row['mb']:.0f} MB",
            f"scanned at {row['scan_gb_s']} GB/s, summed at {row['sum_gb_s']}, "
            f"copied at {row['copy_gb_s']}",
        ]
        for row in found["bandwidth"]
    ]
    return markdown(lines)


def _first(rows: Iterable[Row], target: float) -> Row | None:
    """Return the fastest setting that reaches a target."""
    reached = [row for row in rows if row["overlap@10"] >= target]
    return min(reached, key=lambda row: row["processor_ms"], default=None)


def _reached(contender: Row, row: Row) -> list[str]:
    memory, build = contender["searched"], contender["build"]
    ours = contender["name"].startswith("nestvec ")
    return [
        _setting(row),
        f"{row['overlap@10']:.3f}",
        f"{row['ndcg@10']:.3f}" if "ndcg@10" in row else "",
        f"{row['qps']:,.0f}",
        f"{row['p50_ms']:.2f}, {row['p99_ms']:.2f}",
        f"{row['processor_ms']:.2f}",
        f"{row['batch_qps']:,.0f}",
        f"{contender['opened']['own_mb']:,.0f}, {memory['own_mb']:,.0f}",
        f"{memory['mapped_mb']:,.0f}",
        f"{row['setting'][0] * _READ / 1000:,.0f}" if ours else "",
        f"{contender['disk_mb']:,.0f}",
        f"{build['seconds']:,.0f} ({build['processor_seconds']:,.0f})",
    ]


def _missed(contender: Row) -> list[str]:
    best = max(row["overlap@10"] for row in contender["settings"])
    return ["not reached", f"{best:.3f} at most", *[""] * 10]


def _setting(row: Row) -> str:
    return ", ".join(map(str, row["setting"]))


def _line(points: list[tuple[int, float]]) -> str:
    if len(points) < 2:
        return ""
    (n, low), (larger, high) = points[-2:]
    return f"{high + (high - low) / (larger - n) * (_EXTRAPOLATED - larger):.0f} ms"


def clusters() -> str:
    """Write the share of rows that clusters have to scan for each bound on the overlap."""
    found = results("clusters")
    lines = [["vectors", "clusters visited", "share of the vectors", "overlap@10 at most"]]
    for n, rows in found.items():
        for target in TARGETS:
            row = next(row for row in rows if row["overlap@10_at_most"] >= target)
            share = f"{100 * row['rows_looked_at']:.0f} %"
            lines.append(
                [
                    f"{int(n):,}",
                    f"{row['probes']} of 1,024",
                    share,
                    f"{row['overlap@10_at_most']:.3f}",
                ]
            )
    return markdown(lines)
