"""Run the blocks of docs/engines/pgvector.md with a real server."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from postgres import PostgresServer

from conftest import free_ports, program
from word_model import save_word_model

PAGE = Path(__file__).parents[2] / "docs" / "engines" / "pgvector.md"
ADDRESS = "postgresql://localhost/search"


@pytest.fixture(scope="module")
def server():
    (port,) = free_ports(1)
    running = PostgresServer(port)
    try:
        yield running.start()
    finally:
        running.remove()


def test_the_commands_and_the_python_block(server, corpus_file, tmp_path):
    save_word_model(tmp_path / "model")
    (tmp_path / "corpus.jsonl").write_text(
        re.sub(r'"_id": "d(\d+)"', r'"_id": "d\1", "metadata": {"n": \1}', corpus_file.read_text())
    )
    text = PAGE.read_text().replace(ADDRESS, server.url)
    blocks = re.findall(r"```(console|python)\n(.*?)```", text, re.DOTALL)
    assert [kind for kind, _ in blocks] == ["console", "python", "console"]
    path = f"{Path(program('python')).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, block in blocks:
        commands = [["python", "-c", block]]
        if kind == "console":
            commands = [shlex.split(line[2:]) for line in block.splitlines() if line[:2] == "$ "]
        for command in commands:
            done = subprocess.run(
                command,
                cwd=tmp_path,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
