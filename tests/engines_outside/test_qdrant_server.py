"""The engine contract on a Qdrant server, whose answers come from qdrant-client's local mode."""

import numpy as np
import pytest
from qdrant_rest import serving
from qdrant_server_setup import ServerSetup, create

from engine_contract import EngineContract
from engine_setup import PLAIN, VECTORS
from nestvec.engines.filters.condition import Comparison
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument
from nestvec.types import Document, OperatingPoint


@pytest.fixture
def server():
    with serving() as running:
        yield running


class TestQdrantServer(EngineContract):
    @pytest.fixture
    def setup(self, server):
        return ServerSetup(server)


class TestValues:
    @pytest.mark.parametrize("point", [PLAIN, ServerSetup.staged], ids=str)
    def test_of_many_equal_documents_the_largest_ids_are_returned(self, server, point):
        index = create(server, point)
        index.build_codes()
        ids = [f"e{n:03}" for n in range(300)]
        index.add({id_: Document("") for id_ in ids}, np.repeat(VECTORS[[7]], 300, axis=0))
        index.add({"other": Document("")}, VECTORS[[8]])
        largest = 40 if len(point.stages) > 1 else 300
        for k in (1, 10, 39, 150):
            assert index.search(VECTORS[[7]], k).ids == [ids[::-1][: min(k, largest)]]
        index.close()

    def test_odd_values_are_returned_and_filtered(self, server):
        odd = {"big": 1e300, "int": 2**70, "nul": "a\0b", "yes": True, "one": 1, "half": "\ud800"}
        ids = ["", "a/b", "a\0b", "ü" * 300]
        corpus = {id_: Document("text\0\ud800", id_, odd) for id_ in ids}
        index = create(server, OperatingPoint.parse("32:float16"), stored="float16")
        index.add(corpus, VECTORS[:4])
        found = index.get(ids)
        assert found == corpus
        assert repr(found[""].metadata) == repr(odd)
        for text in ("big >= 1e300", f"int > {2**70 - 1}", f"int = {2**70}", "yes = 1"):
            (hits,) = index.search(VECTORS[:1], 9, where=Where.parse(text)).ids
            assert sorted(hits) == sorted(ids), text
        assert index.search(VECTORS[:1], 9, where=Where.parse(f"int > {2**70}")).ids == [[]]
        index.verify()
        index.close()

    def test_numbers_and_texts_are_compared_exactly(self, server):
        numbers = [2**70, 2**70 - 1, 0.1, 5e-324, -1e300, float(2**53 - 1), -(2**63), 0]
        rng = np.random.default_rng(0)
        numbers += [float(number) for number in rng.standard_normal(60) * 10.0**20]
        days = [f"2026-01-01T00:00:00.{n:06}" for n in range(len(numbers))]
        corpus = {
            f"d{n}": Document("", metadata={"v": number, "day": day})
            for n, (number, day) in enumerate(zip(numbers, days, strict=True))
        }
        index = create(server)
        index.add(corpus, np.resize(VECTORS, (len(corpus), 32)))
        for row in range(0, len(numbers), 7):
            above = sum(number > numbers[row] for number in numbers)
            for operator, expected in ((">", above), (">=", above + 1)):
                where = Comparison("v", operator, numbers[row])
                (ids,) = index.search(VECTORS[:1], 200, where=where).ids
                assert len(ids) == expected
            (ids,) = index.search(VECTORS[:1], 200, where=Comparison("day", "<", days[row])).ids
            assert len(ids) == row
        index.close()

    def test_an_id_that_qdrant_cannot_store_is_refused(self, server):
        index = create(server)
        with pytest.raises(InvalidArgument, match="surrogate"):
            index.add({"\ud800": Document("")}, VECTORS[:1])
        assert "\ud800" not in index
        index.close()
