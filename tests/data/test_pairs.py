"""Pairs are loaded from files and BEIR folders; errors name the line."""

import json
import os
from pathlib import Path

import pytest

from nestvec.data.retrieval import load_dataset, save_dataset
from nestvec.data.training import TrainingPairs, load_pairs, pairs_from_dataset
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document

REAL = Path(os.environ.get("NESTVEC_DATA", Path(__file__).parents[3] / "shared" / "data"))


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def beir(path):
    corpus = {"a": Document("text a", "A"), "b": Document("text b"), "c": Document("text c")}
    queries = {"q1": "one", "q2": "two"}
    train = {"q1": {"a": 1, "b": 2, "c": 0}, "q2": {"c": 1}}
    save_dataset(corpus, queries, {"train": train, "test": {"q2": {"c": 1}}}, path)
    return path


def test_files_of_every_kind_are_joined_in_the_order_given(tmp_path):
    first = jsonl(tmp_path / "x.jsonl", {"anchor": "q1", "positive": "p1", "negative": "n1"})
    second = tmp_path / "y.csv"
    second.write_text("positive,anchor,negative_1,negative_2\np2,q2,n2,n3\np3,q3,,n4\n")
    pairs = load_pairs([first, second])
    assert pairs.anchors == ["q1", "q2", "q3"]
    assert pairs.positives == ["p1", "p2", "p3"]
    assert pairs.negatives == [["n1"], ["n2", "n3"], ["n4"]]
    assert len(pairs) == 3


def test_rows_without_a_negative_have_an_empty_list(tmp_path):
    rows = [{"anchor": "a", "positive": "p"}, {"anchor": "b", "positive": "q", "negative": None}]
    assert load_pairs([jsonl(tmp_path / "x.jsonl", *rows)]).negatives == [[], []]


def test_a_beir_folder_gives_its_train_split(tmp_path):
    pairs = load_pairs([beir(tmp_path / "data")])
    assert pairs == TrainingPairs(
        ["one", "one", "two"], ["A text a", "text b", "text c"], [["text c"], ["text c"], []]
    )
    assert pairs_from_dataset(load_dataset(tmp_path / "data", split="test")).anchors == ["two"]


def test_a_folder_without_train_split_raises(tmp_path):
    (beir(tmp_path / "data") / "qrels" / "train.tsv").unlink()
    with pytest.raises(DataError, match=r"no split 'train'\. Choose one of test"):
        load_pairs([tmp_path / "data"])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"anchor": "q", "text": "p"}, r"x.jsonl:2: missing column 'positive' \(has: anchor, text"),
        ({"anchor": ["q"], "positive": "p"}, "x.jsonl:2: 'anchor' must be a string, not"),
        ({"anchor": "q", "positive": ["p", 1]}, "x.jsonl:2: 'positive' must be a string or a list"),
        ({"anchor": "q", "positive": "p", "negative": 5}, "x.jsonl:2: 'negative' must be a string"),
        ({"anchor": "a", "positive": "other"}, "x.jsonl: all 2 pairs have the same anchor, and no"),
        ({"anchor": "b", "positive": "p"}, "x.jsonl: all 2 pairs have the same positive, and no"),
        ({"anchor": "b", "positive": "q", "label": 1}, "x.jsonl:1: has no 'label', but other rows"),
        (
            {"anchor": "b", "positive": "q", "negatives": "['n', 'm']"},
            "x.jsonl:2: 'negatives' is a list written as one text",
        ),
    ],
)
def test_pairs_that_cannot_be_trained_on_raise(tmp_path, row, expected):
    path = jsonl(tmp_path / "x.jsonl", {"anchor": "a", "positive": "p"}, row)
    with pytest.raises(DataError, match=expected):
        load_pairs([path])


def test_no_path_raises():
    with pytest.raises(InvalidArgument, match="No file of pairs"):
        load_pairs([])


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data sets are not on this machine")
def test_real_pairs_load_with_their_negatives():
    pairs = load_pairs([REAL / "pairs" / "opentrivia.jsonl.gz", REAL / "retrieval" / "scifact"])
    assert len(pairs) > 37_759
    assert all(pairs.negatives[:100])
