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
from nestvec.engines.milvus.engine import MilvusEngine
from nestvec.errors import IndexLocked
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


def start_writer(url):
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    command = [sys.executable, "-c", WRITER, url]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


class TestLite(EngineContract):
    @pytest.fixture
    def setup(self, tmp_path, request):
        return MilvusSetup(f"milvus-lite://{tmp_path}/lite.db", request.node.nodeid)


def test_a_killed_writer_loses_no_added_document(tmp_path):
    url = f"milvus-lite://{tmp_path}/lite.db"
    with start_writer(url) as writer:
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
    with start_writer(url) as writer:
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
