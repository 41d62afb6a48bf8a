"""Fusion and reranking: by hand, and against plain loops over random rankings with ties."""

import numpy as np
import pytest

from nestvec.metrics.fusion import fuse_by_rank, fuse_by_score, rerank
from nestvec.metrics.ranking import Ranked


def ranked(rows, scores=None):
    rows = np.array(rows, dtype=np.int64)
    if scores is None:
        scores = np.arange(rows.shape[1], 0, -1) * np.ones(rows.shape)
    return Ranked(np.array(scores, dtype=np.float32), rows)


def random_ranking(rng, n_queries, width, n_docs):
    """Rank random documents by scores with many ties; some queries have fewer."""
    rows, scores = np.full((n_queries, width), -1), np.full((n_queries, width), -np.inf)
    for number in range(n_queries):
        n = int(rng.integers(0, width + 1))
        drawn = [
            *zip(
                (-rng.integers(0, 4, n)).tolist(), rng.permutation(n_docs)[:n].tolist(), strict=True
            )
        ]
        for place, (negative, row) in enumerate(sorted(drawn)):
            rows[number, place], scores[number, place] = row, -negative / 4
    return ranked(rows, scores)


def by_rank(one, other, k=60):
    sums = {}
    for rows in (one, other):
        for rank, row in enumerate((row for row in rows if row >= 0), 1):
            sums[row] = sums.get(row, 0) + 1 / (k + rank)
    return sorted(sums, key=lambda row: (-sums[row], row))


def by_score(one, other, weight):
    sums = {}
    for (rows, scores), share in ((one, weight), (other, 1 - weight)):
        found = {row: score for row, score in zip(rows, scores, strict=True) if row >= 0}
        if found:
            low, high = min(found.values()), max(found.values())
            for row, score in found.items():
                scaled = (score - low) / (high - low) if high > low else 1.0
                sums[row] = sums.get(row, 0) + share * scaled
    return sorted(sums, key=lambda row: (-sums[row], row))


def test_reciprocal_ranks_are_added_by_hand():
    # 7: 1/61 + 1/62 = .03252;  3: 1/62 = .01613;  5: 1/61 = .01639;  9: 1/63 twice = .03175
    fused = fuse_by_rank(ranked([[7, 3, 9]]), ranked([[5, 7, 9]]))
    assert fused.tolist() == [[7, 9, 5, 3, -1, -1]]


@pytest.mark.parametrize(("alone", "twice"), [(0, 1), (1, 0)])
def test_rank_1_alone_equals_rank_62_twice_with_the_constant_60(alone, twice):
    # 1 / 61 = 1 / 122 + 1 / 122, so the lower row is first. Any other constant decides the order.
    one = [alone, *range(100, 160), twice]
    other = [*range(200, 261), twice]
    assert (len(one), len(other)) == (62, 62)
    fused = fuse_by_rank(ranked([one]), ranked([other])).tolist()[0]
    assert [row for row in fused if row in (0, 1)] == [0, 1]


def test_scores_are_scaled_and_weighted_by_hand():
    # First: 4 -> 1, 2 -> .5, 0 -> 0.  Second: 30 -> 1, 10 -> 0.
    one, other = ranked([[1, 2, 3]], [[4, 2, 0]]), ranked([[2, 1]], [[30, 10]])
    assert fuse_by_score(one, other, weight=0.5).tolist()[0][:3] == [2, 1, 3]  # .75, .5, 0
    assert fuse_by_score(one, other, weight=0.9).tolist()[0][:3] == [1, 2, 3]  # .9, .55, 0


def test_equal_scores_count_as_1_and_an_empty_ranking_changes_nothing():
    one, empty = ranked([[4, 2]], [[3, 3]]), ranked([[-1]], [[-np.inf]])
    assert fuse_by_score(one, empty).tolist() == [[2, 4, -1]]
    assert fuse_by_rank(one, empty).tolist() == [[4, 2, -1]]


@pytest.mark.parametrize("seed", range(5))
def test_fusion_equals_plain_loops(seed):
    rng = np.random.default_rng(seed)
    one, other = random_ranking(rng, 40, 12, 30), random_ranking(rng, 40, 20, 30)
    ranks, sums = fuse_by_rank(one, other), fuse_by_score(one, other, weight=0.25)
    for number in range(40):
        rows = one.rows[number].tolist(), other.rows[number].tolist()
        scores = one.scores[number].tolist(), other.scores[number].tolist()
        assert [row for row in ranks[number].tolist() if row >= 0] == by_rank(*rows)
        expected = by_score(*zip(rows, scores, strict=True), 0.25)
        assert [row for row in sums[number].tolist() if row >= 0] == expected
    assert (np.diff((ranks >= 0).astype(int), axis=1) <= 0).all()  # empty positions are last


def test_the_inputs_are_not_changed():
    one, other = ranked([[7, 3]], [[2, 1]]), ranked([[3, -1]], [[1, -np.inf]])
    fuse_by_rank(one, other)
    fuse_by_score(one, other)
    assert (one.rows.tolist(), other.rows.tolist()) == ([[7, 3]], [[3, -1]])
    assert one.scores.tolist() == [[2, 1]]


def test_the_best_documents_are_reordered_and_those_without_a_score_follow():
    rows = np.array([[5, 8, 2, 9, 1, -1]])
    scores = np.array([[0.1, np.nan, 0.7, 0.7, 0.9, np.nan]])
    assert rerank(rows, scores, depth=4).tolist() == [[2, 9, 5, 8, 1, -1]]
    assert rerank(rows, scores, depth=3).tolist() == [[2, 5, 8, 9, 1, -1]]
    assert rerank(rows, scores, depth=50).tolist() == [[1, 2, 9, 5, 8, -1]]
    assert rerank(rows, scores, depth=1).tolist() == rows.tolist()
