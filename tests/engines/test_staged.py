"""Stages handing on shortlists: against exact search, by hand, and in bytes."""

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.engines.engine import Capabilities, capabilities
from nestvec.engines.flat.scan import Scan
from nestvec.engines.flat.scoring import among, score
from nestvec.engines.flat.staged import Bytes, Rescorer, StagedSearch
from nestvec.errors import InvalidArgument
from nestvec.metrics.ranking import best
from nestvec.types import PRECISIONS, OperatingPoint

NONE = np.empty(0, dtype=np.int64)
N = 150


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((N, 32)).astype(np.float32)


def staged(text, vectors, empty=NONE):
    point = OperatingPoint.parse(text)
    codecs = [Codec.fit(vectors, stage.dim, stage.precision) for stage in point.stages]
    codes = [codec.encode(vectors) for codec in codecs]
    rescorers = [
        Rescorer(codec, each, empty) for codec, each in zip(codecs[1:], codes[1:], strict=True)
    ]
    return StagedSearch(point, Scan(codecs[0], codes[0], empty=empty), rescorers)


def exact(text, vectors, queries):
    stage = OperatingPoint.parse(text).stages[-1]
    codec = Codec.fit(vectors, stage.dim, stage.precision)
    return codec.prepare(queries) @ codec.decode(codec.encode(vectors)).T


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rescoring_the_whole_corpus_is_exact_search(precision, vectors, queries):
    text = f"8:binary@{N}>24:{precision}"
    scores, rows = staged(text, vectors).search(queries, 20)
    expected_scores, expected_rows = best(exact(text, vectors, queries), 20)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    np.testing.assert_array_equal(rows, expected_rows)


def test_a_funnel_hands_on_the_best_of_each_stage(vectors, queries):
    search = staged("8:binary@60>16:int8@15>32:float32", vectors)
    scores, rows = search.search(queries, 5)
    for line in range(len(queries)):
        query = queries[line : line + 1]
        left = search.scan.search(query, 60)[1][0]
        for text, keep in (("16:int8", 15), ("32:float32", 5)):
            every = exact(text, vectors, query)[0]
            left = np.array(sorted(left, key=lambda row, every=every: (-every[row], row))[:keep])
        np.testing.assert_array_equal(rows[line], left)
        np.testing.assert_allclose(
            scores[line], exact("32:float32", vectors, query)[0][left], atol=1e-6
        )


def test_a_shortlist_bounds_what_is_found(vectors, queries):
    assert staged("8:binary@7>32:float32", vectors).search(queries, 20)[1].shape == (6, 7)
    assert staged("8:binary@900>32:float32", vectors).search(queries, 900)[1].shape == (6, N)


def test_candidates_by_hand():
    # Codes are the vectors; rows 0 and 2 are equal, so they tie in ascending row.
    corpus = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.8], [0, 0]], dtype=np.float32)
    codec = Codec.fit(corpus, 2, "float32")
    rescorer = Rescorer(codec, codec.encode(corpus), np.array([4]))
    scores, rows = rescorer.search(np.array([[2, 0]], np.float32), np.array([[4, 2, 3, 1, 0]]), 4)
    assert rows.tolist() == [[0, 2, 3, 1]]
    np.testing.assert_allclose(scores, [[1, 1, 0.6, 0]], atol=1e-7)


def test_zero_vectors_score_0_in_every_stage(vectors, queries):
    empty = np.array([3, 77])
    vectors[empty] = 0
    for text in ("16:int4", f"16:binary@{N}>32:int2", f"16:binary@{N}>32:int8@{N}>8:int4"):
        scores, rows = staged(text, vectors, empty).search(queries, N)
        assert (scores[np.isin(rows, empty)] == 0).all()
        assert np.isin(rows, empty).sum() == 2 * len(queries)


def test_stages_leave_their_inputs_as_they_were(vectors, queries):
    vectors[5] = 0
    search = staged("8:binary@60>16:int8@15>32:float32", vectors, np.array([5]))
    arrays = [queries, *(r.codes for r in search.rescorers), *(r.empty for r in search.rescorers)]
    before = [each.copy() for each in arrays]
    for each in arrays:
        each.setflags(write=False)  # as a memory map is
    candidates = np.tile(np.arange(20), (len(queries), 1))
    search.rescorers[0].search(queries, candidates, 5)
    search.search(queries, 5)
    np.testing.assert_array_equal(candidates, np.tile(np.arange(20), (len(queries), 1)))
    for each, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(each, old)


def test_equal_vectors_score_bitwise_alike_wherever_they_stand():
    # A matrix product does not give that: its last rows take another path.
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


@pytest.mark.parametrize(
    ("text", "ram", "disk", "read"),
    [
        ("100:binary", 13, 0, 0),
        ("64:int4", 32, 0, 0),
        ("64:binary@200>512:int8", 8, 512, 200 * 512),
        ("64:binary@1000>256:int8@100>512:float16", 8, 256 + 1024, 1000 * 256 + 100 * 1024),
        ("64:int8@10>64:int8", 64, 64, 640),
        ("8:binary@20>64:int8@10>64:int8", 1, 128, 20 * 64 + 10 * 64),  # stored twice
    ],
)
def test_bytes_by_hand(text, ram, disk, read):
    point = OperatingPoint.parse(text)
    assert Bytes.of(point) == Bytes(ram, disk, read)


def test_the_embedded_engine_runs_every_point():
    for text in ("8:float32", "8:binary@5>8:int2@3>8:float16"):
        assert capabilities("embedded").can_run(OperatingPoint.parse(text))
    with pytest.raises(InvalidArgument, match="engine 'oracle' is not one of embedded"):
        capabilities("oracle")


def test_an_engine_runs_what_it_says():
    engine = Capabilities(frozenset({"binary", "int8"}), frozenset({"float32"}), max_stages=2)
    runs = {
        "8:binary": True,
        "8:int4": False,
        "8:int8@9>8:float32": True,
        "8:int8@9>8:int8": False,
        "8:int8@9>8:float32@5>8:float32": False,
    }
    assert {text: engine.can_run(OperatingPoint.parse(text)) for text in runs} == runs


def test_rows_of_a_long_list_are_told_from_others():
    ascending, rows = np.array([3, 7, 8]), np.array([[-1, 3, 4], [8, 9, 0]])
    assert among(ascending, rows).tolist() == [[False, True, False], [True, False, False]]
