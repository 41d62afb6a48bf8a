"""Run the blocks of the pages on Qdrant Edge and on a Qdrant server, each page in one folder."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from qdrant_rest import serving

from conftest import program
from word_model import save_word_model

PAGES = Path(__file__).parents[2] / "docs" / "engines"


def run_blocks(page, corpus_file, folder):
    """Run the commands and the Python blocks of a page, and return their number."""
    save_word_model(folder / "model")
    rows = map(json.loads, corpus_file.read_text().splitlines())
    numbered = [row | {"metadata": {"n": int(row["_id"][1:])}} for row in rows]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered))
    programs = str(Path(program("python")).parent)
    settings = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    text = (PAGES / page).read_text()
    done = 0
    for kind, block in re.findall(r"```(console|python)\n(.*?)```", text, re.DOTALL):
        lines = [shlex.split(line[2:]) for line in block.splitlines() if line.startswith("$ ")]
        for command in lines if kind == "console" else [["python", "-c", block]]:
            ran = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)
            assert ran.returncode == 0, f"{command}\n{ran.stderr}"
            done += 1
    return done


def test_the_page_on_qdrant_edge(corpus_file, tmp_path):
    assert run_blocks("qdrant.md", corpus_file, tmp_path) == 8


def test_the_page_on_a_qdrant_server(corpus_file, tmp_path):
    with serving(port=6333):
        assert run_blocks("qdrant_server.md", corpus_file, tmp_path) == 8
