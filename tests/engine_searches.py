"""The engine contract: searches by an operating point, exact searches and filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from engine_setup import (
    CORPUS,
    POINTS,
    QUERIES,
    VECTORS,
    N,
    assert_same,
    best_ids,
    brute_force,
    needs,
    unit,
)
from nestvec.engines.filters.where import Where
from nestvec.engines.registry import capabilities
from nestvec.errors import InvalidArgument
from nestvec.types import Document, Hits, OperatingPoint

# Filters, and the documents that they match.
SELECTIVE = {  # the numbers of matching documents: none, one, 1 %, 50 %, 99 %, all
    "n < 0": range(0),
    "n = 17": range(17, 18),
    "n >= 100 and n < 102": range(100, 102),
    "n < 100": range(100),
    "n >= 2": range(2, N),
    "n exists": range(N),
}
MEANINGS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "lang = 'de'": lambda m: m.get("lang") == "de",
    "lang != 'de'": lambda m: m.get("lang", "de") != "de",  # without the field: no match
    "not lang = 'de'": lambda m: m.get("lang") != "de",
    "lang exists": lambda m: "lang" in m,
    "lang in ('de', 'fr')": lambda m: m.get("lang") in ("de", "fr"),
    "lang not in ('de', 'fr')": lambda m: m.get("lang", "de") not in ("de", "fr"),
    "lang > 'de'": lambda m: m.get("lang", "") > "de",
    "n in (3, 30, 300)": lambda m: m["n"] in (3, 30, 300),
    "half = 8.5": lambda m: m["half"] == 8.5,
    "half > 8 and half <= 9.5": lambda m: 8 < m["half"] <= 9.5,
    "n = 17.0": lambda m: m["n"] == 17,
    "mixed = 10": lambda m: m.get("mixed") == 10,
    "mixed = '15'": lambda m: m.get("mixed") == "15",
    "mixed != '15'": lambda m: m.get("mixed", "15") != "15",
    "open = true": lambda m: m.get("open") is True,
    "open < 1": lambda m: m.get("open") is False,
    "open = 1": lambda m: m.get("open") is True,  # true equals 1
    "tags has 't1'": lambda m: "t1" in m.get("tags", ()),
    "tags has 't'": lambda m: False,  # items are compared whole
    "not tags has 't1'": lambda m: "t1" not in m.get("tags", ()),
    "tags exists": lambda m: "tags" in m,  # also an empty list
    "codes has 0.5": lambda m: m.get("codes") == [m["n"], 0.5],
    "codes has 12.0": lambda m: m.get("codes") == 12,  # one value is a list of one item
    "codes = 12": lambda m: m.get("codes") == 12,
    "codes != 12": lambda m: m.get("codes", 12) != 12,  # a list differs from every single value
    "codes < 7": lambda m: not isinstance(m.get("codes", 7), list) and m.get("codes", 7) < 7,
    "lang has 'de'": lambda m: m.get("lang") == "de",
    "day >= '2026-01-27'": lambda m: m["day"] >= "2026-01-27",
    "day < '2026-01-02'": lambda m: m["day"] == "2026-01-01T00:00:00",
    "lang = 'de' and n < 50 or n = 199": lambda m: (
        (m.get("lang") == "de" and m["n"] < 50) or m["n"] == 199
    ),
    "not (lang = 'de' or n < 150)": lambda m: m.get("lang") != "de" and m["n"] >= 150,
}


REFUSED = {  # filters that can match no document, or every document, by mistake
    "lnag = 'de'": r"no document has the field lnag\. .*: codes, day, half, lang, mixed, n, open",
    "not lnag exists": "no document has the field lnag",
    "n = 1 or lnag = 'de'": "no document has the field lnag",
    "n = '17'": "n contains numbers, and '17' is a string. Compare n with a number",
    "n != '17'": "n contains numbers, and '17' is a string",
    "n in (1, '17')": "n contains numbers, and '17' is a string",
    "not (lang < 5)": "lang contains strings, and 5 is a number. Compare lang with a string in",
    "open = 'true'": "open contains booleans, and 'true' is a string. Compare .* true or false",
    "tags = 'all'": "tags contains lists, .* write tags has 'all'",
    "tags in ('all')": "tags contains lists, .* write tags has 'all'",
    "tags has 1": "tags contains strings, and 1 is a number",
}


class Searches:
    """Tests of searches; ``EngineContract`` has the fixtures."""

    @pytest.mark.parametrize("text", POINTS)
    def test_a_search_equals_brute_force_over_decoded_codes(self, setup, open_index, text):
        point = OperatingPoint.parse(text)
        index = open_index(point)
        for k in (1, 10, 30):
            assert_same(index.search(QUERIES, k), brute_force(setup, point, k))

    def test_documents_with_equal_scores_are_in_descending_order_of_id(self, open_index):
        index = open_index()
        hits = index.search(VECTORS[[3]], 2)
        assert hits.ids == [["d30", "d3"]]
        assert hits.scores[0][0] == hits.scores[0][1]
        assert index.search(VECTORS[[3]], 1).ids == [["d30"]]

    def test_the_order_of_equal_scores_does_not_depend_on_the_time_of_adding(
        self, setup, open_index
    ):
        index = open_index(ids=["d1"])
        for id_ in ("d7", "d8", "d6", "d70"):
            index.add({id_: Document("the same")}, VECTORS[[9]])
        assert index.search(VECTORS[[9]], 4).ids == [["d8", "d70", "d7", "d6"]]
        setup.settle(index)
        assert index.search(VECTORS[[9]], 3).ids == [["d8", "d70", "d7"]]

    def test_k_above_the_number_of_documents_returns_all(self, open_index):
        index = open_index(ids=["d1", "d2", "d3"])
        (ids,) = index.search(QUERIES[:1], 100).ids
        assert sorted(ids) == ["d1", "d2", "d3"]

    def test_a_shortlist_shorter_than_k_limits_the_hits(self, setup, open_index):
        hits = open_index(setup.staged).search(QUERIES, 100)
        assert {len(ids) for ids in hits.ids} == {40}

    def test_hits_of_a_query_do_not_depend_on_the_batch(self, setup, open_index):
        index = open_index(setup.staged)
        together = index.search(QUERIES, 10)
        for number in range(len(QUERIES)):
            (ids,) = index.search(QUERIES[number : number + 1], 10).ids
            assert ids == together.ids[number]

    def test_an_empty_batch_of_queries_returns_no_hits(self, open_index):
        assert open_index().search(QUERIES[:0], 3) == Hits([], [])

    @pytest.mark.parametrize("text", POINTS)
    def test_an_empty_index_returns_no_hits_until_a_document_is_added(self, open_index, text):
        index = open_index(OperatingPoint.parse(text), ids=())
        assert len(index) == 0
        assert list(index.ids()) == []
        assert index.search(QUERIES[:2], 3) == Hits([[], []], [[], []])
        index.add({"d5": CORPUS["d5"]}, VECTORS[[5]])
        assert index.search(QUERIES[:2], 3).ids == [["d5"], ["d5"]]

    def test_a_search_accepts_another_point(self, setup, open_index):
        needs(setup, "any_point")
        index = open_index(setup.staged)
        for text in POINTS:
            point = OperatingPoint.parse(text)
            if capabilities(setup.name).can_run(point):
                assert_same(index.search(QUERIES, 10, point=point), brute_force(setup, point, 10))
        assert_same(index.search(QUERIES, 10), brute_force(setup, setup.staged, 10))

    # Exact search

    def test_an_exact_search_equals_numpy_in_float64_up_to_rounding(self, setup, open_index):
        needs(setup, "exact")
        index = open_index(setup.staged)
        scores = unit(QUERIES) @ unit(VECTORS).T
        for k in (1, 10, N + 1):
            hits = index.search(QUERIES, k, exact=True)
            for query, (ids, found) in enumerate(zip(hits.ids, hits.scores, strict=True)):
                expected = best_ids(scores[query], list(CORPUS), k)
                assert ids == [f"d{row}" for row in expected]
                np.testing.assert_allclose(found, scores[query, expected], atol=1e-6)

    def test_an_exact_search_follows_filters_and_changes(self, setup, open_index):
        needs(setup, "exact")
        needs(setup, "filters")
        index = open_index(setup.staged)
        index.delete(["d9"])
        index.add({"new": Document("", metadata={"n": 10})}, VECTORS[[9]])
        where = Where.parse("n >= 9 and n <= 10")
        (ids,) = index.search(VECTORS[[9]], 5, where=where, exact=True).ids
        assert ids == ["new", "d10"]

    # Filters

    def test_a_filtered_search_equals_brute_force_over_matching_documents(
        self, setup, open_index, point
    ):
        needs(setup, "filters")
        index = open_index(point)
        for text, numbers in SELECTIVE.items():
            allowed = [f"d{number}" for number in numbers]
            for k in (1, 10):
                found = index.search(QUERIES, k, where=Where.parse(text))
                assert_same(found, brute_force(setup, point, k, allowed))

    def test_each_filter_matches_the_expected_documents(self, setup, open_index):
        needs(setup, "filters")
        index = open_index()
        for text, means in MEANINGS.items():
            expected = {id_ for id_, document in CORPUS.items() if means(document.metadata)}
            (ids,) = index.search(QUERIES[:1], N, where=Where.parse(text)).ids
            assert set(ids) == expected, text
            assert len(ids) == len(expected), text

    def test_a_filter_that_can_only_be_a_mistake_is_refused(self, setup, open_index):
        needs(setup, "filters")
        index = open_index()
        for _ in range(2):  # also when the fields are known
            for text, problem in REFUSED.items():
                with pytest.raises(InvalidArgument, match=problem) as caught:
                    index.search(QUERIES[:1], 3, where=Where.parse(text))
                assert str(caught.value).isprintable()

    def test_an_index_without_documents_accepts_every_filter(self, setup, open_index):
        needs(setup, "filters")
        index = open_index(ids=())
        where = Where.parse("lang = 'de' or n = 'x' or tags has 1")
        assert index.search(QUERIES[:1], 3, where=where).ids == [[]]
        index.add({"d5": CORPUS["d5"]}, VECTORS[[5]])
        index.delete(["d5"])
        assert index.search(QUERIES[:1], 3, where=where).ids == [[]]

    def test_a_field_is_known_while_a_document_has_it(self, setup, open_index):
        needs(setup, "filters")
        index = open_index()
        where = Where.parse("draft = true")
        for _ in range(2):
            with pytest.raises(InvalidArgument, match="no document has the field draft"):
                index.search(QUERIES[:1], 3, where=where)
            index.add({"new": Document("", metadata={"draft": False})}, VECTORS[[4]])
            assert index.search(QUERIES[:1], 3, where=where).ids == [[]]
            index.add({"new": Document("", metadata={"draft": True})}, VECTORS[[4]], replace=True)
            assert index.search(QUERIES[:1], 3, where=where).ids == [["new"]]
            index.delete(["new"])

    def test_metadata_of_every_kind_are_returned_as_they_were_added(self, setup, open_index):
        index = open_index(ids=["d1"])
        metadata = {
            "text": "ä 'x' \0",
            "true": True,
            "one": 1,
            "float": 1.0,
            "large": 2**62,
            "empty": [],
            "tags": ["a", "b"],
            "mixed": [True, 1, 0.1, "x"],
            "day": "2026-03-01",
        }
        index.add({"new": Document("", metadata=metadata)}, VECTORS[[4]])
        found = index.get(["new"])["new"].metadata
        assert found == metadata
        assert {name: repr(value) for name, value in found.items()} == {
            name: repr(value) for name, value in metadata.items()
        }

    def test_a_filter_follows_every_change_at_once(self, setup, open_index):
        needs(setup, "filters")
        index = open_index()

        def found(text):
            return sorted(index.search(QUERIES[:1], N, where=Where.parse(text)).ids[0])

        assert found("n in (4, 5)") == ["d4", "d5"]
        index.add({"new": Document("", metadata={"n": 4, "more": "x"})}, VECTORS[[4]])
        assert found("n in (4, 5)") == ["d4", "d5", "new"]
        assert found("more exists") == ["new"]
        index.add({"d4": Document("", metadata={"n": 6})}, VECTORS[[4]], replace=True)
        assert found("n in (4, 5)") == ["d5", "new"]
        assert found("n = 6") == ["d4", "d6"]
        assert found("not more exists and n < 3") == ["d0", "d1", "d2"]
        index.delete(["d5", "new"])
        assert found("n in (4, 5)") == []
