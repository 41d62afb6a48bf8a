"""The files of MS MARCO: TSV without a header, with quotes in texts and queries for each split."""

import logging

import pytest

from nestvec.data.corpus import load_corpus, open_corpus
from nestvec.data.retrieval import load_dataset, load_query_log
from nestvec.errors import DataError

COLLECTION = '0\tThe "presence" of text.\n1\t"Only opened, and 7\n2\tÜber, commas\r\n'
CORPUS = {"0": 'The "presence" of text.', "1": '"Only opened, and 7', "2": "Über, commas"}


@pytest.fixture
def folder(tmp_path):
    for name, text in {
        "collection.tsv": COLLECTION,
        "queries.train.tsv": "9\ttrain?\n",
        "queries.dev.tsv": "7\twhat is it?\n8\twho?\n",
        "queries.eval.tsv": "1\teval?\n",
        "qrels.train.tsv": "9\t0\t0\t1\n",
        "qrels.dev.tsv": "7\t0\t1\t1\n8\t0\t2\t1\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path


def texts_of(corpus):
    return {id_: document.text for id_, document in corpus.items()}


def test_a_folder_of_msmarco_is_a_retrieval_set(folder, caplog):
    data = load_dataset(folder)
    assert (data.split, data.labels) == ("dev", "qrels.dev.tsv (other splits: train)")
    assert texts_of(data.corpus) == CORPUS
    assert data.queries == {"7": "what is it?", "8": "who?"}
    assert data.qrels == {"7": {"1": 1}, "8": {"2": 1}}
    warned = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.partition(": ")[2] for each in warned] == [
        "files without a header, read as id and text: 1, such as 'collection.tsv'",
        "files without a header, read as id and text: 1, such as 'queries.dev.tsv'",
    ]
    assert load_dataset(folder, split="train").queries == {"9": "train?"}


def test_the_small_split_uses_its_own_queries_or_those_of_the_split(folder):
    (folder / "qrels.dev.small.tsv").write_text("8\t0\t2\t1\n")
    assert load_dataset(folder, split="dev.small").queries == {"8": "who?"}
    (folder / "queries.dev.small.tsv").write_text("8\tsmall?\n")
    assert load_dataset(folder, split="dev.small").queries == {"8": "small?"}


def test_the_collection_alone_is_a_corpus(folder):
    for path in (folder, folder / "collection.tsv"):
        assert texts_of(load_corpus(path)) == CORPUS
        assert texts_of(dict(open_corpus(path))) == CORPUS
    log = load_query_log(folder / "collection.tsv", folder / "queries.dev.tsv")
    assert log.queries == {"7": "what is it?", "8": "who?"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0\ta\n1\n", r"collection\.tsv:2: has 1 field\. Expected an id, a tab and a text"),
        ("0\ta\n1\tb\tc\n", r"collection\.tsv:2: has 3 fields\. Expected an id"),
        ("0\ta\n0\tb\n", r"collection\.tsv:2: id '0' appears twice"),
        ("pid\tpassage\n0\ta\n", r"missing column '_id'|'_id'"),
    ],
    ids=["no tab", "two tabs", "id twice", "a header with other names"],
)
def test_a_malformed_line_is_named(folder, text, problem):
    (folder / "collection.tsv").write_text(text)
    with pytest.raises(DataError, match=problem):
        load_dataset(folder)


def test_a_tsv_with_a_header_is_read_as_before(folder):
    (folder / "collection.tsv").write_text('id\ttext\n0\t"a ""quoted"" text"\n')
    assert texts_of(load_corpus(folder / "collection.tsv")) == {"0": 'a "quoted" text'}
    (folder / "queries.dev.tsv").write_text("id2\tquery\nx\ty\n")
    with pytest.raises(DataError, match="'_id'"):
        load_dataset(folder)


def test_a_run_is_not_taken_for_labels(folder):
    (folder / "qrels.dev.tsv").write_text("7\tQ0\t1\t1\t12.5\tbm25\n")
    with pytest.raises(DataError, match=r"qrels\.dev\.tsv:1: is a run .* Compare it with --run"):
        load_dataset(folder)
    (folder / "qrels.dev.tsv").write_text("7 Q0 1 1\n7 Q0 2 a b c\n")
    with pytest.raises(DataError, match=r"has 6 fields"):
        load_dataset(folder)
