"""``--query-model`` from the measurement to the search."""

import json

import pytest

from nestvec.models.load import load_model
from nestvec.models.precomputed import save_vectors
from pairs import save_pair
from ten_documents import WORDS

PAIR = ("--query-model", "nano", "--same-space")


def write_data(folder):
    (folder / "qrels").mkdir(parents=True)
    pairs = [(one, two) for one in WORDS for two in WORDS if one != two]
    documents = {f"d{n}": f"{one} {two}" for n, (one, two) in enumerate(pairs)}
    documents |= {f"e{n}": f"{one} {one} {two}" for n, (one, two) in enumerate(pairs)}
    for name, texts in (
        ("corpus", documents),
        ("queries", {f"q{n}": f"{two} {one}" for n, (one, two) in enumerate(pairs)}),
    ):
        lines = (json.dumps({"_id": id_, "text": text}) + "\n" for id_, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines))
    lines = "".join(f"q{n}\td{n}\t1\n" for n in range(len(pairs)))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return documents


@pytest.fixture
def place(tmp_path):
    save_pair(tmp_path)
    documents = write_data(tmp_path / "data")
    found = load_model(tmp_path / "large").encode(list(documents.values()), kind="document")
    (tmp_path / "vectors").mkdir()
    save_vectors(list(documents), found, tmp_path / "vectors", kind="document")
    return tmp_path


@pytest.fixture
def run(nestvec):
    def run(*arguments):
        ended = nestvec(*arguments)
        assert ended.code == 0, ended.err
        return ended

    return run


def test_the_whole_loop_with_a_query_model(run, place):
    measured = run("evaluate", "large", "data", *PAIR, "--keeps", "10")
    assert "queries: encoded by nano" in measured.out
    curve = json.loads((place / "curve.json").read_text())
    assert curve["model"]["query_model"]["name"] == "nano"
    run("plan", "curve.json", "--min-retention", "0.5", "--out", "plan.json")
    built = run("index", "build", "large", "data", *PAIR, "--plan", "plan.json", "--out", "index")
    assert "queries: encoded by nano" in built.out
    assert f"queries    encoded by {place / 'nano'}" in run("index", "stats", "index").out
    stats = json.loads(run("index", "stats", "index", "--json").out)
    assert stats["encoder"]["query_model"]["name"] == str(place / "nano")
    assert run("search", "index", "read csv", "--json").err == ""
    run("report", "curve.json", "--plan", "plan.json", "--out", "report.html")
    assert "Queries encoded by" in (place / "report.html").read_text()


def test_models_without_a_known_space_are_refused(nestvec):
    ended = nestvec("evaluate", "large", "data", "--query-model", "nano")
    assert ended.code != 0
    assert "pass --same-space" in ended.err
    assert ended.err.count("\n") == 1
    ended = nestvec("evaluate", "large", "data", "--same-space")
    assert "no effect without query_model (--query-model)" in ended.err


def test_stored_vectors_are_measured_and_indexed_with_a_query_model(run):
    measured = run("evaluate", "vectors", "data", *PAIR, "--keeps", "10")
    assert "dims from config.json" in measured.out  # those of the query model
    built = run(
        *("index", "build", "vectors", "data", *PAIR, "--point", "16:int8@20>32:float16"),
        *("--out", "index"),
    )
    assert "nestvec index model" not in built.out
    found = run("search", "index", "read csv", "-k", "2", "--json").out.splitlines()
    texts = {json.loads(line)["text"] for line in found}
    assert texts == {"read csv", "csv read"}


def test_an_index_gets_another_query_model_for_one_search(run):
    run("index", "build", "large", "data", "--point", "32:int8", "--out", "index")
    found = run("search", "index", "read csv", *PAIR)
    assert "records that queries are encoded by" in found.err


def test_an_adapter_is_fitted_for_the_pair(nestvec, place):
    typed = ("--qrels", "data", "--split", "test", "--method", "svd", "--dims", "8")
    fitted = nestvec("adapt", "large", *typed, *PAIR)
    assert fitted.code == 0, fitted.err
    following = "evaluate large DATASET --adapter adapter.safetensors --query-model nano"
    assert f"nestvec {following} --same-space" in fitted.out
    typed = following.replace("DATASET", "data").split()
    assert nestvec(*typed, "--same-space", "--keeps", "10").code == 0
    refused = nestvec(*typed[:-2], "--keeps", "10")
    assert "large is not the model that the adapter was fitted on" in refused.err
