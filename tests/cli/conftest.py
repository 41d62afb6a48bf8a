"""A small data set of made-up words, the whole loop run on it once, and a way to type commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ended_commands import run_in, write_jsonl

SUBJECTS = 60
HOSTILE = "\x1b[31mred\x1b]0;mine\x07\u202e"


def write_dataset(folder: Path) -> None:
    """Documents on one subject each; train and test ask for them in other words."""
    (folder / "qrels").mkdir(parents=True)
    rng = np.random.default_rng(0)
    nouns = ["".join(rng.choice(list("abcdefghijklmnop"), 8)) for _ in range(4 * SUBJECTS)]
    words = [nouns[4 * i : 4 * i + 4] for i in range(SUBJECTS)]
    write_jsonl(
        folder / "corpus.jsonl",
        (
            {"_id": f"d{i}", "title": f"{HOSTILE} {a}", "text": f"about {a} with {b} and {c} {d}"}
            for i, (a, b, c, d) in enumerate(words)
        ),
    )
    questions = [(f"{s}{i}", i, s) for s in ("train", "test") for i in range(SUBJECTS)]
    write_jsonl(
        folder / "queries.jsonl",
        (
            {"_id": id_, "text": f"how does {words[i][0]} use {words[i][1 + (split == 'test')]}"}
            for id_, i, split in questions
        ),
    )
    for split in ("train", "test"):
        lines = [f"{id_}\td{i}\t1\n" for id_, i, of in questions if of == split]
        text = "query-id\tcorpus-id\tscore\n" + "".join(lines)
        (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder where every step was typed once, and what each printed."""
    folder = tmp_path_factory.mktemp("loop")
    write_dataset(folder / "data")
    steps = {
        "train": "train --static --pairs data --dims 32,16,8 --epochs 3 "
        "--batch-size 60 --out model",
        "evaluate": "evaluate model data --keeps 10 --baselines bm25 --out curve.json",
        "plan": "plan curve.json --min-retention 0.9 --out plan.json",
        "index": "index build model data --plan plan.json --out index",
        "search": "search index about -k 3",
        "report": "report curve.json --plan plan.json --out report.html",
    }
    printed = {}
    for name, typed in steps.items():
        printed[name] = run_in(folder, *typed.split())
        assert printed[name].code == 0, printed[name].err
        if name == "evaluate":
            make_latency_grow_with_bytes(folder / "curve.json")
    return folder, printed


def make_latency_grow_with_bytes(curve: Path) -> None:
    """Put made-up latencies in the place of measured ones, which differ from run to run."""
    values = json.loads(curve.read_text())
    for point in values["points"]:
        ram, disk = point["ram_bytes_per_vector"], point["disk_bytes_per_vector"]
        point |= {f"p{share}_ms": (ram + disk / 10) * share / 1000 for share in (50, 95, 99)}
    curve.write_text(json.dumps(values))


@pytest.fixture
def place(finished, tmp_path):
    """A copy of that folder, to do with as one likes."""
    folder = tmp_path / "place"
    shutil.copytree(finished[0], folder)
    return folder


@pytest.fixture
def nestvec(place):
    """Type a command in the copy."""
    return lambda *arguments: run_in(place, *arguments)
