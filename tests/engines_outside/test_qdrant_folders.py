"""The folders of Qdrant Edge: odd values, restarts, builds, other folders, space."""

import uuid

import numpy as np
import pytest
from qdrant_setup import (
    HALF,
    QdrantSetup,
    create,
    reopen,
)

from engine_setup import CORPUS, MODEL, PLAIN, QUERIES, VECTORS
from nestvec.engines.filters.condition import Comparison
from nestvec.engines.filters.where import Where
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant import table
from nestvec.engines.qdrant.columns import NamedVectors
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.errors import DataError, InvalidArgument
from nestvec.types import Document, OperatingPoint


class TestFolders:
    def test_an_index_survives_a_restart_with_odd_values(self, tmp_path):
        odd = {"big": 1e300, "int": 2**70, "nul": "a\0b", "yes": True, "one": 1, "half": "\ud800"}
        ids = ["", "a/b", "a\0b", "ü" * 300]
        corpus = {id_: Document("text\0\ud800", id_, odd) for id_ in ids}
        index = create(tmp_path / "a b" / "index", stored="float16", point=HALF)
        index.add(corpus, VECTORS[:4])
        index = reopen(index)
        found = index.get(ids)
        assert found == corpus
        assert repr(found[""].metadata) == repr(odd)
        for text in ("big >= 1e300", f"int > {2**70 - 1}", f"int = {2**70}", "yes = 1"):
            (hits,) = index.search(VECTORS[:1], 9, where=Where.parse(text)).ids
            assert sorted(hits) == sorted(ids), text
        assert index.search(VECTORS[:1], 9, where=Where.parse(f"int > {2**70}")).ids == [[]]
        index.verify()
        index.close()

    def test_numbers_are_compared_exactly_after_a_restart(self, tmp_path):
        index = create(tmp_path / "index")
        rng = np.random.default_rng(0)
        numbers = [2**70, 2**70 - 1, 0.1, 5e-324, -1e300, float(2**53 - 1), -(2**63), 0]
        numbers += [float(number) for number in rng.standard_normal(100) * 10.0**20]
        days = [f"2026-01-01T00:00:00.{n:06}" for n in range(len(numbers))]
        corpus = {
            f"d{n}": Document("", metadata={"v": number, "day": day})
            for n, (number, day) in enumerate(zip(numbers, days, strict=True))
        }
        index.add(corpus, np.resize(VECTORS, (len(corpus), 32)))
        index = reopen(index)
        for row in range(0, len(numbers), 7):
            above = sum(number > numbers[row] for number in numbers)
            for operator, expected in ((">", above), (">=", above + 1)):
                where = Comparison("v", operator, numbers[row])
                (ids,) = index.search(VECTORS[:1], 200, where=where).ids
                assert len(ids) == expected
            (ids,) = index.search(VECTORS[:1], 200, where=Comparison("day", "<", days[row])).ids
            assert len(ids) == row
        index.close()

    def test_an_id_that_qdrant_cannot_store_is_refused(self, tmp_path):
        index = create(tmp_path / "index")
        with pytest.raises(InvalidArgument, match="surrogate"):
            index.add({"\ud800": Document("")}, VECTORS[:1])
        assert "\ud800" not in index
        index.close()

    def test_two_ids_of_one_uuid_are_detected(self, tmp_path, monkeypatch):
        index = create(tmp_path / "index")
        monkeypatch.setattr(table, "point_id", lambda id_: str(uuid.UUID(int=0)))
        with pytest.raises(DataError, match="two ids of the batch have one UUID"):
            index.add({"a": Document(""), "b": Document("")}, VECTORS[:2])
        index.add({"a": Document("")}, VECTORS[:1])
        with pytest.raises(DataError, match="ids 'b' and 'a' have one UUID"):
            index.add({"b": Document("")}, VECTORS[:1], replace=True)
        assert list(index.ids()) == ["a"]
        index.close()

    def test_a_long_string_is_refused_only_in_comparisons_by_order(self, tmp_path):
        index = create(tmp_path / "index")
        texts = {"a": "x" * 94, "b": "x" * 95, "c": "x" * 96, "d": "x" * 500}
        corpus = {id_: Document("", metadata={"t": text}) for id_, text in texts.items()}
        index.add(corpus, VECTORS[:4])

        def found(text):
            return sorted(index.search(VECTORS[:1], 9, where=Where.parse(text)).ids[0])

        assert found(f"t > '{'x' * 95}'") == ["c", "d"]
        assert found(f"t <= '{'x' * 95}'") == ["a", "b"]
        assert found(f"t = '{'x' * 500}'") == ["d"]
        with pytest.raises(InvalidArgument, match="Use a string of at most 95 bytes"):
            found(f"t > '{'x' * 96}'")
        index.close()

    def test_compacting_frees_the_space_of_deleted_documents(self, tmp_path):
        index = create(tmp_path / "index")
        corpus = {f"d{n}": Document("text " * 500) for n in range(4_000)}
        index.add(corpus, np.resize(VECTORS, (4_000, 32)))
        index.delete([f"d{n}" for n in range(3_900)])
        before = index.stats().text_bytes
        compacted = index.compact()
        assert compacted.bytes_after < compacted.bytes_before
        assert index.stats().text_bytes < 0.5 * before  # the log of changes remains
        assert len(index) == 100
        index.verify()
        index.close()

    def test_a_point_without_vectors_is_refused_until_it_is_prepared(self, tmp_path):
        index = create(tmp_path / "index")
        index.add(CORPUS, VECTORS)
        point = OperatingPoint.parse("8:float16@50>32:float32")
        with pytest.raises(InvalidArgument, match=r"nestvec index use qdrant-edge://.* '8:float16"):
            index.search(QUERIES, 3, point=point)
        index.use(point)
        assert index.search(QUERIES, 3, point=point) == index.search(QUERIES, 3)
        index = reopen(index)
        assert index.search(QUERIES, 3, point=point).ids[0]
        index.use(PLAIN)
        with pytest.raises(InvalidArgument, match="has no vectors of this point"):
            index.search(QUERIES, 3, point=point)
        index.close()

    def test_vectors_that_an_interrupt_left_incomplete_are_completed(self, tmp_path, monkeypatch):
        index = create(tmp_path / "index")
        index.add(CORPUS, VECTORS)
        point = OperatingPoint.parse("8:float16@50>32:float32")

        def interrupt(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(NamedVectors, "_fill", interrupt)
            with pytest.raises(KeyboardInterrupt):
                index.use(point)
        index.add({"late": Document("")}, VECTORS[[5]])
        index = reopen(index)
        with pytest.raises(InvalidArgument, match="has no vectors of this point"):
            index.search(QUERIES, 3, point=point)
        index.use(point)
        assert len(index.search(QUERIES, 50).ids[0]) == 50
        index.close()

    def test_a_build_is_continued_and_replaces_the_index(self, tmp_path):
        place, manifest = f"qdrant-edge://{tmp_path / 'index'}", Manifest(MODEL, "float32", PLAIN)
        source = {"corpus": "one"}
        first, rest = dict(list(CORPUS.items())[:50]), dict(list(CORPUS.items())[50:])
        with (
            pytest.raises(KeyboardInterrupt),
            QdrantEdgeEngine.building(place, manifest, source=source) as index,
        ):
            index.add(first, VECTORS[:50], build_codes=False)
            raise KeyboardInterrupt
        assert not QdrantEdgeEngine.exists(place)
        assert QdrantEdgeEngine.count_unfinished(place) == 50
        with QdrantEdgeEngine.building(place, manifest, source=source) as index:
            assert len(index) == 50
            index.add(rest, VECTORS[50:], build_codes=False)
        assert QdrantEdgeEngine.count_unfinished(place) == 0
        with QdrantEdgeEngine.building(place, manifest, source={"corpus": "two"}) as index:
            assert len(index) == 0
            index.add(first, VECTORS[:50])
        assert [path.name for path in tmp_path.iterdir()] == ["index"]
        assert QdrantEdgeEngine.read_manifest(place).point == PLAIN
        index = QdrantEdgeEngine.open(place, verify=True)
        assert len(index) == 50
        assert index.stats().disk_bytes > 50 * 32 * 4
        index.close()

    def test_another_folder_is_not_replaced(self, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
        place, manifest = f"qdrant-edge://{tmp_path / 'photos'}", Manifest(MODEL, "float32", PLAIN)
        with pytest.raises(DataError, match=r"has no nestvec\.json, so it is not replaced"):
            QdrantEdgeEngine.create(place, manifest)
        with (
            pytest.raises(DataError, match="is not replaced"),
            QdrantEdgeEngine.building(place, manifest, source={}),
        ):
            pass
        assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("qdrant-edge://", "names no folder"),
            ("qdrant-edge://notes#1", "names no folder"),
            ("qdrant-edge://x?quantization=int3", "quantization='int3' is unknown"),
            ("qdrant-edge://x?table=y", "the parameter 'table' of the URL is unknown"),
        ],
    )
    def test_an_invalid_url_is_refused(self, url, problem):
        with pytest.raises(InvalidArgument, match=problem):
            QdrantEdgeEngine.exists(url)

    def test_a_trial_leaves_no_folder(self, tmp_path):
        corpus = Representations(VECTORS, layer_norm=False)
        place = f"qdrant-edge://{tmp_path / 'trial'}"
        trial = QdrantEdgeEngine.trial(corpus, list(CORPUS), CORPUS, place=place)
        for point in (PLAIN, QdrantSetup.staged):
            assert len(trial.searcher(point)(QUERIES, 5).ids[0]) == 5
        trial.close()
        assert list(tmp_path.iterdir()) == []
