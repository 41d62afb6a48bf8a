"""The engine contract on Qdrant Edge, and the behavior of its folders, its index and its locks."""

import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from engine_contract import EngineContract
from engine_setup import CORPUS, MODEL, PLAIN, QUERIES, VECTORS
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored
from nestvec.engines.filters.condition import Comparison
from nestvec.engines.filters.where import Where
from nestvec.engines.flat.representations import Representations
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant import indexing, table
from nestvec.engines.qdrant.columns import NamedVectors
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.engines.qdrant.indexing import HNSW_EF
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.types import Document, ModelInfo, OperatingPoint


class QdrantSetup:
    """The setup of Qdrant Edge, whose scores are those of the codecs that fit nothing."""

    name = "qdrant-edge"
    staged = OperatingPoint.parse("16:float16@40>32:float32")

    def create(self, place, model, point):
        engine = QdrantEdgeEngine.create(
            f"qdrant-edge://{place}", Manifest(model, "float32", point)
        )
        engine.build_codes()  # the vectors that the point searches
        return engine

    def open(self, place):
        return QdrantEdgeEngine.open(f"qdrant-edge://{place}", verify=True)

    def settle(self, engine):
        engine.build_codes()

    def scores(self, queries, corpus, stage):
        stored = as_stored(corpus)
        codec = Codec.fit_stored(stored, stage.dim, stage.precision)
        return codec.prepare(queries) @ codec.decode_stored(stored).T


class TestQdrantEdge(EngineContract):
    @pytest.fixture
    def setup(self):
        return QdrantSetup()


N, DIM = 20_000, 64
HALF = OperatingPoint.parse("32:float16")
POINT = OperatingPoint.parse("16:float16@100>64:float32")
WIDE = ModelInfo("models/wide", "a" * 64, DIM, (DIM, 16), "config.json", True)
TENTH, HUNDREDTH = Where.parse("n has 3"), Where.parse("tag = 't7'")


def create(folder, point=PLAIN, model=MODEL, stored="float32"):
    return QdrantEdgeEngine.create(f"qdrant-edge://{folder}", Manifest(model, stored, point))


def reopen(index, query=""):
    index.close()
    return QdrantEdgeEngine.open(index.place.partition("?")[0] + query)


def numbered(numbers):
    return {
        f"d{n}": Document(f"text {n}", metadata={"n": [n % 10, "x"], "tag": f"t{n % 100}"})
        for n in numbers
    }


def wide_vectors(n, seed):
    """Return vectors around 200 centers, whose first dims have the largest variance."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).standard_normal((200, DIM))
    near = centers[rng.integers(200, size=n)] + 0.6 * rng.standard_normal((n, DIM))
    return (near * (1 + np.arange(DIM)) ** -0.5).astype(np.float32)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An index with a graph, opened again after it was built."""
    index = create(tmp_path_factory.mktemp("large") / "index", POINT, WIDE)
    vectors = wide_vectors(N, seed=1)
    for start in range(0, N, 4_000):
        numbers = range(start, start + 4_000)
        index.add(numbered(numbers), vectors[start : start + 4_000])
    index.build_codes()
    index = reopen(index)
    yield index
    index.close()


def overlap(found, expected):
    pairs = zip(found.ids, expected.ids, strict=True)
    return np.mean([len({*one} & {*two}) / len(two) for one, two in pairs])


class TestGraph:
    queries = wide_vectors(50, seed=2)

    def exhaustive(self, index, k=10, where=None):
        settings, index._table.manifest = index.manifest, replace(index.manifest, settings={})
        try:
            return index.search(self.queries, k, where=where)
        finally:
            index._table.manifest = settings

    def test_the_width_of_the_search_is_fitted(self, large):
        settings = large.manifest.settings
        assert (settings["index"], settings["first_stage"]) == ("hnsw", "16:float16")
        assert settings["hnsw_ef"] in HNSW_EF
        assert settings["overlap@10"] >= 0.99
        found = large.search(self.queries, 10)
        assert overlap(found, self.exhaustive(large)) >= 0.97
        assert large.stats().settings == settings

    def test_a_narrow_search_finds_less_so_that_the_graph_is_in_use(self, large, monkeypatch):
        narrow = {**large.manifest.settings, "hnsw_ef": 1}
        point = OperatingPoint.parse("16:float16")
        large._table.manifest = replace(large.manifest, settings=narrow)
        monkeypatch.setattr(indexing, "candidates", lambda k: 1)
        found = large.search(self.queries, 10, point=point)
        large._table.manifest = replace(large.manifest, settings={})
        expected = large.search(self.queries, 10, point=point)
        large._table.manifest = large.manifest
        assert overlap(found, expected) < 1

    @pytest.mark.parametrize("where", [TENTH, HUNDREDTH], ids=["10 %", "1 %"])
    @pytest.mark.parametrize("most", [0, table.FILTERED_EXHAUSTIVE], ids=["graph", "exhaustive"])
    def test_a_filtered_search_returns_k(self, large, monkeypatch, where, most):
        monkeypatch.setattr(table, "FILTERED_EXHAUSTIVE", most)
        found = large.search(self.queries, 60, where=where)
        assert {len(ids) for ids in found.ids} == {60}
        assert overlap(found, self.exhaustive(large, 60, where)) >= (0.9 if most == 0 else 1)

    def test_documents_that_the_graph_lacks_are_found(self, large):
        vectors = wide_vectors(3, seed=3)
        large.add({f"new{n}": Document("new") for n in range(3)}, vectors)
        assert [ids for (ids,) in large.search(vectors, 1).ids] == ["new0", "new1", "new2"]
        large.compact()
        assert [ids for (ids,) in large.search(vectors, 1).ids] == ["new0", "new1", "new2"]
        assert large.delete(["new0", "new1", "new2"]) == 3
        assert len(large) == N

    def test_an_exact_search_does_not_use_the_graph(self, large):
        unit = as_stored(wide_vectors(N, seed=1))
        scores = as_stored(self.queries) @ unit.T
        hits = large.search(self.queries, 10, exact=True)
        for query, ids in enumerate(hits.ids):
            best = np.argsort(-scores[query])[:10]
            assert ids == [f"d{row}" for row in best]

    def test_a_quantized_graph_keeps_the_overlap(self, large):
        before = self.exhaustive(large)
        index = QdrantEdgeEngine.open(f"{large.place}?quantization=turbo4")
        index.build_codes()
        settings = index.manifest.settings
        assert (settings["quantization"], settings["oversampling"]) == ("turbo4", 4.0)
        assert settings["overlap@10"] >= 0.99
        assert self.exhaustive(index) == before  # an exhaustive search is not quantized
        assert overlap(index.search(self.queries, 10), before) >= 0.97
        index.close()


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


class TestProcesses:
    def test_a_second_process_is_refused_in_one_line(self, tmp_path):
        index = create(tmp_path / "index")
        code = (
            "from nestvec.engines.qdrant.engine import QdrantEdgeEngine as E\n"
            f"place = {index.place!r}\n"
            "print(E.exists(place), E.read_manifest(place).point)\n"
            "try:\n    E.open(place)\nexcept Exception as error:\n"
            "    print(type(error).__name__, error)\n"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        first, second = done.stdout.splitlines()
        assert first == "True 32:float32"
        assert second.startswith("IndexLocked") and str(os.getpid()) in second
        index.close()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines() == ["True 32:float32"], done.stderr

    def test_an_index_that_another_process_serves_is_not_rebuilt(self, tmp_path):
        index = create(tmp_path / "index")
        place = index.place
        index.close()
        code = (
            "from nestvec.engines.qdrant.engine import QdrantEdgeEngine as E\n"
            f"E.open({place!r})\nprint('open', flush=True)\ninput()\n"
        )
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code], **pipes) as server:
            assert server.stdout.readline() == b"open\n"
            manifest = Manifest(MODEL, "float32", PLAIN)
            with (
                pytest.raises(IndexLocked, match=str(server.pid)),
                QdrantEdgeEngine.building(place, manifest, source={}) as index,
            ):
                pass
            server.kill()
        with QdrantEdgeEngine.building(place, manifest, source={}) as index:
            index.add({"new": Document("")}, VECTORS[:1])
        index = QdrantEdgeEngine.open(place)
        assert list(index.ids()) == ["new"]
        index.close()

    def test_engine_objects_of_one_process_share_the_index(self, tmp_path):
        one = create(tmp_path / "index")
        two = QdrantEdgeEngine.open(one.place)
        one.add({"a": Document("a")}, VECTORS[:1])
        assert list(two.ids()) == ["a"]
        one.close()
        two.add({"b": Document("b")}, VECTORS[1:2])
        assert sorted(two.ids()) == ["a", "b"]
        two.close()
        with pytest.raises(DataError, match="is closed"):
            len(two)

    def test_threads_search_while_another_adds(self, tmp_path):
        index = create(tmp_path / "index", QdrantSetup.staged)
        index.build_codes()
        index.add({id_: CORPUS[id_] for id_ in list(CORPUS)[:100]}, VECTORS[:100])
        with ThreadPoolExecutor(4) as pool:
            searches = [pool.submit(index.search, QUERIES, 10) for _ in range(100)]
            for number in range(100, 140):
                index.add({f"d{number}": CORPUS[f"d{number}"]}, VECTORS[[number]])
            assert all(len(ids) == 10 for each in searches for ids in each.result().ids)
        assert len(index) == 140
        index.close()

    def test_a_killed_writer_loses_no_batch_that_it_confirmed(self, tmp_path):
        place = create(tmp_path / "index", QdrantSetup.staged).place
        opened = QdrantEdgeEngine.open(place)
        opened.build_codes()
        for _ in range(2):  # the two objects of this process
            opened._table._shard.close()
        for kill in range(3):
            with subprocess.Popen(
                [sys.executable, "-c", WRITER.format(place=place, first=kill * 100_000)],
                stdout=subprocess.PIPE,
                text=True,
            ) as writer:
                confirmed = [int(writer.stdout.readline()) for _ in range(5 + 3 * kill)]
                writer.kill()
                confirmed += [int(line) for line in writer.stdout if line.endswith("\n")]
            index = QdrantEdgeEngine.open(place, verify=True)
            ids = {id_ for id_ in index.ids() if int(id_) >= kill * 100_000}
            batches = {int(id_) // 10 for id_ in ids}
            assert {number // 10 for number in confirmed} <= batches
            assert len(batches) <= len(confirmed) + 1
            assert len(ids) == 10 * len(batches)  # no batch is added in part
            assert len(index.search(QUERIES, 30).ids[0]) == 30
            index.close()

    def test_a_kill_while_the_graph_is_built_loses_nothing(self, tmp_path):
        index = create(tmp_path / "index", POINT, WIDE)
        index.add(numbered(range(4_000)), wide_vectors(4_000, seed=1))
        index.close()
        for wait in (0.0, 0.3, 0.6, 0.9):
            command = [sys.executable, "-c", BUILDER.format(place=index.place)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as builder:
                assert builder.stdout.readline() == b"open\n"
                time.sleep(wait)
                builder.kill()
            again = QdrantEdgeEngine.open(index.place, verify=True)
            assert len(again) == len(set(again.ids())) == 4_000
            again.close()
        again = QdrantEdgeEngine.open(index.place)
        again.build_codes()
        queries = wide_vectors(20, seed=2)
        found, expected = again.search(queries, 10), again.search(queries, 10, exact=True)
        assert overlap(found, expected) > 0.5
        again.close()


BUILDER = """
from nestvec.engines.qdrant import indexing
from nestvec.engines.qdrant.engine import QdrantEdgeEngine

indexing.LEAST_ROWS = 1_000
index = QdrantEdgeEngine.open({place!r})
print("open", flush=True)
index.build_codes()
"""

WRITER = """
import numpy as np
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.types import Document

index = QdrantEdgeEngine.open({place!r})
rng = np.random.default_rng(0)
for first in range({first}, {first} + 100_000, 10):
    batch = {{str(number): Document("text") for number in range(first, first + 10)}}
    index.add(batch, rng.standard_normal((10, 32)))
    print(first, flush=True)
"""
