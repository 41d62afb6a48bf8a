"""The columns determine the kind of a similarity file; errors name the line."""

import json
import os
from pathlib import Path

import pytest

from nestvec.data.similarity import LabeledTexts, ScoredPairs, Triplets, load_similarity
from refusals import refusal

REAL = Path(os.environ.get("NESTVEC_DATA", Path(__file__).parents[3] / "shared" / "data"))

PAIR = {"sentence1": "a", "sentence2": "b", "score": 1}
TRIPLET = {"anchor": "a", "positive": "b", "negative": "c"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def labeled(*rows):
    names = ("text", "label", "split")
    return [dict(zip(names, row, strict=False)) for row in rows]


def test_scored_pairs_are_known_by_their_columns(tmp_path):
    (tmp_path / "sts.csv").write_text("sentence1,sentence2,score\na,b,1.5\nc,d,0\ne,f,5\n")
    expected = ScoredPairs("sts", ["a", "c", "e"], ["b", "d", "f"], [1.5, 0.0, 5.0])
    assert load_similarity(tmp_path / "sts.csv") == expected


def test_triplets_are_known_by_their_columns(tmp_path):
    assert load_similarity(write(tmp_path / "t.jsonl", [TRIPLET])) == Triplets(
        "t", ["a"], ["b"], ["c"]
    )


def test_labeled_texts_follow_their_split_and_keep_each_text_once(tmp_path):
    rows = labeled(
        ("a", 1, "train"), ("b", 2, "train"), ("c", 1, "test"), ("a", 2, "test"), ("d", 2, "dev")
    )
    assert load_similarity(write(tmp_path / "l.jsonl", rows)) == LabeledTexts(
        *("l", "test"),
        *(["a", "b"], ["1", "2"], ["c"], ["1"]),
        counts={"duplicate_texts": 1, "texts_of_other_splits": 1},
    )


def test_without_a_column_split_a_seeded_fifth_is_to_be_labeled(tmp_path):
    path = write(
        tmp_path / "l.jsonl", labeled(*((f"text {n}", f"label {n % 3}") for n in range(50)))
    )
    data = load_similarity(path)
    assert (len(data.train), len(data.test)) == (40, 10)
    assert set(data.train).isdisjoint(data.test)
    assert data == load_similarity(path)
    assert data.test != load_similarity(path, seed=1).test


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"q": 1}], "x.jsonl:1: needs the columns sentence1, sentence2, score; anchor"),
        ([PAIR, {"sentence1": "a", "sentence2": "b"}], "x.jsonl:2: missing column 'score'"),
        ([{**PAIR, "score": "high"}], 'x.jsonl:1: score "high" is not a finite number'),
        ([{**PAIR, "score": float("nan")}], "x.jsonl:1: score NaN is not a finite number"),
        ([{**PAIR, "sentence2": " "}], "x.jsonl:1: 'sentence2' is empty"),
        ([PAIR, PAIR], "x.jsonl: has 2 pairs. At least 3 are needed"),
        ([PAIR, PAIR, PAIR], "x.jsonl: all scores are 1. A correlation"),
        ([{**TRIPLET, "negative": None}], "x.jsonl:1: 'negative' must be a string, not null"),
        (labeled(("a", 1.5, "train")), "x.jsonl:1: 'label' must be a string, not 1.5"),
        (labeled(("a", "x", "train"), ("b", "y")), "x.jsonl:2: some rows have a split"),
        (labeled(("a", "x"), ("b", "y", "train")), "x.jsonl:2: some rows have a split"),
        (labeled(("a", "x", "train")), "x.jsonl: needs the splits train and one of test, dev"),
        (labeled(("a", "x", "train"), ("b", "y", "test")), "x.jsonl: all training texts have"),
    ],
)
def test_malformed_files_are_reported_with_their_line(tmp_path, rows, expected):
    assert expected in refusal(load_similarity, write(tmp_path / "x.jsonl", rows))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data sets are not on this machine")
def test_real_files_load_whole():
    assert len(load_similarity(REAL / "scored" / "stsb-dev.jsonl.gz").scores) == 1_500
    banking = load_similarity(REAL / "labeled" / "banking77.jsonl.gz")
    assert len(set(banking.test_labels)) == 77
    assert len(banking.train) + len(banking.test) + sum(banking.counts.values()) == 13_083
