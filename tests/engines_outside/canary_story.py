"""The canaries of an index in a database, from the build to a check."""

import numpy as np
import pytest

from fakes import NestedHashEncoder
from nestvec.engines.registry import engine_at, open_engine
from nestvec.index.building import build_index, count_unfinished
from nestvec.index.canaries import record_canaries
from nestvec.index.copying import copy_index
from nestvec.operate.check import CheckOptions, check_search
from nestvec.types import Document

CORPUS = {f"d{n}": Document(f"word{n} and others {n % 7}") for n in range(1_030)}
POINT = "16:float32@50>64:float32"


class Interrupted(NestedHashEncoder):
    """Fails at the second batch."""

    def encode(self, texts, **options):
        if self.calls:
            raise RuntimeError("quota")
        return super().encode(texts, **options)


def stored(place):
    return engine_at(place).read_manifest(place).canaries


def check_canaries(place, folder):
    """Build, continue, copy and check the index of an engine; it stores its canaries."""
    with pytest.raises(RuntimeError, match="quota"):
        build_index(Interrupted(), CORPUS, POINT, place)
    assert count_unfinished(place) == 1_024
    model = NestedHashEncoder()
    build_index(model, CORPUS, POINT, place).close()
    assert len(model.calls[0][1]) == 6  # the build continued, although its manifest has canaries
    canaries = stored(place)
    assert len(canaries.texts) == 32
    assert np.array_equal(canaries.vectors, model.encode(canaries.texts, kind="document"))
    copy_index(place, folder / "copy").close()
    assert stored(str(folder / "copy")) == canaries
    copy_index(folder / "copy", f"{place}2").close()
    assert stored(f"{place}2") == canaries

    report = check_search(place, None, CheckOptions(sampled=10), model=model)
    assert report.canaries.lowest == pytest.approx(1, abs=1e-6)
    assert report.calibration is None
    engine = open_engine(place)
    engine.use(engine.manifest.point)
    engine.close()
    assert stored(place) == canaries
    assert len(record_canaries(place, model, texts=["one", "two"]).texts) == 2
    assert {*stored(place).texts} == {"one", "two"}
