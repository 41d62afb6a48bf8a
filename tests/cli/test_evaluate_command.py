"""``nestvec evaluate`` prints the labels that it used, and the input that it did not use."""

import json

import numpy as np
import pytest

from nestvec.data.retrieval import load_dataset

ONE = ("--precisions", "float32", "--out", "new.json")


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def test_labels_in_jsonl_are_measured_and_named(nestvec, place):
    labels = [
        {"query-id": query, "corpus-id": document, "score": float(grade)}
        for query, grades in load_dataset(place / "data").qrels.items()
        for document, grade in grades.items()
    ]
    expected = json.loads((place / "curve.json").read_text())["points"][0]["metrics"]["ndcg@10"]
    (place / "data/qrels/test.tsv").unlink()
    write(place / "data/qrels/test.jsonl", labels)
    ended = nestvec("evaluate", "model", "data", *ONE)
    assert "labels: qrels/test.jsonl (other splits: train)" in ended.out
    assert "agreement" not in ended.out
    curve = json.loads((place / "new.json").read_text())
    assert curve["points"][0]["metrics"]["ndcg@10"] == expected
    assert curve["dataset"]["labels"] == "qrels/test.jsonl (other splits: train)"


def test_unreadable_labels_are_one_line(nestvec, place):
    for file in (place / "data/qrels").iterdir():
        file.rename(file.with_suffix(".xml"))
    ended = nestvec("evaluate", "model", "data", *ONE)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "data/qrels: has no readable relevance labels. Use qrels/<split>.tsv" in ended.err


def test_self_matches_are_left_out_counted_and_kept_on_request(nestvec, place):
    documents = rows(place / "data/corpus.jsonl")
    write(
        place / "data/queries.jsonl",
        [{"_id": each["_id"], "text": each["text"]} for each in documents],
    )
    lines = [f"{query} 0 d{n} 1\n" for query in ("d0", "d2") for n in range(3, 60)]
    (place / "data/qrels/test.tsv").write_text("".join(lines))
    ended = nestvec("evaluate", "model", "data", *ONE)
    printed = " ".join(ended.out.split())
    assert ended.code == 0, ended.err
    assert "2 queries that are documents of the corpus, each of which ignores its own" in printed
    ended = nestvec("evaluate", "model", "data", "--keep-self", "--json", *ONE)
    counts = json.loads(ended.out)["counts"]
    assert counts["self_matches_kept"] == 2
    assert counts["queries_without_labels"] == 58


def test_duplicates_and_queries_without_a_match_are_printed(nestvec, place):
    documents = rows(place / "data/corpus.jsonl")
    write(
        place / "data/corpus.jsonl",
        [*documents, *({**each, "_id": f"{each['_id']}-copy"} for each in documents[:7])],
    )
    queries = rows(place / "data/queries.jsonl")
    write(place / "data/queries.jsonl", [{**each, "text": "日本"} for each in queries])
    ended = nestvec("evaluate", "model", "data", "--baselines", "bm25", *ONE)
    printed = " ".join(ended.out.split())
    assert "7 documents with the same text as an earlier document: equal texts compete" in printed
    assert "60 queries without a word of the corpus, which score 0 with BM25" in printed


@pytest.mark.parametrize("option", ["--strict", "--split=test"])
@pytest.mark.parametrize("data", [["data", "--make-queries", "title"], ["pairs.jsonl"]])
def test_options_of_labels_without_labels_are_refused(nestvec, place, option, data):
    pairs = [{"sentence1": "a", "sentence2": str(n), "score": n} for n in range(4)]
    write(place / "pairs.jsonl", pairs)
    ended = nestvec("evaluate", "model", *data, option, *ONE)
    assert ended.code == 2
    name = option.partition("=")[0]
    assert f"{name} requires a folder with relevance labels. Omit the option." in ended.err


def test_settings_that_a_similarity_task_does_not_use_are_named(nestvec, place):
    pairs = [{"sentence1": "about a", "sentence2": f"how {n}", "score": n} for n in range(4)]
    write(place / "pairs.jsonl", pairs)
    ended = nestvec("evaluate", "model", "pairs.jsonl", "--baselines", "bm25", "--depth", "5", *ONE)
    assert "settings that a similarity task does not use: depth, baselines" in ended.err


def test_filters_of_queries_are_measured_and_a_wrong_one_is_named(nestvec, place):
    documents = rows(place / "data/corpus.jsonl")
    for number, each in enumerate(documents):
        each["metadata"] = {"number": number}
    write(place / "data/corpus.jsonl", documents)
    queries = rows(place / "data/queries.jsonl")
    for number, each in enumerate(queries):
        each["where"] = f"number < {len(documents) // 2}" if number % 2 else ""
    write(place / "data/queries.jsonl", queries)
    ended = nestvec("evaluate", "model", "data", "--filter-by", "where", *ONE)
    assert ended.code == 0, ended.err
    assert "that the filter of" in " ".join(ended.out.split())
    assert json.loads((place / "new.json").read_text())["dataset"]["filter_by"] == "where"
    with np.load(place / "new.scores.npz") as scores:
        assert {*scores["slice:filter"].tolist()} == {"none", "above 10 %"}
    for each in queries:
        each["where"] = "numbr < 3"
    write(place / "data/queries.jsonl", queries)
    ended = nestvec("evaluate", "model", "data", "--filter-by", "where", *ONE)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "has the filter 'numbr < 3'. filter: no document has the field numbr." in ended.err
