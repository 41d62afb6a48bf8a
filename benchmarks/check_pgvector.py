"""Time the exact pass of ``nestvec check`` over a table of PostgreSQL.

The pass finds the exact 10 nearest of 1,000,000 documents for 500 queries. It is compared, in turns
and on the same server, with a bare ``COPY ... TO STDOUT (FORMAT binary)`` of the same column, read
by psycopg. The searches in use are not part of either time.

    python benchmarks/check_pgvector.py --rows 1000000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import nestvec.cli  # noqa: F401 - sets the wait of idle threads, as the command does
from engine_places import enter_namespace
from nestvec.operate.exact import LiveQueries
from nestvec.operate.live.database import TableSearch
from nestvec.operate.live.postgresql import open_table
from record import record

DIM, CLUSTERS, BLOCK = 384, 2_000, 20_000


def main() -> None:
    """Fill the table, time both in turns, and write all times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    enter_namespace()
    from postgres import running_server

    with running_server(fsync=True) as server:
        fill(server.url, options.rows)
        with open_table(f"{server.url}?table=docs", TableSearch(), None) as table:
            _, values = table.sample(options.queries, seed=0)
            queries = LiveQueries(values, [], np.full(len(values), -1))
            times: dict[str, list[float]] = {"copy_s": [], "exact_s": []}
            connection = table._connection
            for _ in range(options.repetitions):
                times["copy_s"].append(timed(lambda: copy(connection)))
                times["exact_s"].append(timed(lambda: table.exact(queries, 10)))
    ratios = [own / bare for bare, own in zip(times["copy_s"], times["exact_s"], strict=True)]
    settings = {**vars(options), "dim": DIM, "k": 10, "seed": 0}
    results = {**times, "ratios": ratios, "ratio": round(median(ratios), 2)}
    print(results, record("check_pgvector", settings=settings, results=results), sep="\n")


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copy(connection: Any) -> None:
    """Read the column by a bare COPY."""
    statement = "COPY docs (embedding) TO STDOUT (FORMAT binary)"
    with connection.cursor() as cursor, cursor.copy(statement) as rows:
        for _ in rows:
            pass


def fill(url: str, rows: int) -> None:
    """Create the table ``docs`` of unit vectors in clusters."""
    import psycopg
    from pgvector import Vector
    from pgvector.psycopg import register_vector

    rng = np.random.default_rng(0)
    decay = ((1 + np.arange(DIM)) ** -0.3).astype(np.float32)
    centers = rng.standard_normal((CLUSTERS, DIM), dtype=np.float32) * decay
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        register_vector(connection)
        connection.execute(f"CREATE TABLE docs (id bigint, embedding vector({DIM}))")
        statement = "COPY docs FROM STDIN (FORMAT binary)"
        with connection.cursor() as cursor, cursor.copy(statement) as target:
            target.set_types(["int8", "vector"])
            for start in range(0, rows, BLOCK):
                block = 0.5 * rng.standard_normal((BLOCK, DIM), dtype=np.float32) * decay
                block += centers[rng.integers(0, CLUSTERS, BLOCK)]
                block /= np.linalg.norm(block, axis=1, keepdims=True)
                for row, vector in enumerate(block[: rows - start], start):
                    target.write_row((row, Vector(vector)))
        connection.execute("ALTER TABLE docs ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE docs")


if __name__ == "__main__":
    main()
