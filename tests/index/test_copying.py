"""Copying an index: documents, vectors, manifest, interrupts and differences."""

import numpy as np
import pytest

from engine_setup import CORPUS, MODEL, QUERIES, VECTORS, assert_same
from nestvec.engines.embedded.engine import EmbeddedEngine
from nestvec.engines.manifest import Manifest
from nestvec.engines.registry import open_engine
from nestvec.errors import DataError, InvalidArgument
from nestvec.index.copying import copy_index
from nestvec.types import Document, OperatingPoint

POINT = OperatingPoint.parse("16:int8@40>32:float32")


@pytest.fixture
def source(tmp_path):
    place = tmp_path / "source"
    engine = EmbeddedEngine.create(str(place), Manifest(MODEL, "float32", POINT))
    engine.add(CORPUS, VECTORS)
    engine.close()
    return place


def test_a_copy_has_the_documents_vectors_and_results_of_the_source(source, tmp_path):
    copy_index(source, tmp_path / "copy").close()
    one, other = open_engine(source), open_engine(tmp_path / "copy")
    ids = sorted(one.ids())
    assert sorted(other.ids()) == ids
    assert other.get(ids) == one.get(ids)
    np.testing.assert_allclose(other.vectors(ids), one.vectors(ids), atol=1e-7)
    assert (other.manifest.model, other.manifest.point) == (MODEL, POINT)
    assert_same(other.search(QUERIES, 10, exact=True), one.search(QUERIES, 10, exact=True))
    one.close()
    other.close()


def test_a_copy_can_have_another_point_and_precision(source, tmp_path):
    copied = copy_index(source, tmp_path / "copy", point="16:int4@50>32:float16", stored="float16")
    assert (str(copied.point), copied.stats().stored) == ("16:int4@50>32:float16", "float16")
    copied.close()


def test_an_interrupted_copy_continues_and_drops_deleted_documents(source, tmp_path, monkeypatch):
    monkeypatch.setattr("nestvec.index.copying.BLOCK", 50)

    def interrupt(done, total):
        if done >= 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_index(source, tmp_path / "copy", on_progress=interrupt)
    added, real = [], EmbeddedEngine.add

    def add(self, batch, *args, **named):
        added.extend(batch)
        real(self, batch, *args, **named)

    monkeypatch.setattr(EmbeddedEngine, "add", add)
    copied = copy_index(source, tmp_path / "copy")
    assert len(added) == len(CORPUS) - 100
    assert len(copied) == len(CORPUS)
    copied.close()


def test_a_copy_that_differs_does_not_replace_an_index(source, tmp_path, monkeypatch):
    target = tmp_path / "copy"
    before = EmbeddedEngine.create(str(target), Manifest(MODEL, "float32", POINT))
    before.add({"old": Document("old")}, VECTORS[[1]])
    before.close()
    real = EmbeddedEngine.vectors
    monkeypatch.setattr(
        EmbeddedEngine, "vectors", lambda self, ids: np.roll(real(self, ids), 1, axis=0)
    )
    with pytest.raises(DataError, match="exact searches of the copy find"):
        copy_index(source, target)
    monkeypatch.undo()
    after = open_engine(target)
    assert list(after.ids()) == ["old"]
    after.close()


def test_the_same_place_is_refused(source):
    with pytest.raises(InvalidArgument, match="is the source and the target"):
        copy_index(source, str(source))


def test_an_empty_index_is_copied(tmp_path):
    EmbeddedEngine.create(str(tmp_path / "empty"), Manifest(MODEL, "float32", POINT)).close()
    copied = copy_index(tmp_path / "empty", tmp_path / "copy")
    assert len(copied) == 0
    copied.close()
