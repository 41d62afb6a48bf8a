"""Retrieval sets load from the layouts that exports have; files that are not read are named."""

import csv
import gzip
import io
import json
import logging

import pytest

from nestvec.data.corpus import is_text_folder, load_corpus, open_corpus
from nestvec.data.retrieval import load_dataset
from nestvec.errors import InvalidArgument
from refusals import refusal

CORPUS = [{"_id": f"d{n}", "title": f"T{n}", "text": f"text {n}"} for n in range(4)]
QUERIES = [{"_id": f"q{n}", "text": f"query {n}"} for n in range(3)]
LABELS = [
    {"query-id": "q0", "corpus-id": "d0", "score": 1},
    {"query-id": "q0", "corpus-id": "d1", "score": 0},
    {"query-id": "q1", "corpus-id": "d2", "score": 2},
]
QRELS = {"q0": {"d0": 1, "d1": 0}, "q1": {"d2": 2}}


def content(name, rows):
    """Return the rows in the format of the file's name."""
    if name.endswith(".gz"):
        return gzip.compress(content(name.removesuffix(".gz"), rows))
    if name.endswith(".parquet"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        buffer = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    if name.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    text = io.StringIO()
    delimiter = {"csv": ",", "tsv": "\t"}[name.rpartition(".")[2]]
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([list(rows[0]), *([*row.values()] for row in rows)])
    return text.getvalue().encode()


def write(folder, files):
    for name, rows in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rows.encode() if isinstance(rows, str) else content(name, rows))
    return folder


def warnings(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "split"),
    [
        ("corpus.jsonl", "queries.jsonl", "qrels/test.jsonl", "test"),  # MTEB
        ("corpus.jsonl.gz", "queries.jsonl.gz", "qrels/test.jsonl.gz", "test"),
        ("corpus.jsonl", "queries.jsonl", "qrels/test.csv", "test"),
        ("corpus.csv", "queries.tsv", "qrels/dev.csv.gz", "dev"),
        ("corpus.parquet", "queries.parquet", "qrels/test.parquet", "test"),
        ("corpus.jsonl", "queries.jsonl", "qrels.tsv", "qrels"),
        ("corpus.jsonl", "queries.jsonl", "qrels_test.jsonl", "test"),
        (
            "corpus/corpus-00000-of-00001.parquet",
            "queries/queries-00000-of-00001.parquet",
            "data/test-00000-of-00001.parquet",
            "test",
        ),
        (
            "corpus/test-00000-of-00001.parquet",
            "queries/test-00000-of-00001.parquet",
            "qrels/test-00000-of-00001.parquet",
            "test",
        ),
        (
            "corpus-00000-of-00001.parquet",
            "query-00000-of-00001.parquet",
            "qrels-00000-of-00001.parquet",
            "qrels",
        ),
        (
            "data/corpus-00000-of-00001.parquet",
            "data/queries-00000-of-00001.parquet",
            "data/default-00000-of-00001.parquet",
            "default",
        ),
        ("corpus.jsonl", "queries.jsonl", "test.jsonl", "test"),
    ],
)
def test_labels_are_read_in_every_layout(tmp_path, caplog, corpus, queries, qrels, split):
    write(tmp_path, {corpus: CORPUS, queries: QUERIES, qrels: LABELS})
    with caplog.at_level(logging.WARNING):
        data = load_dataset(tmp_path)
    assert (data.evidence, data.split, data.qrels) == ("labels", split, QRELS)
    assert data.labels == qrels
    assert data.queries == {"q0": "query 0", "q1": "query 1"}
    assert [each.content for each in data.corpus.values()] == [f"T{n} text {n}" for n in range(4)]
    assert data.counts["queries_without_labels"] == 1
    assert warnings(caplog) == []
    assert load_corpus(tmp_path) == data.corpus == dict(open_corpus(tmp_path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qrels.txt", "q0 0 d0 1\nq0 Q0 d1 0\n\nq1  0\td2 2\n"),  # TREC
        ("qrels.dev.small.tsv", "q0\t0\td0\t1\nq0\t0\td1\t0\nq1\t0\td2\t2\n"),  # MS MARCO
        ("qrels/test.tsv", "q0\td0\t1\nq0\td1\t0\nq1\td2\t2\n"),
        ("qrels/test.csv", "q0,d0,1\nq0,d1,0\nq1,d2,2\n"),
        ("qrels/test.tsv", "q0 0 d0 1\nq0 0 d1 0\nq1 0 d2 2\n"),  # spaces, not tabs
        ("qrels/test.txt", "query_id doc_id relevance\nq0 d0 1\nq0 d1 0\nq1 d2 2\n"),
        ("qrels/test.csv", '"query-id","corpus-id","score"\nq0,d0,1\nq0,d1,0\n"q1","d2","2"\n'),
        ("qrels/test.tsv", "qid\tdocid\trel\nq0\td0\t1\nq0\td1\t0\nq1\td2\t2\n"),
    ],
)
def test_labels_without_a_header_or_with_other_names_are_read(tmp_path, name, text):
    write(tmp_path, {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, name: text})
    data = load_dataset(tmp_path, strict=True)
    assert data.qrels == QRELS


def test_parts_of_a_table_are_read_in_order(tmp_path):
    files = {
        "corpus/corpus-00000-of-00002.parquet": CORPUS[:2],
        "corpus/corpus-00001-of-00002.parquet": CORPUS[2:],
        "queries/queries-00000-of-00002.parquet": QUERIES[:1],
        "queries/queries-00001-of-00002.parquet": QUERIES[1:],
        "qrels/test-00000-of-00002.parquet": LABELS[:1],
        "qrels/test-00001-of-00002.parquet": LABELS[1:],
    }
    data = load_dataset(write(tmp_path, files))
    assert data.qrels == QRELS
    assert list(data.corpus) == ["d0", "d1", "d2", "d3"]
    for name in ("qrels/test-00000-of-00002.parquet", "qrels/test-00001-of-00002.parquet"):
        (tmp_path / name).unlink()
    log = load_dataset(tmp_path)
    assert (log.evidence, list(log.queries)) == ("agreement", ["q0", "q1", "q2"])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("qrels.json", "{}", "qrels.json: has no readable relevance labels. Use qrels/<split>.tsv"),
        ("qrels/test.xlsx", "x", "qrels: has no readable relevance labels. Use qrels/<split>.tsv"),
        ("qrels", "q0 0 d0 1\n", "qrels: has no readable relevance labels"),
        ("qrels.txt", "q0 0 d0\nq1\n", "qrels.txt:1: score 'd0' is not an integer"),
        ("qrels.txt", "q0 d0\n", "qrels.txt:1: has 2 fields. Expected a header"),
        ("qrels.txt", "", "qrels.txt: contains no rows"),
        ("qrels/test.tsv", "query-id\tscore\nq0\t1\n", "test.tsv:2: missing column 'corpus-id'"),
        ("qrels/test.jsonl", '{"q": 1}\n', "test.jsonl:1: missing column 'query-id' (has: q)"),
        ("qrels/test.jsonl", '{"query-id": "x"\n', "test.jsonl:1: is not JSON"),
    ],
)
def test_labels_that_cannot_be_read_are_an_error(tmp_path, name, text, expected):
    write(tmp_path, {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, name: text})
    assert expected in refusal(load_dataset, tmp_path)


def test_the_names_of_splits_keep_their_case(tmp_path):
    files = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/Dev-B.TSV.GZ": ""}
    (write(tmp_path, files) / "qrels/Dev-B.TSV.GZ").write_bytes(content("x.tsv.gz", LABELS))
    assert load_dataset(tmp_path, split="Dev-B").qrels == QRELS


def test_unread_data_files_are_named_once(tmp_path, caplog):
    files = {
        "corpus.jsonl": CORPUS,
        "corpus.csv": CORPUS[:1],
        "queries.jsonl": QUERIES,
        "qrels/test.tsv": LABELS,
        "qrels/test.jsonl": LABELS[:1],
        "qrels/dev.tsv": LABELS,  # another split
        "notes.txt": "text",
        "README.md": "text",
    }
    with caplog.at_level(logging.WARNING):
        data = load_dataset(write(tmp_path, files))
    assert len(data.corpus) == 4
    assert data.labels == "qrels/test.jsonl (other splits: dev)"
    [message] = warnings(caplog)
    assert "data files that are not read: 2, such as 'corpus.csv'" in message


def test_unused_columns_of_labels_are_named(tmp_path, caplog):
    labels = [{**label, "annotator": "a", "note": ""} for label in LABELS]
    files = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.jsonl": labels}
    with caplog.at_level(logging.WARNING):
        load_dataset(write(tmp_path, files))
    [message] = warnings(caplog)
    assert "test.jsonl: columns that are not used: 2, such as 'annotator'" in message


def test_labels_without_queries_are_an_error(tmp_path):
    write(tmp_path, {"corpus.jsonl": CORPUS, "qrels/test.tsv": LABELS})
    assert "has relevance labels but no queries.jsonl" in refusal(load_dataset, tmp_path)


def test_the_split_decides_between_several_corpora(tmp_path):
    files = {
        "corpus/train-00000-of-00001.parquet": CORPUS[:1],
        "corpus/test-00000-of-00001.parquet": CORPUS,
        "queries/train-00000-of-00001.parquet": QUERIES[:1],
        "queries/test-00000-of-00001.parquet": QUERIES,
        "qrels/train-00000-of-00001.parquet": LABELS[:1],
        "qrels/test-00000-of-00001.parquet": LABELS,
    }
    write(tmp_path, files)
    assert len(load_dataset(tmp_path).corpus) == 4
    assert len(load_dataset(tmp_path, split="train").corpus) == 1
    (tmp_path / "qrels/train-00000-of-00001.parquet").unlink()
    (tmp_path / "qrels/test-00000-of-00001.parquet").unlink()
    (tmp_path / "corpus/test-00000-of-00001.parquet").unlink()
    assert len(load_dataset(tmp_path).queries) == 3  # of the split "test"
    (tmp_path / "corpus/dev-00000-of-00001.parquet").write_bytes(b"")
    assert "contains several tables: dev, train" in refusal(load_dataset, tmp_path)


def test_a_folder_of_texts_with_other_tables_remains_a_folder_of_texts(tmp_path):
    write(tmp_path, {"a.md": "# A\ntext", "data/sales.csv": "year,n\n2020,1\n", "x.csv": "a\n1\n"})
    assert is_text_folder(tmp_path)
    assert list(load_corpus(tmp_path)) == ["a.md"]


def test_ids_of_stored_vectors_replace_a_missing_corpus(tmp_path, caplog):
    files = {"queries.jsonl": QUERIES, "qrels/test.tsv": LABELS}
    write(tmp_path, files)
    message = refusal(load_dataset, tmp_path)
    assert "has no corpus.jsonl" in message
    assert "pass stored vectors in place of the model (load_dataset: document_ids)." in message
    ids = [each["_id"] for each in CORPUS]
    with caplog.at_level(logging.WARNING):
        data = load_dataset(tmp_path, document_ids=iter(ids))
    assert not warnings(caplog)
    assert (list(data.corpus), data.qrels, data.has_texts) == (ids, QRELS, False)
    for wrong, problem in ([], "is empty"), (["a", "a"], "'a' twice"), ([1], "1, which"):
        with pytest.raises(InvalidArgument, match=problem):
            load_dataset(tmp_path, document_ids=wrong)


def test_ids_do_not_replace_texts(tmp_path):
    write(tmp_path, {"corpus.csv": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": LABELS})
    data = load_dataset(tmp_path, document_ids=["other"])
    assert (len(data.corpus), data.has_texts) == (4, True)


def test_a_query_log_needs_no_texts_of_documents(tmp_path):
    write(tmp_path, {"queries.jsonl": QUERIES})
    data = load_dataset(tmp_path, document_ids=["a", "b"])
    assert (list(data.corpus), data.evidence, data.has_texts) == (["a", "b"], "agreement", False)


def test_queries_with_the_id_of_a_document_are_reported_without_texts(tmp_path, caplog):
    write(tmp_path, {"queries.jsonl": QUERIES, "qrels/test.tsv": LABELS})
    query = next(iter(QRELS))
    with caplog.at_level(logging.WARNING):
        load_dataset(tmp_path, document_ids=[*(each["_id"] for each in CORPUS), query])
    [message] = warnings(caplog)
    assert f"1 query with the id of a document, such as {query!r}" in message
