"""Compare nestvec shrink with bare statements of PostgreSQL, on a table of synthetic vectors.

Each repetition times, on fresh copies of the same table and in turns: the backfill of a column and
one bare UPDATE, with and without the present HNSW index; the new index and a bare CREATE INDEX with
the same memory. It then times searches by the function before and after the switch, and counts the
bytes of both indexes. The server is that of the tests, with fsync.

    python benchmarks/shrink.py --rows 20000 --repetitions 1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from engine_places import enter_namespace
from nestvec.engines.pgvector.indexes import EF_CONSTRUCTION, M, graph_kb
from nestvec.operate.shrink.outcome import ShrinkOutcome, ShrinkStep
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.operate.shrink.table import shrink, undo_shrink
from nestvec.types import Embeddings, OperatingPoint
from record import record

DIM, PREFIX, KEEP = 768, 128, 200
CODE = f"l2_normalize(subvector(embedding, 1, {PREFIX}))::halfvec({PREFIX})"
POINT = f"{PREFIX}:float16@{KEEP}>{DIM}:float32"
QUERIES = 200


def main() -> None:
    """Run all repetitions, and write their values."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--name", default="shrink", help="Name of the file in results.")
    options = parser.parse_args()
    enter_namespace()
    runs = []
    with server() as url:
        connection = prepare(url, options.rows)
        (version,) = connection.execute("SHOW server_version").fetchone()
        query = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        (pgvector,) = connection.execute(query).fetchone()
        for number in range(options.repetitions):
            runs.append(repetition(connection, url, options.rows, turn=number % 2))
            print(json.dumps(runs[-1], indent=1))
    settings = {
        "rows": options.rows,
        "full_dim": DIM,
        "point": POINT,
        "queries": QUERIES,
        "seed": 0,
    }
    versions = {"postgresql": version, "pgvector": pgvector}
    settings |= {"m": M, "ef_construction": EF_CONSTRUCTION, "versions": versions}
    print(record(options.name, settings=settings, results={"runs": runs, "shares": shares(runs)}))


def shares(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return the speed of nestvec divided by that of the bare statement, as medians."""
    pairs = {
        "fill": ("bare_update_s", "fill_s"),
        "fill_with_index": ("bare_update_with_index_s", "fill_with_index_s"),
        "index": ("bare_index_s", "index_s"),
    }
    return {
        name: round(float(np.median([run[bare] / run[own] for run in runs])), 3)
        for name, (bare, own) in pairs.items()
    }


@contextmanager
def server() -> Iterator[str]:
    """Run a server with fsync, and return its URL."""
    from postgres import running_server

    with running_server(fsync=True) as running:
        yield running.url


def vectors(rows: int, seed: int) -> Embeddings:
    """Return vectors [rows, DIM] whose first dims have most of the length, as nested ones do."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(1, 0.05, DIM, dtype=np.float32)
    return rng.standard_normal((rows, DIM), dtype=np.float32) * scale


def prepare(url: str, rows: int) -> Any:
    """Create the table ``source`` with all vectors."""
    import psycopg
    from pgvector import Vector
    from pgvector.psycopg import register_vector

    connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE EXTENSION vector")
    register_vector(connection)
    connection.execute(f"CREATE TABLE source (key bigint, body text, embedding vector({DIM}))")
    text = "COPY source FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(text) as copy:
        copy.set_types(["int8", "text", "vector"])
        for start in range(0, rows, 10_000):
            block = vectors(min(10_000, rows - start), start)
            for row, vector in enumerate(block, start):
                copy.write_row((row, f"the text of row {row}", Vector(vector)))
    return connection


def repetition(connection: Any, url: str, rows: int, *, turn: int) -> dict[str, Any]:
    """Return the values of one repetition; ``turn`` decides which program is first."""
    found: dict[str, Any] = {}
    steps = [bare_values, own_values]
    for step in steps[turn:] + steps[:turn]:
        found |= step(connection, url, rows)
    return found


def bare_values(connection: Any, _url: str, rows: int) -> dict[str, Any]:
    """Time the bare statements."""
    fresh_table(connection, rows, index=False)
    found = {"bare_update_s": bare_update(connection)}
    memory = f"{graph_kb(rows, (PREFIX, 'float16'))}kB"
    connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", [memory])
    found["bare_index_s"] = timed(
        connection,
        f"CREATE INDEX ON docs USING hnsw (small halfvec_ip_ops) "
        f"WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})",
    )
    fresh_table(connection, rows, index=True)
    found["bare_update_with_index_s"] = bare_update(connection)
    return found


def bare_update(connection: Any) -> float:
    """Return the seconds of one UPDATE of all rows."""
    connection.execute(f"ALTER TABLE docs ADD COLUMN small halfvec({PREFIX})")
    return timed(connection, f"UPDATE docs SET small = {CODE}")


def own_values(connection: Any, url: str, rows: int) -> dict[str, Any]:
    """Time the steps of nestvec, and searches before and after."""
    fresh_table(connection, rows, index=False)
    steps, _ = shrunk(url, column="small")
    found = {"fill_s": steps["fill the column"], "index_s": steps["build the index"]}
    undo_shrink(f"{url}?table=docs", drop_function=True)
    fresh_table(connection, rows, index=True)
    steps, outcome = shrunk(url, column="small")
    found["fill_with_index_s"] = steps["fill the column"]
    found["after_ms"] = search_ms(connection)
    undo_shrink(f"{url}?table=docs")
    found["before_ms"] = search_ms(connection)
    undo_shrink(f"{url}?table=docs", drop_function=True)
    return found | {
        "former_index_bytes": outcome.former_bytes,
        "index_bytes": outcome.index_bytes,
        "column_bytes": outcome.column_bytes,
        "overlap@10": outcome.overlap,
        "ef_search": outcome.ef_search,
        "shrink_s": round(sum(steps.values()), 3),
    }


def shrunk(url: str, *, column: str | None) -> tuple[dict[str, float], ShrinkOutcome]:
    """Shrink the table, and return the seconds of each step."""
    seconds: dict[str, float] = {}

    def on_step(step: ShrinkStep) -> None:
        seconds[step.name] = round(step.seconds, 3)

    request = ShrinkRequest(OperatingPoint.parse(POINT), column=column)
    return seconds, shrink(f"{url}?table=docs", request, on_step=on_step)


def fresh_table(connection: Any, rows: int, *, index: bool) -> None:
    """Create the table ``docs`` again, with or without its present index."""
    connection.execute("DROP TABLE IF EXISTS docs")
    connection.execute("CREATE TABLE docs AS SELECT * FROM source")
    connection.execute("ALTER TABLE docs ADD PRIMARY KEY (key)")
    if index:
        memory = f"{graph_kb(rows, (DIM, 'float32'))}kB"
        connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", [memory])
        connection.execute("CREATE INDEX ON docs USING hnsw (embedding vector_cosine_ops)")
    connection.execute("VACUUM ANALYZE docs")
    connection.execute("CHECKPOINT")


def search_ms(connection: Any) -> dict[str, float]:
    """Return the median and the 95th percentile of searches by the function."""
    from pgvector import Vector

    queries = vectors(QUERIES, 10**6)
    times = []
    for query in [*queries[:20], *queries]:  # the first ones only warm the cache
        start = time.perf_counter()
        connection.execute("SELECT * FROM docs_search(%s, 10)", [Vector(query)]).fetchall()
        times.append(1_000 * (time.perf_counter() - start))
    p50, p95 = np.percentile(times[20:], [50, 95])
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3)}


def timed(connection: Any, statement: str) -> float:
    """Return the seconds of a statement."""
    start = time.perf_counter()
    connection.execute(statement)
    return round(time.perf_counter() - start, 3)


if __name__ == "__main__":
    main()
