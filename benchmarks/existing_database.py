"""Run the commands of docs/existing_database.md on a real PostgreSQL, and record their output.

The page's own blocks are run, in their order, in a folder with the output of the quick demo. The
server has its default settings.

    nestvec demo --quick
    python benchmarks/existing_database.py --folder .
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine_places import enter_namespace
from record import record

PAGE = Path(__file__).parent.parent / "docs" / "existing_database.md"
DATABASE, PORT = "shop", 5432
TABLE = f"postgresql://localhost/{DATABASE}?table=docs"
COMMANDS = {
    "check": 'nestvec check "$TABLE" --queries $LOG --model $MODEL --qrels $LABELS',
    "evaluate": 'nestvec evaluate "$TABLE" nestvec-demo/data --query-model $MODEL --same-space '
    "--precisions float32,float16,sign --out curve.json",
    "plan": "nestvec plan curve.json --min-retention .95 --out plan.json "
    "--certificate certificate.json",
    "shrink": 'nestvec shrink "$TABLE" --plan plan.json',
    "again": 'nestvec check "$TABLE" --queries $LOG --model $MODEL --qrels $LABELS '
    "--min-retention .95 --history history.jsonl",
    "compare": 'nestvec compare "$TABLE" "$TABLE" --old-sql before.sql --queries $LOG '
    "--old-model $MODEL --new-model $MODEL --qrels $LABELS --out compare.html",
    "finish": 'nestvec shrink "$TABLE" --finish',
    "undo": 'nestvec shrink "$TABLE" --undo',
    "verify": "nestvec verify certificate.json --curve curve.json",
}
"""The commands of the page whose output is recorded, in their order."""
VARIABLES = {
    "TABLE": TABLE,
    "LOG": "nestvec-demo/data/queries.jsonl",
    "LABELS": "nestvec-demo/data/qrels/test.tsv",
    "MODEL": "nestvec-demo/model",
}
BEFORE = "SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT $2\n"


def main() -> None:
    """Fill the table, and run all commands once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="Folder of nestvec-demo.")
    folder = parser.parse_args().folder.resolve()
    enter_namespace()
    (folder / "before.sql").write_text(BEFORE, encoding="utf-8")
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    outputs: dict[str, list[str]] = {}
    with server() as environment:
        run([sys.executable, "-c", block], folder, environment)
        for name, command in COMMANDS.items():
            outputs[name] = run(["sh", "-c", command], folder, environment).splitlines()
            print(f"$ {command}", *outputs[name], sep="\n", flush=True)
    print(record("existing_database", settings={"variables": VARIABLES}, results=outputs))


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run a server with the database of the page; yield the environment of its clients."""
    import psycopg
    from postgres import PostgresServer

    running = PostgresServer(PORT, fsync=True, shared_buffers="128MB")
    try:
        running.start()
        with psycopg.connect(running.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        programs = str(Path(sys.executable).parent)
        path = os.pathsep.join((programs, os.environ["PATH"]))
        yield {**os.environ, **VARIABLES, "PGUSER": "tests", "COLUMNS": "80", "PATH": path}
    finally:
        running.remove()


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run a command, and return what it prints on standard output."""
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{command[-1]}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
