"""An index that grows: exact while it has few documents, then calibrated, then calibrated again."""

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.codec.prefix import normalize
from nestvec.engines.embedded import state
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.manifest import Manifest
from nestvec.types import PRECISIONS, Document, ModelInfo, OperatingPoint

DIM = 64
MODEL = ModelInfo("models/any", "a" * 64, DIM, (DIM, 32), "config.json", True)
ALONE = {"float32": 0.99, "float16": 0.97, "int8": 0.9, "int4": 0.75, "int2": 0.55, "binary": 0.35}
ALONE |= {"pq4": 0.6, "sign": 0.25}  # overlap@10 with exact search on the vectors of this file


def made(n, seed, *, dims=None):
    """Return unit vectors that vary along few directions, as those of texts."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(1 if dims is None else dims).standard_normal((12, DIM))
    vectors = rng.standard_normal((n, 12)) @ directions + 0.8 * rng.standard_normal((n, DIM))
    return normalize(vectors.astype(np.float32))


def named(first, n):
    return {f"d{number:05}": Document("") for number in range(first, first + n)}


def new(path, point):
    point = OperatingPoint.parse(point)
    stored = "float32" if "float32" in str(point) else "float16"
    return EmbeddedEngine.create(str(path), Manifest(MODEL, stored, point))


def grow(index, vectors, first=0, *, step=97):
    for start in range(0, len(vectors), step):
        batch = vectors[start : start + step]
        index.add(named(first + start, len(batch)), batch)


def overlap(index, queries, k=10):
    found, exact = index.search(queries, k), index.search(queries, k, exact=True)
    return np.mean([len({*a} & {*b}) / k for a, b in zip(found.ids, exact.ids, strict=True)])


@pytest.mark.parametrize("begun", [0, 1, 2, 20])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_index_begun_with_few_documents_has_the_overlap_of_one_built_at_once(
    tmp_path, begun, precision
):
    vectors, queries = made(1_100, seed=2), made(60, seed=3)
    index = new(tmp_path / "index", f"{DIM}:{precision}")
    if begun:
        grow(index, vectors[:begun])
        index.build_codes()
    grow(index, vectors[begun:900], begun)
    assert overlap(index, queries) > 0.99
    assert index.stats().uncoded == 900
    grow(index, vectors[900:], 900)
    assert index.stats().uncoded < 1_100
    assert overlap(index, queries) > ALONE[precision]
    index.build_codes()
    assert overlap(index, queries) > ALONE[precision]
    index.close()


@pytest.mark.parametrize("precision", ["int8", "pq4", "int4", "binary"])
def test_later_documents_that_the_calibration_does_not_fit_lead_to_a_new_one(tmp_path, precision):
    index = new(tmp_path / "index", f"{DIM}:{precision}")
    one = normalize((made(1, seed=8) + 0.05 * made(1_500, seed=4)).astype(np.float32))
    grow(index, one, step=500)
    before = index.manifest.codecs[(DIM, precision)]
    others, queries = made(2_500, seed=5), made(60, seed=6)
    grow(index, others, 1_500)
    after = index.manifest.codecs[(DIM, precision)]
    assert not np.array_equal(before.calibration, after.calibration)
    assert index.stats().outside < 0.02
    built = new(tmp_path / "built", f"{DIM}:{precision}")
    grow(built, np.concatenate((one, others)), step=4_000)
    assert overlap(index, queries) > overlap(built, queries) - 0.05
    index.close()
    built.close()


def test_similar_documents_do_not_lead_to_a_new_calibration(tmp_path):
    index = new(tmp_path / "index", f"{DIM}:pq4@50>{DIM}:int8")
    grow(index, made(3_000, seed=4), step=3_000)
    before = index.manifest.to_json()
    grow(index, made(900, seed=5), 3_000)
    assert index.manifest.to_json() == before
    assert index.stats().uncoded == 900
    index.close()


def test_replaced_documents_do_not_count_for_a_calibration(tmp_path):
    index = new(tmp_path / "index", f"{DIM}:int8")
    for seed in range(60):
        index.add(named(0, 20), made(20, seed=seed), replace=True)
    assert index.stats().deleted == 1_180
    assert index.stats().uncoded == 20
    assert overlap(index, made(30, seed=3), k=5) == 1
    index.close()


def test_an_index_of_few_documents_uses_the_codes_that_were_built_for_them(tmp_path):
    vectors, queries = made(50, seed=2), made(5, seed=3)
    index = new(tmp_path / "index", f"{DIM}:int4")
    index.add(named(0, 50), vectors)
    exact = index.search(queries, 50)
    index.build_codes()
    coded = index.search(queries, 50)
    assert coded.scores != exact.scores
    order = np.argsort([f"d{number:05}" for number in range(50)])[::-1]
    codec = Codec.fit_stored(vectors[order].astype(np.float16), DIM, "int4")
    scores = codec.prepare(queries) @ codec.decode(codec.encode_stored(vectors)).T
    np.testing.assert_allclose(coded.scores, -np.sort(-scores, axis=1), atol=1e-5)
    index.add(named(50, 1), made(1, seed=4))
    assert index.search(queries, 50).scores[0][0] == pytest.approx(exact.scores[0][0], abs=1e-3)
    assert index.delete(["d00050"]) == 1
    index.compact()
    assert index.search(queries, 50) == coded
    index.close()


def test_readers_find_the_same_while_an_index_grows(tmp_path):
    queries = made(20, seed=3)
    index = new(tmp_path / "index", f"{DIM}:binary@100>{DIM}:int8")
    reader = EmbeddedEngine(tmp_path / "index")
    vectors = made(1_300, seed=2)
    for start in range(0, 1_300, 260):
        grow(index, vectors[start : start + 260], start)
        assert reader.search(queries, 10) == index.search(queries, 10)
    reader.close()
    index.close()
    again = EmbeddedEngine(tmp_path / "index")
    assert again.stats().documents == 1_300
    again.close()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("coded", [True, False])
def test_a_prefix_of_zeros_scores_0_at_every_precision(tmp_path, precision, coded):
    # Earlier versions decoded such a prefix to the values of some code: -0.5 to 0.6 with 1 bit.
    vectors = made(200, seed=2)
    vectors[::10, :16] = 0
    vectors[5] = 0
    index = new(tmp_path / "index", f"16:{precision}")
    index.add(named(0, 200), vectors)
    if coded:
        index.build_codes()
    hits = index.search(made(4, seed=3), 200)
    zeros = {f"d{number:05}" for number in [*range(0, 200, 10), 5]}
    for ids, scores in zip(hits.ids, hits.scores, strict=True):
        assert {id_ for id_, score in zip(ids, scores, strict=True) if score == 0} >= zeros
    whole = index.search(vectors[[10]], 1, point=OperatingPoint.parse(f"{DIM}:{precision}"))
    assert whole.scores[0][0] > 0.5
    index.close()


def test_calibration_rows_are_as_documented():
    assert (state.CALIBRATION_ROWS, state.TAIL_ROWS) == (1_000, 4_096)
