#!/usr/bin/env bash
# LanceDB 0.40.0: Table.optimize() rebuilds an IVF index with its own number of partitions. An index
# that was made with num_partitions=141 has 2 partitions afterwards, so a search that reads a fixed
# number of partitions (nprobes) reads another share of the table than before. An index that was made
# with target_partition_size instead keeps about its number of partitions.
#
# Seen: 20,000 vectors of 16 dims, IVF_FLAT: 141 partitions before optimize(), 2 after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet lancedb==0.40.0 pyarrow==26.0.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import warnings

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfFlat

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)


def rows(n):
    vectors = rng.standard_normal((n, 16)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 16)
    return pa.table({"vector": column})


def partitions(table):
    """Count the partitions that a search reads if it may read all of them."""
    plan = (
        table.search(np.zeros(16, np.float32))
        .distance_type("dot")
        .minimum_nprobes(1_000)
        .maximum_nprobes(1_000)
        .limit(1)
        .analyze_plan()
    )
    counts = [part.split("=")[1] for part in plan.replace(",", " ").replace("]", " ").split()
              if part.startswith("partitions_searched=")]
    return max(map(int, counts))


table = lancedb.connect("db").create_table("t", rows(20_000))
table.create_index("vector", config=IvfFlat(distance_type="dot", num_partitions=141))
before = partitions(table)
table.add(rows(100))
table.optimize()
after = partitions(table)
print(f"partitions: {before} before optimize(), {after} after")
assert before == 141
assert after < 10
print("as described")
PYTHON
