"""Run docs/existing_database.md from the first block to the last, on a real PostgreSQL."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from postgres import PostgresServer

from conftest import free_ports, program

PAGE = Path(__file__).parents[2] / "docs" / "existing_database.md"
BEFORE = "SELECT id FROM docs ORDER BY embedding <=> $1 LIMIT $2\n"


@pytest.fixture(scope="module")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The output of the quick demo, in which the page's commands run."""
    folder = tmp_path_factory.mktemp("story")
    command = [sys.executable, "-m", "nestvec.cli.main", "demo", "--quick"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=500)
    (folder / "before.sql").write_text(BEFORE)
    return folder


def indexes(server):
    query = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'docs'"
    with psycopg.connect(server.url) as connection:
        return dict(connection.execute(query).fetchall())


def test_the_whole_page(server, folder):
    text = PAGE.read_text("utf-8")
    python, in_python = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exported = dict(re.findall(r"^export (\w+)=\"?([^\s\"]+)", text, re.MULTILINE))
    exported["TABLE"] = f"{server.url}?table=docs"
    path = f"{Path(program('python')).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **exported, "PATH": path, "COLUMNS": "80"}

    def run(*command):
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(program("python"), "-c", python)
    former = indexes(server)
    commands = re.findall(r"^\$ (nestvec .*(?:\n> .*)*)", text, re.MULTILINE)
    printed = {}
    for command in commands:
        joined = command.replace("\\\n> ", "")
        printed[joined] = run("sh", "-c", joined)
        if " shrink " in joined and "--plan" in joined:
            assert "docs_embedding_idx" in indexes(server)
            assert len(indexes(server)) == len(former) + 1
        if joined.endswith("--finish"):
            assert "docs_embedding_idx" not in indexes(server)
    run(program("python"), "-c", in_python)
    assert len(printed) == len(commands) == 9
    assert indexes(server) == former
    (verified,) = (output for command, output in printed.items() if " verify " in command)
    assert verified.startswith("VALID")
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [each["passed"] for each in history] == [True]
    assert history[0]["point"] == json.loads((folder / "plan.json").read_text())["point"]
    assert "<html" in (folder / "compare.html").read_text().lower()
