"""``nestvec evaluate VECTORS`` without a data set, and ``--sample``."""

import json

import pytest

ONE = ("--precisions", "float32,int8", "--keeps", "10")


@pytest.fixture
def stored(nestvec):
    """A folder of the vectors of 60 documents."""
    ended = nestvec("embed", "model", "data", "--out", "stored", "--precision", "float32")
    assert ended.code == 0, ended.err


def test_vectors_alone_are_measured_on_a_sample(nestvec, place, stored):
    ended = nestvec("evaluate", "stored", "--sample", "45", "--seed", "2", *ONE)
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    assert "evidence: agreement with full precision, not relevance" in said
    assert "measured on a sample of 45 of 60 documents (75 %)" in said
    assert "more documents compete for each rank, so agreement can be lower" in said
    assert "The 11 queries are sampled documents, which are not searched" in said
    assert max(map(len, ended.out.splitlines())) <= 80
    dataset = json.loads((place / "curve.json").read_text())["dataset"]
    assert dataset["sample"] == {"rows": 45, "total": 60, "seed": 2, "fraction": 0.75}
    assert (dataset["n_documents"], dataset["n_queries"]) == (34, 11)
    ended = nestvec("plan", "curve.json", "--min-overlap", "0.5")
    assert "a sample of 45 of 60 documents" in " ".join(ended.out.split())
    ended = nestvec("evaluate", "stored", "--sample", "40", "--json", *ONE)
    assert json.loads(ended.out)["sample"]["total"] == 60


def test_a_log_of_texts_needs_a_query_model(nestvec, place, stored):
    (place / "log.txt").write_text("how does one use another\nwhat is new\n")
    log = ("--queries", "log.txt", "--out", "log.json", *ONE)
    ended = nestvec("evaluate", "stored", "--query-model", "model", *log)
    assert ended.code == 0, ended.err
    dataset = json.loads((place / "log.json").read_text())["dataset"]
    assert (dataset["n_documents"], dataset["n_queries"], dataset["split"]) == (60, 2, "query log")
    ended = nestvec("evaluate", "stored", *log)
    assert ended.code == 2
    assert "encode queries with --query-model MODEL" in ended.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("stored", "--make-queries", "title"), "--make-queries requires texts"),
        (("stored", "--split", "test"), "--split requires a folder with relevance labels"),
        (("model",), "cannot be measured without a data set"),
        (("model", "data", "--sample", "5"), "is a model, so sample=5 has no effect"),
        (("stored", "--sample", "0"), "sample=0 is below 1"),
        (
            ("stored", "data", "--sample", "50", "--run", "x.trec"),
            "rank all documents, not a sample",
        ),
    ],
)
def test_contradictions_are_one_line(nestvec, stored, arguments, problem):
    ended = nestvec("evaluate", *arguments, *ONE)
    assert ended.code == 2
    assert problem in " ".join(ended.err.split())
    assert ended.err.count("\n") == 1
