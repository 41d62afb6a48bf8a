"""A table of a user in LanceDB for the tests of ``nestvec shrink``, and what NumPy finds in it."""

import json
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfFlat

from nestvec.engines.lancedb import indexes
from nestvec.operate.shrink.lancedb import comparing, searching
from nestvec.operate.shrink.lancedb import indexes as shrink_indexes
from nestvec.operate.shrink.request import ShrinkRequest
from nestvec.types import OperatingPoint

WRITER = Path(__file__).with_name("lance_shrink_writer.py")
DIM = 64
POINT = "16:float16@100>64:float32"
CENTERS = np.random.default_rng(0).standard_normal((500, DIM))


def vectors(n, seed=0):
    """Clustered vectors [n, DIM] with less variance in later dims, not normalized."""
    rng = np.random.default_rng(seed)
    near = CENTERS[rng.integers(0, len(CENTERS), n)] + 0.7 * rng.standard_normal((n, DIM))
    scale = (1 + np.arange(DIM)) ** -0.55 * rng.uniform(1, 5, (n, 1))
    return (near * scale).astype(np.float32)


def rows(keys, values, vector="vec"):
    """Return rows of the user, without the column of prefixes."""
    keys = list(keys)
    item = pa.float16() if values.dtype == np.float16 else pa.float32()
    flat = pa.array(np.ascontiguousarray(values).ravel(), item)
    langs = ["de" if int(key) % 10 == 0 else "en" for key in keys]
    columns = {"key": pa.array(keys, pa.int64()), "lang": langs}
    return pa.table({**columns, vector: pa.FixedSizeListArray.from_arrays(flat, DIM)})


def use_small_tables(patch):
    """Let small tables have an index, too, and compare them by a few queries."""
    for module in (indexes, shrink_indexes, searching):
        patch.setattr(module, "LEAST_ROWS", 1_000)
    patch.setattr(comparing, "sampled_queries", lambda _: 20)


def connect(folder, options=None):
    """Connect so that tables show the commits of others."""
    every = timedelta(0)
    return lancedb.connect(str(folder), read_consistency_interval=every, storage_options=options)


@contextmanager
def writing(folder, seed=1):
    """Run a process that writes and searches the table; yield its report, filled at the end."""
    command = [sys.executable, str(WRITER), str(folder), str(seed)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            report = {}
            yield report
            out, _ = process.communicate("", timeout=60)
            report |= json.loads(out)
        finally:
            process.kill()


def check_rows(table, reports, n):
    """Check that a table has its first rows and exactly the rows that writers report."""
    numbers = {int(key): number for each in reports for key, number in each["rows"].items()}
    found = table.search().select(["key", "vec"]).limit(10**6).to_arrow()
    keys = found["key"].to_pylist()
    assert sorted(keys) == [*range(n), *sorted(numbers)]
    stored = found["vec"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
    for key, values in zip(keys, stored, strict=True):
        if key in numbers:
            np.testing.assert_array_equal(values, vectors(1, seed=numbers[key])[0])


def create_table(folder, n=3_000, *, config=None, index=True, values=None, vector="vec"):
    """Create the table ``docs`` with an index, and return the table and its vectors."""
    values = vectors(n) if values is None else values
    table = connect(folder).create_table("docs", rows(range(n), values, vector))
    if index:
        config = config or IvfFlat(distance_type="cosine", num_partitions=16)
        table.create_index(vector, config=config)
    return table, values


def url(folder, vector="vec"):
    return f"lance://{folder}?table=docs&id=key&vector={vector}"


def request(point=POINT, **options):
    return ShrinkRequest(OperatingPoint.parse(point), **options)


def unit(values):
    values = values.astype(np.float64)
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def expected(values, query, k=10, *, dim=16, keep=100, allowed=None):
    """Return the ids of a search in two stages by cosine, among some rows."""
    allowed = np.arange(len(values)) if allowed is None else np.asarray(allowed)
    codes = unit(values[allowed, :dim]).astype(np.float16).astype(np.float64)
    first = allowed[np.argsort(-(codes @ unit(query[:dim])), kind="stable")[:keep]]
    last = unit(values[first]) @ unit(query)
    return [str(row) for row in first[np.argsort(-last, kind="stable")[:k]]]


def exact(values, query, k=10):
    """Return the ids of an exact search by cosine."""
    return [str(row) for row in np.argsort(-(unit(values) @ unit(query)), kind="stable")[:k]]


def contents(table):
    """Return all rows of a table without the column of prefixes, sorted by key."""
    found = table.search().select(["key", "lang", "vec"]).to_arrow()
    return found.sort_by("key").to_pydict()


def state(table):
    """Return what an undo must restore: columns with metadata, and indexes with parameters."""
    fields = [(each.name, str(each.type), each.metadata or {}) for each in table.schema]
    indexes = []
    for each in table.list_indices():
        details = each.index_details
        indexes.append((each.name, tuple(each.columns), each.index_type, details))
    return fields, indexes


def check_prefixes(table, column="vec_16_float16", dim=16):
    """Check that each row with a vector has the prefix of its vector."""
    found = table.search().select(["vec", column]).limit(10**6).to_arrow()
    assert found[column].null_count == 0
    stored = found["vec"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)
    codes = found[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    np.testing.assert_allclose(codes.reshape(-1, dim), unit(stored[:, :dim]), atol=1e-3)
