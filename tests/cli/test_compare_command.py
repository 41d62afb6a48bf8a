"""``nestvec compare`` as a user runs it."""

import json
import re
import subprocess
import sys

import pytest

from fakes import made_set
from nestvec.index.building import build_index
from nestvec.models.load import load_model
from nestvec.types import Document
from word_model import save_word_model

WORDS = [f"w{number}" for number in range(40)]
DATA = made_set(120, 30)


def words_of(text):
    return " ".join(f"w{int(word[1:]) % 40}" for word in text.split() if word[1:].isdigit())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    model = load_model(save_word_model(folder / "model"))
    corpus = {
        id_: Document(words_of(document.text), title=f"Title {id_}")
        for id_, document in DATA.corpus.items()
    }
    build_index(model, corpus, "32:float32", folder / "index").close()
    kept = {id_: document for id_, document in corpus.items() if not id_.endswith("7")}
    build_index(model, kept, "32:float32", folder / "less").close()
    lines = [json.dumps({"id": id_, "text": words_of(text)}) for id_, text in DATA.queries.items()]
    (folder / "log.jsonl").write_text("\n".join(lines), "utf-8")
    rows = [f"{q}\t{d}\t{grade}" for q, found in DATA.qrels.items() for d, grade in found.items()]
    header = "query-id\tcorpus-id\tscore"
    (folder / "qrels.tsv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return folder


def run(place, *arguments):
    command = [sys.executable, "-m", "nestvec.cli.main", "compare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=place, timeout=120)


LOG = ("--queries", "log.jsonl")
CHEAP = ("--new-point", "8:sign")


def test_two_points_of_one_index(place):
    done = run(place, "index", "index", *CHEAP, *LOG, "--qrels", "qrels.tsv", "--out", "page.html")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "OLD  index" in lines and "     operating point 8:sign" in lines
    assert "30 queries of the log, 10 results each" in lines
    counts = [int(line.split()[-1 if "#" not in line else -2]) for line in lines
              if re.match(r"(0\.\d to|1 )", line)]  # fmt: skip
    assert sum(counts) == 30
    assert any(line.startswith("relevance  nDCG@10 of OLD") for line in lines)
    assert any(re.search(r"Title d\d+ .*Title d\d+", line) for line in lines)
    assert lines[-1] == "See  page.html"
    assert "<h1>" in (place / "page.html").read_text("utf-8")


def test_limits_set_the_exit_code(place):
    low = run(place, "index", "index", *CHEAP, *LOG, "--min-overlap", ".01")
    assert (low.returncode, low.stdout.splitlines()[-1]) == (0, "passed")
    high = run(place, "index", "index", *CHEAP, *LOG, "--min-overlap", ".999", "--json")
    assert high.returncode == 1
    found = json.loads(high.stdout)
    assert found["passed"] is False
    assert found["failures"] == [f"overlap@10 is {found['overlap']['mean']:.3f}, below 0.999"]


def test_missing_documents_are_named(place):
    done = run(place, "index", "less", *LOG, "--min-overlap", "1")
    assert done.returncode == 0, done.stdout
    text = " ".join(done.stdout.split())
    assert "NEW does not contain 12 documents of OLD, such as d" in text
    assert "mean 1.000" in text


def test_without_a_log_documents_serve_as_queries(place):
    done = run(place, "index", "less", "--sample", "20", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["source"], len(found["queries"])) == (0, "sampled documents", 20)
    assert found["overlap"]["mean"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("index", "index"), "OLD and NEW are the same search of index"),
        (("index", "nowhere"), "nowhere"),
        (("index", "index", "--new-point", "64:int8"), "32"),
        (("index", "less", "--old-set", "x"), "--old-set 'x' has no value"),
        (("index", "less", "--new-distance", "l1"), "--new-distance 'l1' is unknown"),
        (("index", "less", "--new-distance", "l2"), "whose search has no statement"),
        (("index", "less", "--qrels", "qrels.tsv"), "--qrels needs --queries"),
        (("index", "less", "--min-retention", ".9"), "needs relevance labels"),
        (("index", "less", *LOG, "--qrels", "qrels.tsv", "-k", "5"), "needs 10 results"),
    ],
)
def test_wrong_input_has_exit_code_2_and_one_line(place, arguments, message):
    done = run(place, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
