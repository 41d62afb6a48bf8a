"""Bad input ends with exit code 2 and one line, and leaves what was there before as it was."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

HOSTILE = "\x1b]0;mine\x07"
ROW = json.dumps({"_id": "d0", "text": "one"}) + "\n"
OTHER_ROW = '{"_id": "d0", "text": "other"}\n'


def snapshot(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def corpus(text):
    return lambda place: (place / "data/corpus.jsonl").write_text(text, encoding="utf-8")


def vectors(values, ids="a\nb\n"):
    def make(place):
        (place / "vectors").mkdir()
        np.save(place / "vectors/corpus.npy", np.array(values, np.float32))
        (place / "vectors/corpus.ids.txt").write_text(ids)

    return make


def unknown_document(place):
    with (place / "data/qrels/test.tsv").open("a") as file:
        file.write("test0\tnowhere\t1\n")


def truncated(name):
    def cut(place):
        size = (place / name).stat().st_size
        os.truncate(place / name, size // 2)

    return cut


def deleted(name):
    return lambda place: (place / name).unlink()


def foreign(place):
    (place / "mine").mkdir()
    (place / "mine/letter.txt").write_text("dear")


def another_model(place):
    path = place / "model/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(0.125).tobytes()
    path.write_bytes(data)


def nothing(place):
    pass


EVALUATE = "evaluate model data --out new.json"
BUILD = "index build model data --point 16:int4 --out new"
CASES = {
    "empty corpus": (corpus(""), EVALUATE, "data/corpus.jsonl: contains no rows"),
    "malformed line": (corpus(ROW + "{\n"), EVALUATE, "corpus.jsonl:2: is not JSON"),
    "missing column": (corpus('{"_id": "a"}\n'), EVALUATE, "corpus.jsonl:1: missing column 'text'"),
    "hostile column": (
        corpus(json.dumps({"_id": "a", HOSTILE: ""}) + "\n"),
        EVALUATE,
        "missing column",
    ),
    "duplicated id": (corpus(ROW + OTHER_ROW), BUILD, "corpus.jsonl:2: id 'd0' appears twice"),
    "hostile id": (
        corpus("".join(json.dumps({"_id": HOSTILE, "text": text}) + "\n" for text in "xy")),
        BUILD,
        "appears twice",
    ),
    "not UTF-8": (
        lambda place: (place / "data/corpus.jsonl").write_bytes(b"\xff\n"),
        BUILD,
        "corpus.jsonl:1: is not UTF-8",
    ),
    "NaN vector": (
        vectors([[1, 0], [np.nan, 0]]),
        "index build vectors data --point 2:int4 --out new",
        "'b' (row 1) has NaN",
    ),
    "zero vector": (
        vectors([[1, 0], [0, 0]]),
        "index build vectors data --point 2:int4 --out new",
        "'b' (row 1) is all zeros",
    ),
    "ids do not fit": (
        vectors([[1, 0], [0, 1]], ids="a\n"),
        "evaluate vectors data --out new.json",
        "has 2 rows, but there are 1 ids",
    ),
    "dim above full": (nothing, f"{EVALUATE} --dims 16,999", "dim=999 is larger than full_dim=32"),
    "point above full": (
        nothing,
        "index build model data --point 999:int4 --out new",
        "dim=999 is larger than full_dim=32",
    ),
    "dims not numbers": (nothing, f"{EVALUATE} --dims 16,x", "--dims '16,x'"),
    "keeps of zero": (nothing, f"{EVALUATE} --keeps 0", "keep=0 is below 1"),
    "unknown precision": (nothing, f"{EVALUATE} --precisions int9", "'int9' is not one of"),
    "unknown metric": (nothing, f"{EVALUATE} --metrics ndgc@10", "ndgc@10"),
    "unknown split": (nothing, f"{EVALUATE} --split dev", "no split 'dev'. Choose one of test"),
    "unknown point": (
        nothing,
        "index build model data --point 64 --out new",
        "'64' is not an operating point",
    ),
    "plan and point": (
        nothing,
        "index build model data --plan plan.json --point 8:int4 --out new",
        "--plan and --point exclude each other. Pass one",
    ),
    "truncated vectors": (truncated("index/vectors/0-0.vectors"), "search index x", "0-0.vectors"),
    "truncated documents": (truncated("index/documents.sqlite"), "search index x", "documents"),
    "truncated manifest": (truncated("index/manifest.json"), "search index x", "manifest.json"),
    "truncated curve": (truncated("curve.json"), "plan curve.json", "curve.json: is not JSON"),
    "truncated plan": (
        truncated("plan.json"),
        "report curve.json --plan plan.json",
        "plan.json: is not JSON",
    ),
    "truncated scores": (truncated("curve.scores.npz"), "plan curve.json", "Evaluate again"),
    "truncated model": (truncated("model/model.safetensors"), EVALUATE, "model.safetensors"),
    "curve without scores": (
        deleted("curve.scores.npz"),
        "plan curve.json",
        "curve.scores.npz: is missing",
    ),
    "unknown document": (
        unknown_document,
        f"{EVALUATE} --strict",
        "test.tsv:62: names the unknown",
    ),
    "no model": (nothing, "evaluate ./nowhere data", "nowhere: there is no such folder"),
    "no dataset": (nothing, "evaluate model nowhere", "nowhere: does not exist"),
    "no curve": (nothing, "plan nowhere.json", "nowhere.json: cannot be read"),
    "no plan": (nothing, "report curve.json --plan no.json", "no.json: cannot be read"),
    "no index": (nothing, "search nowhere x", "nowhere: is not an index folder"),
    "no pairs": (nothing, "train --static --pairs no.jsonl --out new", "no.jsonl: does not exist"),
    "model is a file": (nothing, "evaluate plan.json data", "plan.json: is a file"),
    "dataset is a file": (
        nothing,
        "evaluate model plan.json",
        "plan.json: has an unknown file",
    ),
    "index is a file": (nothing, "search plan.json x", "plan.json: is not an index folder"),
    "curve is a folder": (nothing, "plan model", "model: cannot be read"),
    "pairs are a folder": (
        nothing,
        "train --static --pairs model --out new",
        "model: has no corpus.jsonl",
    ),
    "train without --static": (
        nothing,
        "train --pairs data --out new",
        "no model to fine-tune is given",
    ),
    "plan of another model": (
        another_model,
        "index build model data --plan plan.json --out new",
        "plan",
    ),
    "index of another model": (
        another_model,
        "search index x --model model",
        "contains vectors of",
    ),
    "k of zero": (nothing, "search index x -k 0", "-k 0 is less than 1"),
    "k below zero": (nothing, "search index x -k -1", "-k -1 is less than 1"),
    "retention above 1": (
        nothing,
        "plan curve.json --min-retention 98",
        "min_retention=98.0 is out of range",
    ),
    "impossible limit": (nothing, "plan curve.json --max-p95-ms 0", "no point is within"),
    "metric not measured": (nothing, "plan curve.json --metric mrr@10", "was not measured"),
    "page of no metric": (nothing, "report curve.json --metric mrr@10", "was not measured"),
    "same curve twice": (nothing, "report curve.json curve.json", "same file name"),
    "picture of a kind": (nothing, "report curve.json --chart c.docx --out new.html", "c.docx"),
    "curve onto a folder": (nothing, "evaluate model data --out model", "model: is a folder"),
    "plan onto a folder": (nothing, "plan curve.json --out model", "model: is a folder"),
    "page onto a folder": (nothing, "report curve.json --out model", "model: is a folder"),
    "demo onto a file": (nothing, "demo --out plan.json", "plan.json: is a file"),
    "demo onto others": (foreign, "demo --out mine", "mine: exists and has no data/corpus.jsonl"),
    "index onto others": (
        foreign,
        "index build model data --point 8:int4 --out mine",
        "mine: exists and has no ",
    ),
    "index onto a file": (
        nothing,
        "index build model data --point 8:int4 --out plan.json",
        "plan.json: is a file",
    ),
    "model onto others": (
        foreign,
        "train --static --pairs data --out mine",
        "mine: exists and has no modules.json",
    ),
    "below a file": (nothing, "evaluate model data --out plan.json/c.json", "plan.json is a file"),
    "missing option": (nothing, "train --static", "Missing option '--pairs'"),
    "unknown option": (nothing, "plan curve.json --mine", "No such option: --mine"),
    "unknown command": (nothing, "pan curve.json", "No such command 'pan'"),
    "not a number": (nothing, "plan curve.json --seed x", "--seed"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_and_changes_nothing(nestvec, place, case):
    make, typed, expected = CASES[case]
    make(place)
    before = snapshot(place)
    ended = nestvec(*typed.split())
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("nestvec: ")
    assert expected in ended.err
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err
    assert "\x07" not in ended.err
    assert snapshot(place) == before


def test_a_hub_that_cannot_be_reached_is_one_line(place):
    command = [sys.executable, "-m", "nestvec.cli.main", "evaluate", "some/model", "data"]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(place / "hub")}
    done = subprocess.run(
        command, cwd=place, env=offline, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "hub cannot be reached or has no such model" in done.stderr
    assert done.stderr.count("\n") == 1


FULL = {
    "train": "train --static --pairs data --dims 32,8 --epochs 1 --batch-size 60 --out model",
    "evaluate": "evaluate model data --precisions float32 --out curve.json",
    "plan": "plan curve.json --out plan.json",
    "index": "index build model data --point 32:float32 --out index",
    "report": "report curve.json --out report.html",
    "picture": "report curve.json --out report.html --chart curve.svg",
}


@pytest.mark.parametrize("step", FULL)
def test_a_disk_that_is_full_leaves_the_old_output(place, step):
    """No file may grow beyond 1.5 kB: a full disk, but one that needs no rights to be made."""
    (place / "curve.svg").write_text("old")
    before = snapshot(place)
    limited = (
        "import resource, sys\n"
        "import matplotlib.font_manager\n"  # writes its cache on first use
        "from nestvec.cli import progress\n"
        "from nestvec.cli.main import run\n"
        "progress.SHORT_S = 600\n"  # no line of a step that ended, also on a slow machine
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))\n"
        "run()\n"
    )
    command = [sys.executable, "-c", limited, *FULL[step].split()]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert snapshot(place) == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_known_before_the_work(nestvec, place):
    (place / "closed").mkdir(mode=0o500)
    ended = nestvec("evaluate", "model", "data", "--out", "closed/curve.json")
    assert ended.code == 2
    assert "closed/curve.json: cannot be written: no permission" in ended.err


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("train --pairs data --out new", "no model to fine-tune is given. Name a model,"),
        ("train model --static --dims 64 --pairs data --out new", "dim 64 is larger than 32"),
        ("train --static --batch-size 1 --pairs data --out new", "batch_size=1 is less than 2"),
        ("train --static --dev data --pairs data --out new", "--dev is for fine-tuning, not"),
        ("train --static --config no.toml --pairs data --out new", "no.toml: cannot be read"),
        ("train nowhere/at/all --static --pairs data --out new", "there is no such folder"),
        ("train --static --dtype int8 --pairs data --out new", "'int8' is not one of float32,"),
        ("train model --pairs data --out new", "is not a transformer model. Use --static to train"),
    ],
)
def test_what_train_cannot_do_is_one_line(nestvec, place, typed, message):
    ended = nestvec(*typed.split())
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err and ended.err.count("\n") == 1
    assert not (place / "new").exists()
