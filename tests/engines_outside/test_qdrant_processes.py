"""Qdrant Edge with several threads and processes, and processes that are killed."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from qdrant_setup import (
    POINT,
    WIDE,
    QdrantSetup,
    create,
    numbered,
    overlap,
    wide_vectors,
)

from engine_setup import CORPUS, MODEL, PLAIN, QUERIES, VECTORS
from nestvec.engines.manifest import Manifest
from nestvec.engines.qdrant.engine import QdrantEdgeEngine
from nestvec.errors import DataError, IndexLocked
from nestvec.types import Document


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
                raise AssertionError("documents would be encoded now")
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
            opened._table._points.close()
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
