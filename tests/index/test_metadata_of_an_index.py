"""Metadata survive every change of an index, and filters use them."""

import json
from datetime import date

import numpy as np
import pytest

from nestvec.data.corpus import open_corpus
from nestvec.errors import InvalidArgument
from nestvec.index.adapting import adapt_index, undo_adapting
from nestvec.index.building import build_index, reembed
from nestvec.index.index import Index
from nestvec.index.sync import apply_changes, compare
from nestvec.models.adapter import Adapter, Head
from nestvec.types import Document
from ten_documents import CORPUS, WORDS

GIVEN = {"flag": True, "one": 1, "day": date(2026, 3, 1), "tags": ("a", "b"), "none": None}
STORED = {"flag": True, "one": 1, "day": "2026-03-01", "tags": ["a", "b"]}
FILTERS = [
    "flag = true",
    "tags has 'b'",
    "day >= '2026-01-01' and day < '2026-03-02'",
    "one = 1 and tags exists",
]


@pytest.fixture
def path(tmp_path, model):
    corpus = {**CORPUS, "x": Document("graph own9", metadata=GIVEN)}
    build_index(model, corpus, "64:int8", tmp_path / "index").close()
    return tmp_path / "index"


def check(index, id_="x"):
    """Assert that a document has its metadata, read by id and from hits, and that filters match."""
    assert json.dumps(index.get([id_])[id_].metadata) == json.dumps(STORED)
    for where in FILTERS:
        (hits,) = index.search(["graph own9"], 5, where=where)
        assert [hit.id for hit in hits] == [id_], where
        assert json.dumps(hits[0].metadata) == json.dumps(STORED)


def test_metadata_survive_reopening_compaction_and_another_model(path, model):
    with Index.open(path, model) as index:
        check(index)
        index.delete(["d3"])
        index.compact()
        check(index)
    with reembed(path, model, point="32:float16") as index:
        check(index)
        index.verify()


def test_metadata_survive_an_adapter_and_its_undo(path, model):
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((64, 64)))[0].astype(np.float32)
    head = Head(turn)
    adapter = Adapter("linear", (64, 16), "f" * 64, "fake/nested", False, head, head, 0)
    adapt_index(path, adapter).close()
    with Index.open(path, model) as index:
        check(index)
        index.upsert(["x"], ["graph own9"], metadata=[{**GIVEN, "flag": 1}])
        index.upsert(["x"], ["graph own9"], metadata=[GIVEN])
    undo_adapting(path)
    with Index.open(path, model) as index:
        check(index)


def test_documents_whose_metadata_changed_from_true_to_1_are_not_lost_by_an_undo(path, model):
    turn = np.eye(64, dtype=np.float32)
    adapter = Adapter("linear", (64,), "f" * 64, "fake/nested", False, Head(turn), Head(turn), 0)
    adapt_index(path, adapter).close()
    with Index.open(path, model) as index:
        index.upsert(["x"], ["graph own9"], metadata=[{**GIVEN, "flag": 1}])
    with pytest.raises(Exception, match="1 document changed since the index was adapted"):
        undo_adapting(path)


def test_lists_in_python_and_documents_of_a_file_are_stored_equally(path, model, tmp_path):
    row = {"_id": "y", "text": "graph own9", **STORED, "loc": {"page": 1}}
    (tmp_path / "more.jsonl").write_text(json.dumps(row) + "\n")
    with Index.open(path, model) as index:
        index.delete(["x"])
        apply_changes(index, compare(index, open_corpus(tmp_path / "more.jsonl")))
        check(index, "y")
        index.delete(["y"])
        index.add(["z"], ["graph own9"], metadata=[GIVEN])
        check(index, "z")


def test_nan_is_a_missing_field_and_counted(path, model, caplog):
    with Index.open(path, model) as index:
        index.add(["y"], ["text"], metadata=[{"score": float("nan"), "kept": 1}])
        assert index.get(["y"])["y"].metadata == {"kept": 1}
    assert caplog.messages == [
        "metadata: treated 1 metadata value as missing (NaN or infinite), such as 'score' (float) "
        "of 'y'"
    ]


def test_a_misspelt_field_is_an_error_that_lists_the_fields(path, model):
    with Index.open(path, model) as index:
        for call in (index.search, index.explain):
            with pytest.raises(InvalidArgument) as caught:
                call(["graph"], 3, where="flga = true")
            assert str(caught.value) == (
                "filter: no document has the field flga. The fields are: day, flag, n, one, tags."
            )
        with pytest.raises(InvalidArgument, match="no document has the field flga"):
            index.search(["graph"], 3, where="flga = true", exact=True)


def test_the_list_of_fields_is_short_and_printable(tmp_path, model):
    names = [f"field{number:02}" for number in range(30)] + ["a\n" + "b" * 100]
    corpus = {"d": Document("x", metadata=dict.fromkeys(names, 1))}
    with build_index(model, corpus, "64:int8", tmp_path / "index") as index:
        with pytest.raises(InvalidArgument) as caught:
            index.search(["x"], 1, where="`" + "z\n" * 4000 + "` = 1")
        message = str(caught.value)
        assert message.isprintable()
        assert message.endswith("field18 and 11 more.")
        assert len(message) < 500


def test_a_filter_on_an_index_without_metadata_is_an_error(tmp_path, model):
    index = build_index(model, {"d": Document("x")}, "64:int8", tmp_path / "index")
    with index, pytest.raises(InvalidArgument, match=r"have no metadata\. Remove the filter\."):
        index.search(["x"], 1, where="n = 1")


def test_an_index_with_objects_of_an_earlier_version_is_opened_and_filtered(path, model, caplog):
    earlier = {"loc": {"page": 3}, "tags": ["old", None, ["x"]], "n": 77}
    with Index.open(path, model) as index:
        vectors = model.encode([WORDS[3]], kind="document")
        index._engine.add({"old": Document(WORDS[3], metadata=earlier)}, vectors)
    with Index.open(path, model) as index:
        assert index.get(["old"])["old"].metadata == earlier
        for where in ("tags has 'old'", "n = 77", "tags exists and n > 50"):
            assert index.search([WORDS[3]], 5, where=where).ids == [["old"]]
        with pytest.raises(InvalidArgument, match="no document has the field loc"):
            index.search([WORDS[3]], 5, where="loc exists")
    with reembed(path, model) as index:
        assert index.get(["old"])["old"].metadata == {"n": 77}
    (message,) = set(caplog.messages)
    assert f"{path}: left out 2 metadata values of other types" in message
