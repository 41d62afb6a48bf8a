"""Scoring the candidates of a database by the stages of a point."""

import numpy as np

from engine_setup import QUERIES, VECTORS, best_ids, unit
from nestvec.codec.prefix import as_stored
from nestvec.engines.rescoring import Shortlist, rescore
from nestvec.types import OperatingPoint

IDS = [f"d{row}" for row in range(len(VECTORS))]
STORED = as_stored(VECTORS)


def all_candidates(rows=slice(None)):
    return [Shortlist(np.array(IDS)[rows].tolist(), STORED[rows])] * len(QUERIES)


def test_stages_equal_numpy():
    stages = OperatingPoint.parse("8:float32@40>32:float32").stages
    hits = rescore(as_stored(QUERIES), all_candidates(), stages, 7)
    for query, ids, scores in zip(QUERIES, hits.ids, hits.scores, strict=True):
        short = best_ids(unit(VECTORS[:, :8]) @ unit(query[None, :8])[0], IDS, 40)
        full = unit(VECTORS) @ unit(query[None])[0]
        expected = [short[row] for row in best_ids(full[short], [IDS[row] for row in short], 7)]
        assert ids == [IDS[row] for row in expected]
        np.testing.assert_allclose(scores, full[expected], atol=1e-6)


def test_equal_scores_are_in_descending_order_of_id():
    stages = OperatingPoint.parse("16:float16@40>32:float32").stages
    for rows in ([3, 30, 5], [30, 5, 3]):
        hits = rescore(
            STORED[[3]], [Shortlist([IDS[row] for row in rows], STORED[rows])], stages, 2
        )
        assert hits.ids == [["d30", "d3"]]
        assert hits.scores[0][0] == hits.scores[0][1]


def test_a_zero_query_scores_zero_and_no_candidates_give_no_hits():
    stages = OperatingPoint.parse("32:float32").stages
    queries = np.zeros((2, 32), np.float32)
    some = [Shortlist(["a", "b"], STORED[:2]), Shortlist([], STORED[:0])]
    hits = rescore(queries, some, stages, 5)
    assert hits.ids == [["b", "a"], []]
    assert hits.scores == [[0.0, 0.0], []]
