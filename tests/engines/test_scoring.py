"""Scores of candidates do not depend on their row or on the block."""

import numpy as np

from nestvec.engines.flat.scoring import is_in, score

NONE = np.empty(0, dtype=np.int64)


def test_equal_vectors_have_bitwise_equal_scores_in_any_row():
    # In a matrix product, the last rows are computed in another way.
    rng = np.random.default_rng(0)
    for dim in (7, 32, 100, 300):
        vector = rng.standard_normal(dim).astype(np.float32)
        queries = rng.standard_normal((3, dim)).astype(np.float32)
        rows = np.tile(np.arange(37), (3, 1))
        scores = score(queries, rows, lambda r, v=vector: np.tile(v, (len(r), 1)), empty=NONE)
        assert (scores == scores[:, :1]).all()


def test_candidates_are_decoded_in_blocks():
    # 3 x 9,000 candidates of 1,024 dims at once would be 110 MB.
    seen = []

    def vectors_of(rows):
        seen.append(len(rows))
        return np.stack([rows, np.ones(len(rows))], axis=1).astype(np.float32)

    rows = np.random.default_rng(0).integers(-1, 500, (3, 9000))
    queries = np.array([[1, 0], [0, 1], [2, 1]], dtype=np.float32)
    scores = score(queries, rows, vectors_of, empty=np.array([7]))
    assert max(seen) <= 16_384
    assert sum(seen) == rows.size
    expected = queries[:, :1] * rows + queries[:, 1:]
    expected[rows == 7] = 0
    expected[rows < 0] = -np.inf
    np.testing.assert_array_equal(scores, expected)


def test_is_in_finds_the_rows_of_a_long_list():
    ascending, rows = np.array([3, 7, 8]), np.array([[-1, 3, 4], [8, 9, 0]])
    assert is_in(ascending, rows).tolist() == [[False, True, False], [True, False, False]]
