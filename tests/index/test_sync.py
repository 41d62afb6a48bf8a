"""Updating an index from a corpus: new, changed and outdated documents."""

import json
from datetime import date

import pytest

from nestvec.data.corpus import load_corpus
from nestvec.index.building import build_index
from nestvec.index.sync import apply_changes, compare
from nestvec.models import encoding as batches
from nestvec.types import Document

POINT = "16:int8@50>64:float32"


@pytest.fixture
def index(model, tmp_path):
    corpus = {f"d{n}": Document(f"text {n}", metadata={"n": n}) for n in range(5)}
    with build_index(model, corpus, POINT, tmp_path / "index") as built:
        model.calls.clear()
        yield built


def found(index):
    return index.get(sorted(index.ids()))


def test_only_new_and_changed_documents_are_encoded(index, model):
    corpus = {
        "d0": Document("text 0", metadata={"n": 0}),
        "d1": Document("another text", metadata={"n": 1}),
        "d2": Document("text 2", metadata={"n": 2.5}),  # its metadata has changed
        "new": Document("text", "title"),
    }
    before = found(index)
    changes = compare(index, corpus)
    assert changes.new == ("new",)
    assert changes.changed == ("d1", "d2")
    assert (changes.same, changes.outdated) == (1, ())
    assert model.calls == []  # compared without a model
    apply_changes(index, changes)
    assert set(model.times_encoded("document")) == {"title text", "another text", "text 2"}
    assert found(index) == before | corpus


def test_true_replaces_1_and_equal_lists_and_dates_are_the_same(index, model):
    corpus = {"d0": Document("text 0", metadata={"n": 0, "tags": ("a",), "day": date(2026, 3, 1)})}
    apply_changes(index, compare(index, corpus))
    assert index.get(["d0"])["d0"].metadata == {"n": 0, "tags": ["a"], "day": "2026-03-01"}
    assert compare(index, corpus).same == 1
    false = {"d0": Document("text 0", metadata={**corpus["d0"].metadata, "n": False})}
    changes = compare(index, false)
    assert changes.changed == ("d0",)
    apply_changes(index, changes)
    assert index.get(["d0"])["d0"].metadata["n"] is False
    assert compare(index, false).same == 1


def test_an_interrupted_update_is_continued(index, model, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH", 10)
    corpus = {f"new{n}": Document(f"own{n}") for n in range(25)}
    embed, sizes = batches.embed, []

    def interrupted(model, ids, *args, **named):
        sizes.append(len(ids))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return embed(model, ids, *args, **named)

    monkeypatch.setattr(batches, "embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apply_changes(index, compare(index, corpus))
    model.calls.clear()
    left = compare(index, corpus)
    assert (len(left.new), left.same) == (5, 20)
    apply_changes(index, left)
    assert sizes == [10, 10, 5, 5]
    assert model.times_encoded("document").total() == 5
    assert index.get(list(corpus)) == corpus


def test_progress_counts_over_all_batches(index, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH", 10)
    corpus = {f"new{n}": Document(f"own{n}") for n in range(25)}
    seen = []
    apply_changes(index, compare(index, corpus), on_progress=lambda *each: seen.append(each))
    assert seen[-1] == (25, 25)
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {25}


def test_passages_that_a_file_no_longer_has_are_deleted(index, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("one two three.\n\nfour five six.\n\nseven eight nine.")
    (notes / "b.md").write_text("whole")
    apply_changes(index, compare(index, load_corpus(notes, passage_words=3)))
    assert {"a.md#1", "a.md#2", "a.md#3", "b.md", "d0"} <= {*index.ids()}
    (notes / "a.md").write_text("one two three.")
    (notes / "b.md").unlink()  # documents of other files remain
    changes = compare(index, load_corpus(notes, passage_words=3))
    assert changes.outdated == ("a.md#1", "a.md#2", "a.md#3")
    apply_changes(index, changes)
    assert {id_ for id_ in index.ids() if not id_.startswith("d")} == {"a.md", "b.md"}


def test_ids_of_rows_are_not_mistaken_for_passages(index, tmp_path):
    apply_changes(index, compare(index, {"x#1": Document("a"), "x#2": Document("b")}))
    rows = [{"_id": "x", "text": "c", "file": "x"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert compare(index, load_corpus(tmp_path / "rows.jsonl")).outdated == ()


def test_an_update_without_changes_encodes_nothing(index, model):
    corpus = found(index)
    changes = compare(index, corpus)
    assert (changes.new, changes.changed, changes.same) == ((), (), 5)
    apply_changes(index, changes)
    assert model.calls == []
