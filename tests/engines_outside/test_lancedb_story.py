"""The commands of docs/existing_database.md on a LanceDB table in a real S3 server."""

import json
import subprocess
import sys

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import IvfPq
from s3_server import s3_server

from nestvec.files.object_storage import lance_options

N, DIM = 12_000, 64
RNG = np.random.default_rng(0)
CENTERS = RNG.standard_normal((300, DIM)) * (1 + np.arange(DIM)) ** -0.5


def vectors(n):
    own = RNG.standard_normal((n, DIM)) * (1 + np.arange(DIM)) ** -0.5
    return (CENTERS[RNG.integers(0, len(CENTERS), n)] + 0.6 * own).astype(np.float32)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with s3_server(tmp_path_factory.mktemp("s3"), "vectors") as url:
        yield url


@pytest.fixture
def table(bucket):
    """A table that another program wrote, with its own index."""
    values = vectors(N)
    stored = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIM)
    columns = {"key": [f"d{row}" for row in range(N)], "vec": stored}
    database = lancedb.connect(f"{bucket}/shop", storage_options=lance_options())
    created = database.create_table("docs", pa.table(columns))
    config = IvfPq(distance_type="cosine", num_partitions=32, num_sub_vectors=8)
    created.create_index("vec", config=config)
    return created


def test_the_story_on_object_storage(bucket, table, tmp_path):
    place = f"{bucket}/shop?table=docs&id=key&vector=vec"
    log = tmp_path / "log.jsonl"
    lines = (json.dumps({"vector": each.tolist()}) for each in vectors(60))
    log.write_text("".join(f"{line}\n" for line in lines))

    def run(*typed, code=0):
        command = [sys.executable, "-m", "nestvec.cli.main", *map(str, typed)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
        assert done.returncode == code, f"{typed}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    former = [index.name for index in table.list_indices()]
    before = json.loads(run("check", place, "--queries", log, "--json"))
    assert before["index"] == "vec_idx (IVF_PQ)"
    assert before["overlaps"][0]["mean"] < 0.95
    run("evaluate", place, "--sample", 4_000, "--precisions", "float32,float16", "--keeps", 100,
        "--out", "curve.json")  # fmt: skip
    assert json.loads((tmp_path / "curve.json").read_text())["dataset"]["sample"]["rows"] == 4_000
    point = "32:float16@200>64:float32"
    assert "vec_idx" in run("shrink", place, "--point", point, "--dry-run")
    run("shrink", place, "--point", point, "--min-overlap", ".9")
    after = json.loads(run("check", place, "--queries", log, "--min-overlap", ".95", "--json"))
    assert after["overlaps"][0]["mean"] > before["overlaps"][0]["mean"]
    assert after["point"] == point
    run("shrink", place, "--finish")
    table.checkout_latest()
    assert former[0] not in [index.name for index in table.list_indices()]
    run("shrink", place, "--undo")
    table.checkout_latest()
    assert [index.name for index in table.list_indices()] == former
    again = json.loads(run("check", place, "--queries", log, "--json"))
    assert again["index"] == before["index"]
    assert table.schema.names == ["key", "vec"]
