"""BEIR folders are loaded, counted and saved; errors name the line."""

import gzip
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from nestvec.data.retrieval import load_dataset, load_query_log, save_dataset
from nestvec.errors import InvalidArgument
from nestvec.types import Document
from refusals import refusal

REAL = Path(os.environ.get("NESTVEC_DATA", Path(__file__).parents[3] / "shared" / "data"))

CORPUS = [
    {"_id": "d1", "title": "One", "text": "first"},
    {"_id": "d2", "title": "", "text": ""},
    {"_id": "d3", "text": "third", "metadata": {"line": 3, "tags": ["x"]}, "year": 1.5, "ok": True},
]
QUERIES = [{"_id": "q1", "text": "eins"}, {"_id": "q2", "text": "zwei"}, {"_id": "q3", "text": "3"}]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def beir(folder, corpus=CORPUS, queries=QUERIES, **splits):
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(jsonl(corpus))
    (folder / "queries.jsonl").write_text(jsonl(queries))
    for split, lines in (splits or {"test": ["q1 d1 1"]}).items():
        rows = ["query-id corpus-id score", *lines]
        text = "".join(row.replace(" ", "\t") + "\n" for row in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(text)
    return folder


def test_only_queries_of_the_split_with_a_relevant_document_are_kept(tmp_path):
    folder = beir(tmp_path / "mini", test=["q1 d1 2", "q1 d2 0", "q2 d3 0"], train=["q3 d1 1"])
    data = load_dataset(folder)
    assert (data.name, data.split) == ("mini", "test")
    assert list(data.corpus) == ["d1", "d2", "d3"]
    assert data.queries == {"q1": "eins"}
    assert data.qrels == {"q1": {"d1": 2, "d2": 0}}
    assert data.counts == {
        "unknown_documents": 0,
        "unknown_queries": 0,
        "queries_without_relevant": 1,
        "queries_without_labels": 1,
        "empty_queries": 0,
    }
    assert data.labels == "qrels/test.tsv (other splits: train)"


def test_metadata_are_read_from_both_places(tmp_path):
    corpus = load_dataset(beir(tmp_path / "x")).corpus
    assert corpus["d1"] == Document("first", "One")
    assert corpus["d3"].metadata == {"line": 3, "tags": ["x"], "year": 1.5, "ok": True}


def test_gzipped_files_load_like_plain_ones(tmp_path):
    plain = load_dataset(beir(tmp_path / "x"))
    for file in [*(tmp_path / "x").glob("*.jsonl"), *(tmp_path / "x").glob("qrels/*.tsv")]:
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert load_dataset(tmp_path / "x") == replace(plain, labels="qrels/test.tsv.gz")


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [(("dev", "test", "train"), "test"), (("odd",), "odd"), (("dev", "train"), "dev")],
)
def test_the_default_split_is_test_then_the_only_one_then_dev(tmp_path, splits, chosen):
    folder = beir(tmp_path / "x", **{split: ["q1 d1 1"] for split in splits})
    assert load_dataset(folder).split == chosen
    assert load_dataset(folder, split=splits[-1]).split == splits[-1]


def test_a_split_that_does_not_exist_raises_with_a_list_of_splits(tmp_path):
    folder = beir(tmp_path / "x", train=["q1 d1 1"], val=["q1 d1 1"])
    assert "no split 'dev'. Choose one of train, val" in refusal(load_dataset, folder, split="dev")
    assert "no split 'test'. Choose one of train, val" in refusal(load_dataset, folder)


def test_unknown_ids_are_counted_and_warned_of_once(tmp_path, caplog):
    lines = ["q1 d1 1", "q1 gone 1", "q2 gone 1", "nobody d1 1", "nobody d2 1"]
    with caplog.at_level(logging.WARNING):
        data = load_dataset(beir(tmp_path / "x", test=lines))
    assert data.qrels == {"q1": {"d1": 1}}
    assert data.counts == {
        "unknown_documents": 1,
        "unknown_queries": 1,
        "queries_without_relevant": 1,
        "queries_without_labels": 1,
        "empty_queries": 0,
    }
    [record] = caplog.records
    expected = "1 unknown document and 1 unknown query, such as document 'gone' and query 'nob"
    assert expected in record.getMessage()


@pytest.mark.parametrize(
    ("line", "named"), [("q1 gone 1", "document 'gone'"), ("nobody d1 1", "query 'nobody'")]
)
def test_strict_refuses_unknown_ids_with_file_and_line(tmp_path, line, named):
    folder = beir(tmp_path / "x", test=["q1 d1 1", line])
    assert f"test.tsv:3: names the unknown {named}" in refusal(load_dataset, folder, strict=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"corpus": [*CORPUS, {"_id": "d1", "text": "other"}]},
            "corpus.jsonl:4: id 'd1' appears twice, with different documents",
        ),
        ({"corpus": [{"_id": 1.5, "text": ""}]}, "corpus.jsonl:1: '_id' must be a string, not 1.5"),
        ({"corpus": [{"_id": True, "text": ""}]}, "corpus.jsonl:1: '_id' must be a string, not tr"),
        ({"corpus": [{"_id": None, "text": ""}]}, "corpus.jsonl:1: '_id' must be a string, not nu"),
        ({"corpus": [{"_id": "", "text": ""}]}, "corpus.jsonl:1: '_id' is empty"),
        ({"corpus": [{"text": ""}]}, "corpus.jsonl:1: missing column '_id' (has: text)"),
        ({"corpus": [{"_id": "a", "text": 5}]}, "corpus.jsonl:1: 'text' must be a string, not 5"),
        ({"corpus": [{"_id": "a"}]}, "corpus.jsonl:1: missing column 'text' (has: _id)"),
        ({"corpus": []}, "corpus.jsonl: contains no rows"),
        (
            {"queries": [*QUERIES, {"_id": "q3", "text": "other"}]},
            "queries.jsonl:4: id 'q3' appears twice, with different queries",
        ),
        ({"queries": [{"_id": "a", "text": 5}]}, "queries.jsonl:1: 'text' must be a string, not 5"),
        ({"test": ["q1 d1 0.5"]}, "test.tsv:2: score '0.5' is not an integer"),
        ({"test": ["q1 d1 nan"]}, "test.tsv:2: score 'nan' is not an integer"),
        ({"test": ["q1 d1 inf"]}, "test.tsv:2: score 'inf' is not an integer"),
        ({"test": ["q1 d1 one"]}, "test.tsv:2: score 'one' is not an integer"),
        ({"test": ["q1 d1 1", "q1 d1 2"]}, "test.tsv:3: query 'q1' and document 'd1' have another"),
        ({"test": ["q1 d1 1", "q1 d1"]}, "test.tsv:3: has 2 fields"),
        ({"test": []}, "test.tsv: contains no rows"),
        ({"test": ["q1 d1 0"]}, "test.tsv: no query has a relevant document"),
    ],
)
def test_malformed_sets_are_reported_with_file_and_line(tmp_path, change, expected):
    assert expected in refusal(load_dataset, beir(tmp_path / "x", **change))


def test_folders_that_are_no_retrieval_set_raise(tmp_path):
    assert "does not exist" in refusal(load_dataset, tmp_path / "none")
    assert "has no corpus.jsonl" in refusal(load_dataset, tmp_path)
    folder = beir(tmp_path / "x")
    assert "is not a folder" in refusal(load_dataset, folder / "corpus.jsonl")
    (folder / "qrels" / "test.tsv").unlink()
    assert "has no qrels/<split>.tsv" in refusal(load_dataset, folder, split="train")


def test_a_folder_without_labels_is_a_query_log(tmp_path):
    folder = beir(tmp_path / "x", queries=[*QUERIES, {"_id": "q4", "text": "zwei"}])
    (folder / "qrels" / "test.tsv").unlink()
    data = load_dataset(folder)
    assert (data.evidence, data.split, data.qrels) == ("agreement", "query log", {})
    assert data.queries == {"q1": "eins", "q2": "zwei", "q3": "3"}
    assert data.counts["duplicate_queries"] == 1


def test_a_folder_of_documents_alone_raises_with_both_remedies(tmp_path):
    folder = beir(tmp_path / "x")
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "queries.jsonl").unlink()
    message = refusal(load_dataset, folder)
    assert "has neither qrels nor queries.jsonl" in message
    assert "load_query_log" in message
    assert "make_queries" in message


def test_a_corpus_and_a_log_may_be_two_files(tmp_path):
    folder = beir(tmp_path / "x")
    (tmp_path / "log.txt").write_text("how?\nwhy?\nhow?\n")
    data = load_query_log(folder / "corpus.jsonl", tmp_path / "log.txt", limit=None)
    assert (data.name, data.evidence, list(data.corpus)) == (
        "corpus",
        "agreement",
        ["d1", "d2", "d3"],
    )
    assert data.queries == {"line-1": "how?", "line-2": "why?"}


def test_what_is_saved_loads_the_same_whatever_is_in_it(tmp_path):
    corpus = {
        'tab\t"quote"': Document("line\nbreak \u2028 ü 😀", "T", {"file": "a.py", "line": 3}),
        "plain": Document(""),
    }
    queries = {"q\n1": "what?", "q2": "unused"}
    qrels = {"q\n1": {'tab\t"quote"': 2, "plain": 0}}
    save_dataset(corpus, queries, {"test": qrels, "train": {"q2": {"plain": 1}}}, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert (data.corpus, data.queries, data.qrels) == (corpus, {"q\n1": "what?"}, qrels)
    assert load_dataset(tmp_path / "out", split="train").queries == {"q2": "unused"}


def test_saving_replaces_an_older_set_and_nothing_else(tmp_path):
    corpus, queries = {"d": Document("x")}, {"q": "y"}
    for split in ("dev", "test"):
        save_dataset(corpus, queries, {split: {"q": {"d": 1}}}, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out" / "qrels").iterdir()] == ["test.tsv"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    assert "has no corpus.jsonl" in refusal(
        save_dataset, corpus, queries, {"test": {"q": {"d": 1}}}, tmp_path / "mine"
    )
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("split", ["", "../x", "a/b"])
def test_a_split_cannot_lead_out_of_the_folder(tmp_path, split):
    with pytest.raises(InvalidArgument, match="plain file name"):
        save_dataset({}, {}, {split: {}}, tmp_path / "out")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data sets are not on this machine")
@pytest.mark.parametrize(
    ("name", "documents", "queries"),
    [
        ("cosqa", 6_267, 500),
        ("ms-support", 2_441, 600),
        ("scifact", 5_183, 300),
        ("squad-sent", 13_447, 10_570),
        ("xquad-en", 240, 1_190),
    ],
)
def test_real_sets_load_whole(name, documents, queries):
    data = load_dataset(REAL / "retrieval" / name, strict=True)
    assert (len(data.corpus), len(data.queries)) == (documents, queries)
    assert all(grades.keys() <= data.corpus.keys() for grades in data.qrels.values())
