"""Run the blocks of docs/engines/qdrant.md in one folder."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from conftest import program
from word_model import save_word_model

PAGE = Path(__file__).parents[2] / "docs" / "engines" / "qdrant.md"


def test_the_commands_and_the_python_block(corpus_file, tmp_path):
    save_word_model(tmp_path / "model")
    rows = map(json.loads, corpus_file.read_text().splitlines())
    numbered = [row | {"metadata": {"n": int(row["_id"][1:])}} for row in rows]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered))
    folder = str(Path(program("python")).parent)
    settings = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = 0
    for kind, block in re.findall(r"```(console|python)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        lines = [shlex.split(line[2:]) for line in block.splitlines() if line.startswith("$ ")]
        for command in lines if kind == "console" else [["python", "-c", block]]:
            ran = subprocess.run(
                command, cwd=tmp_path, env=settings, capture_output=True, text=True
            )
            assert ran.returncode == 0, f"{command}\n{ran.stderr}"
            done += 1
    assert done == 8
