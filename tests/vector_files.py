"""Vectors that tests write with other libraries, and what is checked after reading them."""

import json

import numpy as np
import pytest

import nestvec as nv
from nestvec.errors import DataError

N, DIM = 40, 8
IDS = [f"d{row}" for row in range(N)]
VECTORS = np.random.default_rng(3).standard_normal((N, DIM)).astype(np.float32)
ROWS = VECTORS.tolist()
HALF = VECTORS.astype(np.float16)


def same(loaded, values=VECTORS, ids=IDS):
    assert list(loaded.ids) == ids
    assert loaded.values.dtype in (np.float16, np.float32)
    np.testing.assert_array_equal(loaded.values, values)


def numbered(loaded, caplog, values=VECTORS):
    same(loaded, values, [str(row) for row in range(len(values))])
    assert [text for text in caplog.messages if "row numbers" in text] == [
        f"{loaded.path}: no ids are read; the ids are row numbers, 0 to {len(values) - 1}"
    ]


def fails(path, message, **options):
    with pytest.raises(DataError, match=message) as raised:
        nv.load_embeddings(path, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def write_lines(path, ids=IDS, rows=ROWS, field="embedding"):
    records = ({"id": name, field: row} for name, row in zip(ids, rows, strict=True))
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
