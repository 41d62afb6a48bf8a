"""The engine contract: changing and storing documents, and invalid arguments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine_setup import (
    CORPUS,
    MODEL,
    PLAIN,
    POINTS,
    QUERIES,
    VECTORS,
    N,
    assert_same,
    brute_force,
    needs,
    needs_point,
)
from nestvec.engines.canaries import MOST_BYTES, Canaries
from nestvec.errors import InvalidArgument, ModelMismatch
from nestvec.types import Document, Hits, OperatingPoint


class Changes:
    """Tests of changes; ``EngineContract`` has the fixtures."""

    def test_added_documents_are_found_at_once(self, open_index, point):
        index = open_index(point, ids=[f"d{number}" for number in range(100)])
        for number in (150, 160):
            index.add({f"d{number}": CORPUS[f"d{number}"]}, VECTORS[[number]])
            assert index.search(VECTORS[[number]], 1).ids == [[f"d{number}"]]
            assert f"d{number}" in index
        assert len(index) == 102
        assert index.get(["d150"]) == {"d150": CORPUS["d150"]}

    def test_a_batch_with_an_existing_id_is_refused(self, open_index):
        index = open_index(ids=["d1", "d2"])
        before = index.search(QUERIES, 3)
        batch = {"d8": CORPUS["d8"], "d2": Document("other"), "d9": CORPUS["d9"]}
        with pytest.raises(InvalidArgument, match="id 'd2' is already in the index"):
            index.add(batch, VECTORS[[8, 2, 9]])
        assert sorted(index.ids()) == ["d1", "d2"]
        assert index.get(["d2", "d8"]) == {"d2": CORPUS["d2"]}
        assert index.search(QUERIES, 3) == before

    def test_an_upsert_replaces_some_and_adds_the_others(self, open_index, point):
        index = open_index(point, ids=["d1", "d2", "d3"])
        new = Document("new text", "new title", {"n": -1})
        index.add({"d2": new, "d4": CORPUS["d4"]}, VECTORS[[50, 4]], replace=True)
        assert len(index) == 4
        assert index.get(["d2"]) == {"d2": new}
        assert index.search(VECTORS[[50]], 1).ids == [["d2"]]
        (ids,) = index.search(VECTORS[[2]], 4).ids
        assert sorted(ids) == ["d1", "d2", "d3", "d4"]  # the old "d2" is gone
        assert index.search(VECTORS[[2]], 1).scores[0][0] < 0.99

    def test_deleted_documents_are_not_found_any_more(self, open_index, point):
        index = open_index(point)
        assert index.delete(["d5", "no such id", "d6", "d5"]) == 2
        assert len(index) == N - 2
        assert "d5" not in index
        assert "d5" not in list(index.ids())
        assert index.get(["d5", "d7"]) == {"d7": CORPUS["d7"]}
        assert {"d5", "d6"}.isdisjoint(index.search(VECTORS[[5]], 40).ids[0])
        assert index.delete(["d5"]) == 0
        index.add({"d5": CORPUS["d5"]}, VECTORS[[5]])
        assert index.search(VECTORS[[5]], 1).ids == [["d5"]]

    def test_an_index_can_be_used_after_all_documents_are_deleted(self, setup, open_index):
        index = open_index(setup.staged)
        assert index.delete(list(CORPUS)) == N
        assert index.search(QUERIES[:1], 3) == Hits([[]], [[]])
        setup.settle(index)
        assert index.search(QUERIES[:1], 3) == Hits([[]], [[]])
        index.add({"d5": CORPUS["d5"]}, VECTORS[[5]])
        setup.settle(index)
        assert index.search(QUERIES[:1], 3).ids == [["d5"]]

    @pytest.mark.parametrize("text", POINTS)
    def test_an_index_whose_documents_are_deleted_before_it_settles_can_be_reopened(
        self, setup, tmp_path, text
    ):
        point = OperatingPoint.parse(text)
        needs_point(setup, point)
        index = setup.create(tmp_path / "index", MODEL, point)
        index.add({"d1": CORPUS["d1"], "d2": CORPUS["d2"]}, VECTORS[1:3])
        index.delete(["d1", "d2"])
        setup.settle(index)
        index.close()
        index = setup.open(tmp_path / "index")
        assert len(index) == 0
        assert index.search(QUERIES[:1], 3) == Hits([[]], [[]])
        index.add({"d5": CORPUS["d5"]}, VECTORS[[5]])
        assert index.search(QUERIES[:1], 3).ids == [["d5"]]
        index.close()

    def test_changes_in_any_order_equal_one_load(self, setup, open_index):
        ids = list(CORPUS)
        index = open_index(ids=ids[:80])
        index.delete(ids[20:40])
        index.add({id_: Document("old") for id_ in ids[70:120]}, VECTORS[:50], replace=True)
        setup.settle(index)
        index.add({id_: CORPUS[id_] for id_ in ids[70:150]}, VECTORS[70:150], replace=True)
        index.delete(ids[140:])
        kept = [*ids[:20], *ids[40:140]]
        assert sorted(index.ids()) == sorted(kept)
        assert_same(index.search(QUERIES, 30), brute_force(setup, PLAIN, 30, kept))
        setup.settle(index)
        assert_same(index.search(QUERIES, 30), brute_force(setup, PLAIN, 30, kept))

    # Persistence

    def test_a_reopened_index_is_the_same(self, setup, tmp_path, point):
        needs_point(setup, point)
        index = setup.create(tmp_path / "index", MODEL, point)
        index.add(CORPUS, VECTORS)
        setup.settle(index)
        index.delete(["d9"])
        index.add({"late": Document("late", metadata={"n": 5})}, VECTORS[[9]])
        hits, ids = index.search(QUERIES, 20), list(index.ids())
        index.close()
        index = setup.open(tmp_path / "index")
        assert index.search(QUERIES, 20) == hits
        assert list(index.ids()) == ids
        assert index.get(ids) == {
            id_: CORPUS.get(id_, Document("late", "", {"n": 5})) for id_ in ids
        }
        index.add({"later": Document("")}, VECTORS[[9]])
        assert index.search(VECTORS[[9]], 2).ids == [["later", "late"]]
        index.close()

    def test_canaries_of_the_largest_size_are_stored_with_the_index(self, setup, tmp_path):
        index = setup.create(tmp_path / "index", MODEL, PLAIN)
        index.add(CORPUS, VECTORS)
        setup.settle(index)
        texts = [f"{number} ζ'\"\\ " * 60 for number in range(40)]
        wide = np.random.default_rng(1).standard_normal((40, 300)).astype(np.float32)
        large, small = Canaries.pack(texts, wide), Canaries.pack(["one"], VECTORS[:1])
        assert large is not None
        assert len(json.dumps(large.to_json())) > 0.9 * MOST_BYTES
        index.record_canaries(small)
        index.record_canaries(large)
        assert index.stats().canaries == large.summary
        index.close()
        index = setup.open(tmp_path / "index")
        assert index.manifest.canaries == large
        assert len(index) == N
        index.close()

    def test_get_returns_the_added_documents(self, setup, tmp_path):
        ids = [
            "",
            " ",
            "a",
            "A",
            "ü",
            "é",
            "e\u0301",
            "日本",
            "👋",
            "𝒳",
            "it's \"\\",
            "a\nb",
            "10",
            "9",
        ]
        metadata = {"text": "Grüße 👋 'x'", "": "no name", "whole": -(2**40), "real": 0.1}
        metadata |= {"tiny": 5e-324, "true": True, "zero": 0, "empty": "", "a b": 1}
        corpus = {id_: Document(f"text of {id_}", id_, metadata) for id_ in ids}
        index = setup.create(tmp_path / "index", MODEL, PLAIN)
        index.add(corpus, VECTORS[: len(ids)])
        index.close()
        index = setup.open(tmp_path / "index")
        assert index.get(ids) == corpus
        assert list(index.get(ids[::-1])) == ids[::-1]
        kinds = {field: type(value) for field, value in index.get(["a"])["a"].metadata.items()}
        assert kinds == {field: type(value) for field, value in metadata.items()}
        assert [id_ for (id_,) in index.search(VECTORS[: len(ids)], 1).ids] == ids
        index.close()

    # Invalid arguments

    def test_vectors_with_nan_or_infinity_are_refused_by_row(self, open_index):
        index = open_index(ids=["d1"])
        spoilt = VECTORS[5:8].copy()
        spoilt[1, 3], spoilt[2, 0] = np.nan, np.inf
        batch = {id_: CORPUS[id_] for id_ in ("d5", "d6", "d7")}
        with pytest.raises(InvalidArgument, match=r"vector 1 \(id 'd6'\) contains NaN or infinity"):
            index.add(batch, spoilt)
        assert list(index.ids()) == ["d1"]

    def test_vectors_of_another_width_or_number_are_refused(self, open_index):
        index = open_index(ids=["d1"])
        for wrong in (VECTORS[:1, :16], VECTORS[:2], VECTORS[0]):
            with pytest.raises(InvalidArgument, match="for 1 documents"):
                index.add({"d5": CORPUS["d5"]}, wrong)
        assert list(index.ids()) == ["d1"]

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_query_with_nan_or_infinity_is_refused(self, open_index, value):
        index = open_index(ids=["d1"])
        spoilt = QUERIES.copy()
        spoilt[2, 3] = value
        with pytest.raises(InvalidArgument, match="query vector contains NaN or infinity"):
            index.search(spoilt, 3)

    def test_queries_of_another_width_are_refused(self, open_index):
        index = open_index(ids=["d1"])
        for wrong in (QUERIES[:, :16], QUERIES[0]):
            with pytest.raises(ModelMismatch, match="Encode at full width"):
                index.search(wrong, 3)

    @pytest.mark.parametrize("k", [0, -1])
    def test_k_below_1_is_refused(self, open_index, k):
        with pytest.raises(InvalidArgument, match=f"k={k} is smaller than 1"):
            open_index(ids=["d1"]).search(QUERIES, k)

    def test_a_point_wider_than_the_vectors_is_refused(self, setup, open_index):
        needs(setup, "any_point")
        with pytest.raises(InvalidArgument, match="dim=64 is larger than full_dim=32"):
            open_index(ids=["d1"]).search(QUERIES, 3, point=OperatingPoint.parse("64:float16"))
