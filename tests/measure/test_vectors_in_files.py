"""Precomputed vectors are measured from their file, without a copy in memory."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fakes import NestedHashEncoder, made_set
from nestvec.codec.rows import EmbeddingRows
from nestvec.measure.grid import BASELINES, Grid
from nestvec.measure.run import evaluate
from nestvec.models import encoding
from nestvec.models.precomputed import PrecomputedVectors
from nestvec.sources.ids import write_ids

GRID = Grid(precisions=("float32", "int8"), shortlisted=("binary",), keeps=(40,))
_BOUNDED = """
import re, threading, time
from pathlib import Path
import numpy as np
import nestvec as nv
from nestvec.data.retrieval import RetrievalSet

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

folder = Path({folder!r})
ids = (folder / "corpus.ids.txt").read_text().split()
document = nv.Document("")
corpus = dict.fromkeys(ids, document)
data = RetrievalSet("made", "test", corpus, {{"q": "q"}}, {{}}, {{}}, "agreement")
vectors = nv.load_model(folder)
grid = nv.Grid(
    dims=(64,), precisions=("int8", "binary"), shortlisted=("binary",), keeps=(100,)
)
before, peak = anonymous(), [0]

def watch():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.01)

threading.Thread(target=watch, daemon=True).start()
nv.evaluate(vectors, data, grid)
print(peak[0] - before)
"""


@pytest.fixture
def folder(tmp_path):
    data = made_set(500, 30)
    model = NestedHashEncoder()
    for stem, kind, texts in (
        ("corpus", "document", {id_: each.content for id_, each in data.corpus.items()}),
        ("queries", "query", data.queries),
    ):
        vectors = model.encode(list(texts.values()), kind=kind).astype(np.float16)
        np.save(tmp_path / f"{stem}.npy", vectors)
        write_ids(tmp_path / f"{stem}.ids.txt", texts)
    return data, tmp_path


def test_rows_are_read_in_the_given_order_as_float32(tmp_path):
    values = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float16)
    np.save(tmp_path / "values.npy", values)
    rows = EmbeddingRows(np.load(tmp_path / "values.npy", mmap_mode="r"), np.array([4, 0, 8]))
    assert (len(rows), rows.shape) == (3, (3, 4))
    assert rows[1:].dtype == np.float32
    np.testing.assert_array_equal(rows[1:], values[[0, 8]].astype(np.float32))
    np.testing.assert_array_equal(rows[np.array([2, 2])], values[[8, 8]].astype(np.float32))


def test_curves_of_vectors_in_a_file_equal_those_of_a_copy(folder, monkeypatch):
    data, path = folder
    grid = replace(GRID, baselines=tuple(name for name in BASELINES if name != "bm25"))
    copied = evaluate(PrecomputedVectors.load(path), data, grid)
    monkeypatch.setattr(encoding, "COPIED_BYTES", 0)
    mapped = evaluate(PrecomputedVectors.load(path), data, grid)
    for row, expected in zip(mapped.points, copied.points, strict=True):
        assert row.metrics == expected.metrics
    assert mapped.baselines == copied.baselines


@pytest.mark.slow
def test_a_large_corpus_is_not_copied_to_memory(tmp_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("this system does not report anonymous memory")
    n, rng = 300_000, np.random.default_rng(0)
    corpus = np.lib.format.open_memmap(
        tmp_path / "corpus.npy", mode="w+", dtype=np.float16, shape=(n, 256)
    )
    for start in range(0, n, 50_000):
        corpus[start : start + 50_000] = rng.standard_normal((50_000, 256), dtype=np.float32)
    write_ids(tmp_path / "corpus.ids.txt", (f"{row:07}" for row in rng.permutation(n).tolist()))
    np.save(tmp_path / "queries.npy", corpus[:1])
    write_ids(tmp_path / "queries.ids.txt", ["q"])
    program = _BOUNDED.format(folder=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    # The reference at 256:float32 is always measured: its codes are stored and scanned.
    codes, scanned, of_id = 256 * 4 + 64 + 8, 256 * 4, 300
    limit = n * (codes + scanned + of_id) + 150 * 2**20
    assert int(ended.stdout) < limit  # a copy of the vectors as float32 adds 307 MB
