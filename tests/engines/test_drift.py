"""Drift: values of new vectors outside the fitted ranges, by hand and in an index."""

import numpy as np
import pytest

from nestvec.codec.codec import Codec
from nestvec.engines.embedded.codecs import NO_DRIFT, Drift, measure_drift
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.embedded.place import create_folder
from nestvec.engines.embedded.state import State
from nestvec.engines.manifest import Manifest
from nestvec.types import Document, OperatingPoint

pytestmark = pytest.mark.usefixtures("small_calibration")


def unit(*rows):
    rows = np.array(rows, dtype=np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_drift_by_hand():
    # Fitted on (1, 0) and (0.6, 0.8): the first value within 0.6..1, the second within 0..0.8.
    codec = Codec.fit_stored(unit([1, 0, 0, 0], [3, 4, 0, 0]), 2, "int8")
    assert measure_drift([codec], unit([1, 0, 0, 0], [3, 4, 0, 0])) == Drift(4, 0)
    assert measure_drift([codec], unit([4, 3, 0, 9])) == Drift(2, 0)  # its prefix is (0.8, 0.6)
    assert measure_drift([codec], unit([0, 1, 0, 0])) == Drift(2, 2)
    assert measure_drift([codec], unit([4, 3, 0, 0], [4, -3, 0, 0])) == Drift(4, 1)
    assert measure_drift([codec], np.empty((0, 4), np.float16)) == NO_DRIFT


def test_drift_adds_up_over_fitted_codecs():
    vectors = unit([1, 0, 0, 0], [3, 4, 0, 0])
    narrow, wide = (Codec.fit_stored(vectors, dim, "int8") for dim in (2, 4))
    floats = [Codec.fit_stored(vectors, 2, each) for each in ("float16", "float32")]
    assert measure_drift(floats, unit([0, 1, 0, 0])) == NO_DRIFT
    assert measure_drift([*floats, narrow, wide], unit([0, 1, 0, 0])) == Drift(6, 4)


@pytest.mark.parametrize("precision", ["int4", "int2", "binary", "pq4"])
def test_a_vector_with_a_large_error_drifts_with_all_its_values(precision):
    rng = np.random.default_rng(0)
    near = unit(*(np.eye(64)[0] + 0.02 * rng.standard_normal((2000, 64))))
    codec = Codec.fit_stored(near[:1000], 32, precision)
    checked, outside = measure_drift([codec], near[1000:])
    assert checked == 32_000
    assert outside <= 320
    assert measure_drift([codec], unit(*-np.eye(64)[:3])) == Drift(96, 96)
    earlier = Codec.from_json(codec.to_json() | {"error": None})
    assert measure_drift([earlier], near) == NO_DRIFT


@pytest.fixture
def opened(tmp_path, model, monkeypatch):
    monkeypatch.setattr(State, "codes_are_due", False)  # codes are built only by build_codes
    indexes = []

    def open_index(text):
        point = OperatingPoint.parse(text)
        create_folder(tmp_path / "i", Manifest(model, "float16", point))
        indexes.append(EmbeddedEngine(tmp_path / "i"))
        return indexes[0]

    yield open_index
    indexes[0].close()


def add(index, prefix, vectors):
    added = {f"{prefix}{row}": Document("") for row in range(len(vectors))}
    index.add(added, vectors, replace=True)


NEAR = np.random.default_rng(0).uniform(1, 2, (40, 32)).astype(np.float32)
FAR = -NEAR


def test_drift_counts_values_added_since_the_codecs_were_fitted(opened):
    index = opened("16:int8")
    add(index, "a", NEAR)
    assert index.stats().outside is None  # nothing is fitted yet
    index.build_codes()
    assert index.stats().outside is None
    add(index, "a", NEAR)  # the same again
    assert index.stats().outside == 0
    add(index, "b", FAR)
    assert index.stats().outside == 0.5
    index.close()
    again = EmbeddedEngine(index.path)
    assert again.stats().outside == 0.5
    again.compact()  # the codecs are fitted again
    assert again.stats().outside is None
    add(again, "c", FAR)
    assert again.stats().outside == 0
    again.close()


def test_drift_is_reset_when_the_codecs_are_fitted_again(opened):
    index = opened("16:int8")
    add(index, "a", NEAR[:10])
    index.build_codes()
    add(index, "b", FAR[:2])
    index.build_codes()  # a part of its own: the codecs stay
    assert index.stats().parts == 2
    assert index.stats().outside == 1
    index.use(OperatingPoint.parse("16:int8"))
    assert index.stats().outside == 1
    index.use(OperatingPoint.parse("16:int4"))
    assert index.stats().outside is None
    index.use(OperatingPoint.parse("8:int8"))
    add(index, "c", FAR[:2])
    assert index.stats().outside == 0
    add(index, "d", np.eye(32, dtype=np.float32))
    assert index.stats().outside > 0
    index.build_codes()  # one part
    assert index.stats().parts == 1
    assert index.stats().outside is None


def test_codecs_that_are_not_fitted_have_no_drift(opened):
    index = opened("16:float16")
    add(index, "a", NEAR)
    index.build_codes()
    add(index, "b", FAR)
    assert index.stats().outside is None
