"""What a search says of itself: the same answer, and what led to it."""

import numpy as np
import pytest

from fakes import NestedHashEncoder
from nestvec.engines.embedded.snapshot import Snapshot
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.types import Document, Hits
from ten_documents import CORPUS

QUERY = "read a csv file"
POINT = "16:binary@8>64:int8"


def test_a_search_explained_finds_the_same(index):
    explained = index.explain([QUERY, "socket"], 3)
    assert explained.hits == index.search([QUERY, "socket"], 3)
    assert explained.stages[-1].hits == explained.hits
    assert [str(trace.stage) for trace in explained.stages] == ["16:binary@8", "64:int8"]
    assert all(trace.milliseconds >= 0 for trace in explained.stages)


def test_a_shortlist_is_the_whole_of_what_the_first_stage_hands_on(index):
    first = index.explain([QUERY], 3).stages[0]
    assert first.hits == index.search([QUERY], 8, point="16:binary")
    assert len(first.hits.ids[0]) == 8


def test_the_bytes_are_those_looked_at(index):
    n = len(CORPUS)
    assert [trace.bytes for trace in index.explain([QUERY], 3).stages] == [n * 2, 8 * 64]
    assert [trace.bytes for trace in index.explain([QUERY] * 2, 3).stages] == [n * 4, 16 * 64]
    floats = index.explain([QUERY], 3, point="16:int8@5>64:float16").stages
    assert [trace.bytes for trace in floats] == [n * 16, 5 * 64 * 2]


def test_what_is_not_coded_yet_is_counted_where_it_is_scored(index):
    index.add(["new"], ["read a csv file now"])
    *_, last = index.explain([QUERY], 3).stages
    assert last.bytes == 8 * 64 + 64 * 2
    assert "new" in last.hits.ids[0]


def test_a_filter_and_another_point_are_explained_too(tmp_path):
    corpus = {f"d{n}": Document(f"w{n} w{n + 1}", metadata={"n": n}) for n in range(20)}
    with build_index(NestedHashEncoder(), corpus, POINT, tmp_path / "index") as index:
        asked = {"where": "n < 5", "point": "32:int8@3>64:float16"}
        explained = index.explain(["w3"], 4, **asked)
        assert explained.hits == index.search(["w3"], 4, **asked)
        assert {*explained.stages[0].hits.ids[0]} <= {f"d{n}" for n in range(5)}


def test_nothing_asked_is_nothing_found(index):
    nothing = index.explain(np.empty((0, 64), dtype=np.float32), 3)
    assert nothing.hits == Hits([], [])
    assert [trace.bytes for trace in nothing.stages] == [0, 0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k": 0}, "k 0 < 1"),
        ({"point": "900:int8"}, "dim 900 > full_dim 64"),
        ({"where": "n <"}, "filter"),
    ],
)
def test_what_cannot_be_searched_cannot_be_explained(index, asked, message):
    with pytest.raises(InvalidArgument, match=message):
        index.explain([QUERY], **asked)


def test_one_string_is_one_query(index):
    assert index.explain(QUERY).hits == index.explain([QUERY]).hits


def test_ids_of_a_shortlist_are_looked_up_only_if_they_are_read(index, monkeypatch):
    looked_up = []
    ids = Snapshot.ids
    monkeypatch.setattr(
        Snapshot, "ids", lambda self, rows: (looked_up.append(len(rows)), ids(self, rows))[1]
    )
    explained = index.explain([QUERY], 3)
    assert [trace.kept for trace in explained.stages] == [8, 3]
    assert looked_up == [3]  # as a plain search does
    assert len(explained.stages[0].hits.ids[0]) == 8
    assert explained.stages[0].hits is explained.stages[0].hits
    assert looked_up == [3, 8]
