"""The engine contract on Qdrant Edge, equal scores and zero vectors."""

import numpy as np
import pytest
from qdrant_setup import (
    QdrantSetup,
    create,
)

from engine_contract import EngineContract
from engine_setup import PLAIN, VECTORS
from nestvec.types import Document, OperatingPoint


class TestQdrantEdge(EngineContract):
    @pytest.fixture
    def setup(self):
        return QdrantSetup()


class TestTies:
    @pytest.mark.parametrize("point", [PLAIN, QdrantSetup.staged, "16:float16"], ids=str)
    def test_of_many_equal_documents_the_largest_ids_are_returned(self, tmp_path, point):
        point = OperatingPoint.parse(str(point))
        index = create(tmp_path / "index", point)
        index.build_codes()
        ids = [f"e{n:03}" for n in range(300)]
        index.add({id_: Document("") for id_ in ids}, np.repeat(VECTORS[[7]], 300, axis=0))
        index.add({"other": Document("")}, VECTORS[[8]])
        largest = 40 if len(point.stages) > 1 else 300
        for k in (1, 2, 10, 39, 150):
            assert index.search(VECTORS[[7]], k).ids == [ids[::-1][: min(k, largest)]]
        index.close()

    def test_zero_vectors_score_0(self, tmp_path):
        index = create(tmp_path / "index", QdrantSetup.staged)
        index.build_codes()
        prefix_is_zero = np.zeros(32, np.float32)
        prefix_is_zero[20] = 1
        vectors = np.stack([VECTORS[1], -VECTORS[1], np.zeros(32, np.float32), prefix_is_zero])
        index.add({id_: Document("") for id_ in ("near", "far", "zero", "late")}, vectors)
        hits = index.search(VECTORS[[1]], 4)
        assert (hits.ids[0][0], hits.ids[0][-1]) == ("near", "far")
        assert hits.scores[0][hits.ids[0].index("zero")] == 0
        assert index.search(np.zeros((1, 32)), 4).ids == [["zero", "near", "late", "far"]]
        index.close()
