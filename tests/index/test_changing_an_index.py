"""Adding, replacing and deleting texts and vectors, and invalid arguments."""

import numpy as np
import pytest

from fakes import NestedHashEncoder
from nestvec.errors import InvalidArgument, ModelError
from nestvec.index import model as index_model
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.models import encoding as batches
from nestvec.types import Document, OperatingPoint
from ten_documents import CORPUS, first


def vectors_of(texts):
    return NestedHashEncoder().encode(texts, kind="document")


# Adding


def test_texts_are_encoded_once_after_their_titles_and_found_at_once(index, model):
    index.add(
        ["a", "b"], ["new text", "other words"], titles=["Title", ""], metadata=[{"n": 1}, {}]
    )
    assert model.calls == [("document", ["Title new text", "other words"])]
    assert first(index, "Title new text") == "a"
    assert first(index, "other words") == "b"
    assert index.get(["b", "a"]) == {
        "b": Document("other words"),
        "a": Document("new text", "Title", {"n": 1}),
    }
    assert "a" in index
    assert 5 not in index
    assert len(index) == 12
    assert list(index.ids()) == [*CORPUS, "a", "b"]


def test_given_vectors_are_not_encoded(index, model):
    index.add(["a"], embeddings=vectors_of(["some words"]))
    index.upsert(["a", "b"], ["kept text", ""], embeddings=vectors_of(["more words", "yet others"]))
    assert model.calls == []
    assert first(index, "more words") == "a"
    assert first(index, "yet others") == "b"
    assert index.get(["a"]) == {"a": Document("kept text")}


def test_batches_before_an_error_remain(index, model, monkeypatch):
    monkeypatch.setattr(batches, "_BATCH", 4)
    progress = []
    more = {f"e{number}": Document(f"extra{number}") for number in range(10)}
    index.add_documents(more, on_progress=lambda done, total: progress.append((done, total)))
    assert list(dict.fromkeys(progress)) == [(4, 10), (8, 10), (10, 10)]
    assert [len(texts) for _, texts in model.calls] == [4, 4, 2]
    assert first(index, "extra7") == "e7"
    again = {f"f{number}": Document("x") for number in range(6)} | {"e1": Document("y")}
    with pytest.raises(InvalidArgument, match="id 'e1' is already in the index"):
        index.add_documents(again)
    assert sorted(set(again) & set(index.ids())) == ["e1", "f0", "f1", "f2", "f3"]
    index.upsert_documents({"e1": Document("replaced words"), "g": Document("gained")})
    assert first(index, "replaced words") == "e1"
    assert first(index, "gained") == "g"


def test_adding_no_documents_changes_nothing(index, model):
    before = index.stats().commits
    index.add([], [])
    index.add_documents({})
    assert index.stats().commits == before


def test_an_upsert_replaces_text_vector_and_metadata(index):
    index.upsert(["d3"], ["entirely different"], metadata=[{"n": 33}])
    assert len(index) == 10
    assert first(index, "entirely different") == "d3"
    assert first(index, "entirely different", where="n = 33") == "d3"
    assert first(index, "json own3", where="n = 3") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": ["a"], "texts": ["x", "y"]}, "2 texts for 1 ids"),
        ({"ids": "abc", "texts": ["x", "y", "z"]}, "ids is one string"),
        ({"ids": ["a"], "texts": "x"}, "texts is one string"),
        ({"ids": ["a"], "texts": ["x"], "titles": "t"}, "titles is one string"),
        ({"ids": ["a", "b", "a"], "texts": ["x"] * 3}, "id 'a' is repeated"),
        ({"ids": [7], "texts": ["x"]}, r"ids\[0\] has type int"),
        ({"ids": ["a"], "texts": [None]}, r"texts\[0\] has type NoneType"),
        ({"ids": ["a"], "texts": ["x"], "metadata": {"n": 1}}, r"metadata\[0\] has type str"),
        ({"ids": ["a"], "texts": ["x"], "metadata": [{"n": {"a": 1}}]}, "'n' has type dict. Use"),
        ({"ids": ["a"], "texts": ["x"], "metadata": [{"n": [[1]]}]}, "'n' has type list with"),
        (
            {"ids": ["a"], "texts": ["x"], "metadata": [{1: 1}]},
            "metadata of 'a': the field name 1 is not a string",
        ),
        ({"ids": ["\ud800"], "texts": ["x"]}, r"document '\\ud800' has text that cannot"),
        ({"ids": ["d1"], "texts": ["x"]}, "id 'd1' is already in the index"),
    ],
)
def test_invalid_arguments_are_refused_and_nothing_is_added(index, arguments, message):
    before = index.stats().commits
    with pytest.raises(InvalidArgument, match=message):
        index.add(**arguments)
    assert index.stats().commits == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v[:2], r"embeddings have shape \(2, 64\) for 3 documents\. Pass"),
        (lambda v: v[0], r"embeddings have shape \(64,\)"),
        (lambda v: v[:, :32], r"embeddings have shape \(3, 32\) for 3 documents"),
        (lambda v: v * [[1], [0], [1]], r"vector 1 \(id 'b'\) is zero"),
        (lambda v: v * [[1], [1], [np.nan]], r"vector 2 \(id 'c'\) contains NaN or infinity"),
        (lambda v: v * [[1], [1e300], [1]], r"vector 1 \(id 'b'\) contains NaN or infinity"),
    ],
)
def test_invalid_vectors_are_refused_by_row(index, spoil, message):
    vectors = vectors_of(["one", "two", "three"]).astype(np.float64)
    with pytest.raises(InvalidArgument, match=message):
        index.add(["a", "b", "c"], embeddings=spoil(vectors))
    assert len(index) == 10


@pytest.mark.parametrize(
    "added",
    [{7: Document("x")}, {"a": Document(None)}, {"a": Document("x", 5)}],
    ids=["id", "text", "title"],
)
def test_a_document_with_values_of_wrong_types_is_refused(index, added):
    embeddings = np.ones((1, 64), np.float32)
    with pytest.raises(InvalidArgument, match="id, title and text must be strings"):
        index._engine.add(added, embeddings)
    for metadata, message in [
        ({"n": object()}, "metadata of 'a': the value of 'n' has type object"),
        (None, "metadata of 'a' has type NoneType. Pass a dict"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            index.add_documents({"a": Document("x", metadata=metadata)})
    with pytest.raises(InvalidArgument, match="'a' has metadata that cannot be stored"):
        index._engine.add({"a": Document("x", metadata={"n": object()})}, embeddings)
    index.verify()


def test_an_encoder_that_returns_nan_is_refused_and_nothing_is_added(tmp_path):
    model = NestedHashEncoder(spoiled={"bad": np.nan})
    with build_index(model, CORPUS, "16:int8", tmp_path / "index") as index:
        with pytest.raises(ModelError, match=r"infinite values for 1 of 2 texts, .* 'b'"):
            index.add(["a", "b"], ["good", "bad"])
        assert len(index) == 10


def test_an_empty_text_is_stored_and_scores_0(index):
    index.add(["blank"], [""])
    hits = index.search(["read own0"], 20, point="64:int8")
    assert dict(zip(hits.ids[0], hits.scores[0], strict=True))["blank"] == 0


# Deleting


def test_deleted_documents_are_not_found(index):
    assert index.delete(["d1", "d2", "unknown"]) == 2
    assert "d1" not in index
    assert index.get(["d1"]) == {}
    assert first(index, "write own1") != "d1"
    assert index.delete([]) == 0
    with pytest.raises(InvalidArgument, match=r"ids is one string\. Pass a list"):
        index.delete("d3")


def test_get_refuses_a_string(index):
    with pytest.raises(InvalidArgument, match=r"ids is one string\. Pass a list"):
        index.get("d3")


# Searching


def test_a_search_accepts_a_filter_a_point_and_exact(index):
    text = "read own0"
    assert first(index, text) == "d0"
    assert first(index, text, where="n > 0") != "d0"
    assert first(index, text, where="n < 0") is None
    assert first(index, text, where="n < 0", exact=True) is None
    assert first(index, text, point="64:float16") == "d0"
    assert first(index, text, point=OperatingPoint.parse("32:int4@3>64:float16")) == "d0"
    exact = index.search([text], 3, exact=True, where="n >= 1")
    expected = index.search([text], 3, point="64:float16", where="n >= 1")
    assert exact.ids == expected.ids
    np.testing.assert_allclose(exact.scores, expected.scores, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "n >"}, "filter"),
        ({"where": ""}, "filter"),
        ({"point": "16"}, "is not an operating point"),
        ({"point": "65:int8"}, "dim=65 is larger than full_dim=64"),
        ({"point": "64:float32"}, "the index stores float16"),
        ({"point": "7:pq4"}, "pq4 encodes dims in pairs, and dim=7 is odd"),
    ],
)
def test_an_invalid_search_is_refused(index, options, message):
    with pytest.raises(InvalidArgument, match=message):
        index.search(["read"], 3, **options)


def test_the_model_is_loaded_when_the_first_text_is_encoded(index, model, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        index_model, "load_recorded_model", lambda *_, **named: loaded.append(1) or model
    )
    with Index.open(index.place) as again:
        assert again.search(vectors_of(["read own0"]), 1).ids == [["d0"]]
        again.add(["a"], embeddings=vectors_of(["given"]))
        again.delete(["a"])
        assert loaded == []
        assert first(again, "read own0") == "d0"
        again.add(["a"], ["text"])
        assert loaded == [1]
