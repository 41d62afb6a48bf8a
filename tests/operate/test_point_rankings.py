"""The rankings without an index equal those of a measured curve."""

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.flat.representations import Representations
from nestvec.errors import InvalidArgument
from nestvec.measure.exhaustive import ExhaustiveSearch
from nestvec.operate.exact import ScannedRows
from nestvec.operate.losses import PointRankings, Variant, plain_codec
from nestvec.types import OperatingPoint

N, DIM, K = 400, 32, 10
RNG = np.random.default_rng(0)
VECTORS = (RNG.standard_normal((N, DIM)) * (1 + np.arange(DIM)) ** -0.4).astype(np.float32)
QUERIES = RNG.standard_normal((5, DIM)).astype(np.float32)


def rank(text, codec):
    rankings = PointRankings(QUERIES, OperatingPoint.parse(text), codec, k=K)
    for start in range(0, N, 64):
        rows = np.arange(start, min(start + 64, N))
        matches = np.empty((len(rows), 0), dtype=bool)
        rankings.add(ScannedRows(rows, VECTORS[rows], matches))
    return rankings.rank(lambda rows: VECTORS[rows])


@pytest.mark.parametrize(
    "text",
    ["32:float16", "8:float32", "16:sign@30>32:float32", "8:float16@60>16:float16@20>32:float32"],
)
def test_rankings_are_those_of_a_curve(text):
    point = OperatingPoint.parse(text)
    with Representations(VECTORS, layer_norm=False) as corpus:
        ranked = ExhaustiveSearch([point], QUERIES, corpus, depth=K).rank([point])[point]
    found = rank(text, plain_codec)[Variant(False)]
    assert [each.tolist() for each in found] == ranked.rows.tolist()


def test_a_calibrated_codec_of_an_index_is_used():
    stored = as_stored(VECTORS)
    codecs = {(16, "int8"): Codec.fit_stored(stored, 16, "int8")}
    point = OperatingPoint.parse("16:int8@30>32:float32")
    with Representations(VECTORS, layer_norm=False) as corpus:
        ranked = ExhaustiveSearch([point], QUERIES, corpus, depth=K).rank([point])[point]
    found = rank(str(point), lambda key: codecs.get(key) or plain_codec(key))
    assert [each.tolist() for each in found[Variant(False)]] == ranked.rows.tolist()


def test_the_precise_variant_is_the_point_at_float32():
    precise = rank("16:sign@30>32:float32", plain_codec)[Variant(True)]
    same = rank("16:float32@30>32:float32", plain_codec)[Variant(False)]
    assert [each.tolist() for each in precise] == [each.tolist() for each in same]


def test_a_longer_shortlist_is_that_of_a_longer_point():
    longer = rank("8:sign@15>32:float32", plain_codec)[Variant(False, 4)]
    same = rank("8:sign@60>32:float32", plain_codec)[Variant(False)]
    assert [each.tolist() for each in longer] == [each.tolist() for each in same]


def test_a_calibration_cannot_be_guessed():
    with pytest.raises(InvalidArgument, match=r"calibration of 16:int8 is unknown"):
        plain_codec((16, "int8"))
