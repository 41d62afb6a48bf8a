"""Explain: the same hits as search, and the result of each stage."""

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


def test_explain_returns_the_hits_of_search(index):
    explained = index.explain([QUERY, "socket"], 3)
    assert explained.hits == index.search([QUERY, "socket"], 3)
    assert explained.stages[-1].hits == explained.hits
    assert [str(trace.stage) for trace in explained.stages] == ["16:binary@8", "64:int8"]
    assert all(trace.milliseconds >= 0 for trace in explained.stages)


def test_the_first_stage_returns_its_whole_shortlist(index):
    first = index.explain([QUERY], 3).stages[0]
    assert first.hits == index.search([QUERY], 8, point="16:binary")
    assert len(first.hits.ids[0]) == 8


def test_bytes_are_those_of_the_scored_codes_and_vectors(index):
    n = len(CORPUS)
    assert [trace.bytes for trace in index.explain([QUERY], 3).stages] == [n * 2, 8 * 64]
    assert [trace.bytes for trace in index.explain([QUERY] * 2, 3).stages] == [n * 4, 16 * 64]
    floats = index.explain([QUERY], 3, point="16:int8@5>64:float16").stages
    assert [trace.bytes for trace in floats] == [n * 16, 5 * 64 * 2]


def test_bytes_of_documents_without_codes_count_in_the_last_stage(index):
    index.add(["new"], ["read a csv file now"])
    *_, last = index.explain([QUERY], 3).stages
    assert last.bytes == 11 * 64 * 2  # a calibration on 10 documents is not used for the next
    assert "new" in last.hits.ids[0]


def test_explain_accepts_a_filter_and_another_point(tmp_path):
    corpus = {f"d{n}": Document(f"w{n} w{n + 1}", metadata={"n": n}) for n in range(20)}
    with build_index(NestedHashEncoder(), corpus, POINT, tmp_path / "index") as index:
        asked = {"where": "n < 5", "point": "32:int8@3>64:float16"}
        explained = index.explain(["w3"], 4, **asked)
        assert explained.hits == index.search(["w3"], 4, **asked)
        assert {*explained.stages[0].hits.ids[0]} <= {f"d{n}" for n in range(5)}


def test_no_queries_return_no_hits(index):
    nothing = index.explain(np.empty((0, 64), dtype=np.float32), 3)
    assert nothing.hits == Hits([], [])
    assert [trace.bytes for trace in nothing.stages] == [0, 0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k": 0}, "k=0 is smaller than 1"),
        ({"point": "900:int8"}, "dim=900 is larger than full_dim=64"),
        ({"where": "n <"}, "filter"),
    ],
)
def test_an_invalid_search_is_refused_by_explain(index, asked, message):
    with pytest.raises(InvalidArgument, match=message):
        index.explain([QUERY], **asked)


def test_a_string_is_one_query(index):
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
