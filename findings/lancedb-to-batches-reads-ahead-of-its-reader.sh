#!/usr/bin/env bash
# LanceDB 0.40.0: to_batches(batch_size) of a query without a filter is an iterator of record
# batches, so one would expect it to hold a few batches in memory. It reads far ahead of a reader
# that is slower than the disk. Pages by limit and offset need little memory.
#
# Seen: 400,000 vectors of 384 dims (614 MB), batches of 4,096 rows, a reader that sleeps 20 ms for
# each batch. After 11 batches (69 MB), the resident memory of the process had grown by 323 MB. All
# rows in pages of 4,096 by limit and offset: 68 MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet lancedb==0.40.0 pyarrow==26.0.1 numpy==2.4.6
cat > write.py <<'PYTHON'
import lancedb
import numpy as np
import pyarrow as pa

ROWS, DIM, BLOCK = 400_000, 384, 20_000
rng = np.random.default_rng(0)


def blocks():
    for start in range(0, ROWS, BLOCK):
        values = rng.standard_normal((BLOCK, DIM), dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIM)
        yield pa.record_batch({"id": pa.array(range(start, start + BLOCK)), "vector": column})


schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), DIM))])
lancedb.connect("db").create_table("t", blocks(), schema=schema)
PYTHON
cat > read.py <<'PYTHON'
import sys
import time
from pathlib import Path

import lancedb


def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


table = lancedb.connect("db").open_table("t")
table.search().select(["vector"]).limit(10).to_arrow()
before, highest, rows = resident_mb(), 0.0, 0
if sys.argv[1] == "batches":
    for number, batch in enumerate(table.search().select(["vector"]).to_batches(4_096)):
        rows += batch.num_rows
        time.sleep(0.02)
        highest = max(highest, resident_mb() - before)
        if number == 10:
            break
else:
    while page := table.search().select(["vector"]).limit(4_096).offset(rows).to_arrow():
        rows += len(page)
        highest = max(highest, resident_mb() - before)
print(f"{sys.argv[1]}: {rows:,} rows read, resident memory grew by {highest:.0f} MB")
if sys.argv[1] == "batches":
    assert rows <= 45_056 and highest > 200, highest
else:
    assert rows == 400_000 and highest < 150, highest
PYTHON
venv/bin/python write.py
venv/bin/python read.py batches
venv/bin/python read.py pages
echo "as described"
