"""The engine contract on Milvus Lite, which runs in this process, and the traps of Milvus Lite."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from milvus_setup import FUNNEL, WIDE, MilvusSetup, decaying

from engine_contract import EngineContract
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus.documents import Rows
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.errors import DataError, IndexLocked, InvalidArgument
from nestvec.types import Document

WRITER = """
import sys
from milvus_setup import FUNNEL, WIDE, decaying
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.types import Document
engine = MilvusEngine.create(sys.argv[1], Manifest(WIDE, "float32", FUNNEL))
vectors = decaying(10_000, seed=3)
for start in range(0, 10_000, 20):
    ids = [f"d{row}" for row in range(start, start + 20)]
    engine.add({id_: Document(id_) for id_ in ids}, vectors[start : start + 20])
    print(start + 20, flush=True)
"""

CRASHING = """
import os, sys
from milvus_setup import FUNNEL, WIDE, decaying
from nestvec.engines.manifest import Manifest
from nestvec.engines.milvus import table
from nestvec.engines.milvus.documents import Rows
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.types import Document
table.REQUEST_BYTES = 10_000
engine, upsert = MilvusEngine.create(sys.argv[1], Manifest(WIDE, "float32", FUNNEL)), Rows.upsert
def ends_after_one_request(self, rows):
    upsert(self, rows)
    if self._name == engine._record.table:
        os._exit(9)
Rows.upsert = ends_after_one_request
engine.add({f"d{row}": Document(str(row)) for row in range(100)}, decaying(100, seed=3))
"""
LARGE = {f"d{row}": Document(str(row)) for row in range(100)}


def run_outside(program, url):
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    command = [sys.executable, "-c", program, url]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


class TestLite(EngineContract):
    @pytest.fixture
    def setup(self, tmp_path, request):
        return MilvusSetup(f"milvus-lite://{tmp_path}/lite.db", request.node.nodeid)


def test_a_killed_writer_loses_no_added_document(tmp_path):
    url = f"milvus-lite://{tmp_path}/lite.db"
    with run_outside(WRITER, url) as writer:
        for line in writer.stdout:
            added = int(line)
            if added >= 200:
                writer.kill()
                break
    engine = MilvusEngine.open(url, verify=True)
    ids, vectors = list(engine.ids()), decaying(10_000, seed=3)
    assert added <= len(ids) == len(engine) == len(set(ids)) <= added + 40
    assert {f"d{row}" for row in range(added)} <= {*ids}
    engine.add({"late": Document("late")}, vectors[[9_999]])  # repairs what the kill interrupted
    found = engine.search(vectors[:added], 1).ids
    assert found == [[f"d{row}"] for row in range(added)]
    engine.close()


def test_a_file_that_another_process_uses_is_refused(tmp_path):
    url = f"milvus-lite://{tmp_path}/lite.db"
    with run_outside(WRITER, url) as writer:
        writer.stdout.readline()
        with pytest.raises(IndexLocked, match="Milvus Lite allows one process"):
            MilvusEngine.open(url)
        writer.kill()


def test_an_index_of_milvus_lite_is_searched_exhaustively(tmp_path, monkeypatch):
    monkeypatch.setattr("nestvec.engines.milvus.table.LEAST_ROWS", 10)
    url = f"milvus-lite://{tmp_path}/lite.db"
    engine = MilvusEngine.create(url, Manifest(WIDE, "float32", FUNNEL))
    vectors = decaying(300, seed=4)
    vectors[7] = 0
    engine.add({f"d{row}": Document("") for row in range(300)}, vectors)
    engine.build_codes()
    assert engine.manifest.settings == {}  # Milvus Lite takes any index, and loses documents
    assert engine.search(vectors[:7], 1).ids == [[f"d{row}"] for row in range(7)]
    zero = engine.search(np.zeros((1, 64), np.float32), 5)
    assert zero.ids == [sorted((f"d{row}" for row in range(300)), reverse=True)[:5]]
    assert zero.scores == [[0.0] * 5]
    engine.close()


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The URL of an index, whose batches of 100 documents are several requests."""
    monkeypatch.setattr("nestvec.engines.milvus.table.REQUEST_BYTES", 10_000)
    return f"milvus-lite://{tmp_path}/lite.db"


def fail_at_request(number, monkeypatch):
    """Let one request of documents fail."""
    calls, upsert = [], Rows.upsert

    def fails_once(self, rows):
        if "document" in rows[0]:
            calls.append(len(rows))
            if len(calls) == number:
                raise DataError("milvus", "failed.")
        upsert(self, rows)

    monkeypatch.setattr(Rows, "upsert", fails_once)
    return calls


def test_a_batch_of_several_requests_is_added_completely_or_not_at_all(url, monkeypatch):
    engine = MilvusEngine.create(url, Manifest(WIDE, "float32", FUNNEL))
    vectors = decaying(100, seed=3)
    engine.add({"before": Document("")}, decaying(1, seed=5))
    calls = fail_at_request(3, monkeypatch)
    with pytest.raises(DataError, match="failed"):
        engine.add(LARGE, vectors)
    assert len(calls) == 3
    assert list(engine.ids()) == ["before"]
    assert engine.search(vectors, 1).ids == [["before"]] * 100
    engine.add(LARGE, vectors)
    assert engine.search(vectors, 1).ids == [[id_] for id_ in LARGE]
    with pytest.raises(InvalidArgument, match="'d0'"):
        engine.add(LARGE, vectors)
    assert engine._table._records.batches(engine._record.table) == []
    engine.close()


def test_a_batch_that_a_crash_interrupted_can_be_added_again(url):
    with run_outside(CRASHING, url) as writer:
        assert writer.wait(60) == 9
    engine, vectors = MilvusEngine.open(url), decaying(100, seed=3)
    found = {*engine.ids()}
    assert 0 < len(found) < 100
    engine.add({"other": Document("")}, decaying(1, seed=5))
    with pytest.raises(InvalidArgument, match="'other'"):
        engine.add({"d0": LARGE["d0"], "other": Document("")}, decaying(2, seed=5))
    engine.add(LARGE, vectors)
    assert len(engine) == 101
    assert engine.get(list(LARGE)) == LARGE
    assert engine.search(vectors, 1).ids == [[id_] for id_ in LARGE]
    with pytest.raises(InvalidArgument, match="'d0'"):
        engine.add(LARGE, vectors)
    assert engine._table._records.batches(engine._record.table) == []
    engine.close()


def test_an_interrupted_batch_can_be_added_in_smaller_batches(url):
    with run_outside(CRASHING, url) as writer:
        assert writer.wait(60) == 9
    engine, vectors = MilvusEngine.open(url), decaying(100, seed=3)
    for row, id_ in enumerate(LARGE):
        engine.add({id_: LARGE[id_]}, vectors[row : row + 1])
    assert engine.search(vectors, 1).ids == [[id_] for id_ in LARGE]
    with pytest.raises(InvalidArgument, match="'d7'"):
        engine.add({"d7": LARGE["d7"]}, vectors[7:8])
    assert engine._table._records.batches(engine._record.table) == []
    engine.close()
