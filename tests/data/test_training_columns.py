"""Each column of a training file is used, refused or named in a warning."""

import json

import pytest

from nestvec.data.retrieval import load_dataset, save_dataset
from nestvec.data.similarity import load_similarity
from nestvec.data.training import load_pairs, load_training_texts, pairs_from_dataset
from nestvec.errors import DataError
from nestvec.types import Document


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(number, **columns):
    return {"anchor": f"a{number}", "positive": f"p{number}", **columns}


@pytest.mark.parametrize(
    "column", ["negative", "negative1", "negative_1", "hard_negative", "hard_negatives_3", "neg"]
)
def test_each_name_of_a_negative_is_used(tmp_path, column):
    path = jsonl(tmp_path / "x.jsonl", pair(1, **{column: "n1"}), pair(2, **{column: "n2"}))
    assert load_pairs([path]).negatives == [["n1"], ["n2"]]


def test_lists_and_several_columns_of_negatives_are_joined(tmp_path):
    first = pair(1, negatives=["n1", None, " ", "n2"], negative_1="n3", negative2="n4")
    path = jsonl(tmp_path / "x.jsonl", first, pair(2))
    assert load_pairs([path]).negatives == [["n1", "n2", "n3", "n4"], []]


def test_the_lists_of_flag_embedding_are_read(tmp_path, caplog):
    rows = [
        {"query": "q1", "pos": ["p1", "p2"], "neg": ["n1", "n2"], "pos_scores": [0.9, 0.8]},
        {"query": "q2", "pos": ["p3"], "neg": []},
    ]
    pairs = load_pairs([jsonl(tmp_path / "x.jsonl", *rows)])
    assert pairs.anchors == ["q1", "q1", "q2"]
    assert pairs.positives == ["p1", "p2", "p3"]
    assert pairs.negatives == [["n1", "n2"], ["n1", "n2"], []]
    mapping, unused = caplog.messages
    assert mapping.endswith("reads the columns query as anchor, pos as positive, neg as negative")
    assert unused.endswith("not used: the columns pos_scores (1 value)")


@pytest.mark.parametrize(
    "names", [("question", "answer"), ("query", "response"), ("query", "positive")]
)
def test_common_names_of_pairs_are_read_and_named(tmp_path, caplog, names):
    path = tmp_path / "x.csv"
    path.write_text(f"{','.join(names)}\na,b\nc,d\n")
    pairs = load_pairs([path])
    assert (pairs.anchors, pairs.positives) == (["a", "c"], ["b", "d"])
    assert f"reads the columns {names[0]} as anchor" in caplog.messages[0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("query,question,answer", "columns query and question could all be the anchor"),
        ("query,answer,passage", "columns answer and passage could all be the positive"),
        ("title,text,url", r"missing column 'anchor' \(has: title, text, url\)"),
        ("anchor,text,url", "missing column 'positive'"),
    ],
)
def test_ambiguous_or_missing_columns_are_refused(tmp_path, header, message):
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\na,b,c\n")
    with pytest.raises(DataError, match=message):
        load_pairs([path])


def test_own_names_take_precedence_and_other_columns_are_named(tmp_path, caplog):
    rows = [pair(1, answer="x", id=1), pair(2, answer="y", id=None)]
    assert load_pairs([jsonl(tmp_path / "x.jsonl", *rows)]).positives == ["p1", "p2"]
    (message,) = caplog.messages
    assert message.endswith("not used: the columns answer (2 values), id (1 value)")


@pytest.mark.parametrize("name", ["label", "labels", "score"])
@pytest.mark.parametrize("values", [(1, 0), (1.0, 0.0), ("1", "0"), (True, False)])
def test_rows_of_label_0_are_negatives_and_not_positives(tmp_path, caplog, name, values):
    one, zero = values
    rows = [
        {"anchor": "a", "positive": "good", name: one},
        {"anchor": "a", "positive": "bad", name: zero},
        {"anchor": "b", "positive": "alone", name: zero},
        {"anchor": "c", "positive": "fine", name: one},
    ]
    pairs = load_pairs([jsonl(tmp_path / "x.jsonl", *rows)])
    assert pairs.anchors == ["a", "c"]
    assert pairs.positives == ["good", "fine"]
    assert pairs.negatives == [["bad"], []]
    used, unused = caplog.messages
    assert used.endswith(f"used as negatives of their anchor: 1 row with {name} 0")
    assert f"not used: 1 row with {name} 0 and no row" in unused
    assert unused.endswith("the first in line 3")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", 0.7, "'score' of a pair must be 0 or 1, not 0.7. .* rename .* sentence1"),
        ("label", 2, "x.jsonl:2: 'label' of a pair must be 0 or 1, not 2"),
        ("label", -1, "'label' of a pair must be 0 or 1, not -1"),
        ("label", "entailment", 'label "entailment" is not a finite number'),
        ("labels", [1, 0], r"labels \[1, 0\] is not a finite number"),
        ("label", float("nan"), "x.jsonl:2: has no 'label', but other rows have one"),
        ("label", float("inf"), "label Infinity is not a finite number"),
    ],
)
def test_other_labels_of_pairs_are_refused(tmp_path, column, value, message):
    path = jsonl(tmp_path / "x.jsonl", pair(1, **{column: 1}), pair(2, **{column: value}))
    with pytest.raises(DataError, match=message):
        load_pairs([path])


def test_a_file_of_label_0_alone_is_refused(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", pair(1, label=0), pair(2, label=0))
    with pytest.raises(DataError, match=r"no row has label 1\. Training needs positives"):
        load_pairs([path])


def test_null_and_empty_texts_are_counted(tmp_path, caplog):
    nan = float("nan")  # as data frames are written
    rows = [pair(1, negative=nan, other=nan), pair(2, label=nan)]
    rows += [{"anchor": None, "positive": "p"}, {"anchor": "a", "positive": " "}]
    rows += [{"anchor": "a", "positive": nan}]
    pairs = load_pairs([jsonl(tmp_path / "x.jsonl", *rows)])
    assert (len(pairs), pairs.negatives) == (2, [[], []])
    (message,) = caplog.messages
    assert message.endswith(
        "3 rows in which anchor or positive is null or empty, the first in line 3"
    )
    with pytest.raises(DataError, match="no row has both anchor and positive"):
        load_pairs([jsonl(tmp_path / "y.jsonl", *rows[2:])])


def test_negatives_equal_to_a_positive_are_left_out(tmp_path, caplog):
    rows = [
        {"anchor": "a", "positive": "p", "negatives": ["q", "n"]},
        {"anchor": "a", "positive": "q", "negatives": ["a"]},
    ]
    assert load_pairs([jsonl(tmp_path / "x.jsonl", *rows)]).negatives == [["n"], []]
    (message,) = caplog.messages
    assert "not used: 2 negatives equal to the anchor or one of its positives" in message


def test_more_negatives_than_the_limit_are_counted(tmp_path, caplog):
    rows = [pair(1, negatives=["n1", "n2", "n3"]), pair(2, negatives=["n4"])]
    pairs = load_pairs([jsonl(tmp_path / "x.jsonl", *rows)])
    assert pairs.limit_negatives(3, name="x") is pairs
    assert pairs.limit_negatives(1, name="x").negatives == [["n1"], ["n4"]]
    assert caplog.messages == ["x: not used: 2 negatives of 1 pair with more than max_negatives=1"]


def test_documents_labeled_as_not_relevant_are_negatives(tmp_path, caplog):
    corpus = {"a": Document("one"), "b": Document("two"), "c": Document(" ")}
    qrels = {"train": {"q": {"a": 1, "b": 0, "c": 1}, "r": {"a": 0}}}
    save_dataset(corpus, {"q": "ask", "r": "beg"}, qrels, tmp_path / "data")
    pairs = pairs_from_dataset(load_dataset(tmp_path / "data", split="train"))
    assert (pairs.anchors, pairs.positives, pairs.negatives) == (["ask"], ["one"], [["two"]])
    assert caplog.messages == [
        "data: not used: queries without a relevant document: 1",
        "data: not used: 1 label of empty queries or documents",
    ]


def test_one_anchor_is_enough_with_a_negative(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", {"anchor": "a", "positive": "p", "negative": "n"})
    assert len(load_pairs([path])) == 1


def test_scored_pairs_are_refused_where_pairs_are_needed(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": n} for n in range(3)]
    with pytest.raises(DataError, match="contains scored pairs, which only fine-tuning can use"):
        load_pairs([jsonl(tmp_path / "x.jsonl", *rows)])


@pytest.mark.parametrize(
    "scores", [(0, 2.5, 5), (-1, 0, 1), (1, 50, 100), ("0.5", "4", "-3e2"), (False, True, True)]
)
def test_scores_on_any_scale_are_read(tmp_path, scores):
    rows = [{"sentence1": "a", "sentence2": "b", "score": score} for score in scores]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    (trained,) = load_training_texts([path]).values()
    assert trained.scores == load_similarity(path).scores == [float(score) for score in scores]


@pytest.mark.parametrize(
    ("names", "score"),
    [(("sentence_A", "sentence_B"), "score"), (("text1", "text2"), "label")],
)
def test_common_names_of_scored_pairs_are_read_and_named(tmp_path, caplog, names, score):
    rows = [{names[0]: "a", names[1]: "b", score: value, "id": 7} for value in (0, 1, 1)]
    path = jsonl(tmp_path / "x.jsonl", *rows)
    assert load_similarity(path).scores == [0, 1, 1]
    mapping, unused = caplog.messages
    assert f"{names[0]} as sentence1" in mapping
    assert ("label as score" in mapping) == (score == "label")
    assert unused.endswith("id (3 values)")


def test_labels_of_entailment_are_not_scores(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "label": label} for label in (0, 1, 2)]
    with pytest.raises(DataError, match="labels 0, 1, 2 look like classes, not like similarities"):
        load_training_texts([jsonl(tmp_path / "x.jsonl", *rows)])


def test_scored_pairs_without_a_text_are_counted_in_training(tmp_path, caplog):
    rows = [{"sentence1": "a", "sentence2": text, "score": n} for n, text in enumerate("b cd")]
    rows[1]["sentence2"] = None
    path = jsonl(tmp_path / "x.jsonl", *rows)
    (scored,) = load_training_texts([path]).values()
    assert scored.scores == [0, 2, 3]
    assert (
        "1 row in which sentence1 or sentence2 is null or empty, the first in line 2"
        in caplog.messages[0]
    )
    with pytest.raises(DataError, match=r"x\.jsonl:2: 'sentence2' must be a string, not null"):
        load_similarity(path)  # a test set must be complete


@pytest.mark.parametrize(
    "row",
    [
        {"anchor": "a", "positive": "b", "negative": "c", "source": "web"},
        {"text": "a", "label": "x", "source": "web"},
    ],
)
def test_columns_of_other_similarity_sets_are_named(tmp_path, caplog, row):
    rows = [{**row, "text": f"text {n}", "label": f"{n % 2}"} for n in range(10)]
    load_similarity(
        jsonl(tmp_path / "x.jsonl", *(row if "anchor" in row else each for each in rows))
    )
    assert "source (10 values)" in caplog.messages[0]
