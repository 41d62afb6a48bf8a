#!/usr/bin/env bash
# LanceDB 0.40.0: maximum_nprobes(n) with n above minimum_nprobes makes a search read about n
# partitions of an IVF index, although the first partition has enough rows and there is no filter.
# The documentation of maximum_nprobes says that the excess partitions are read only if there are
# not enough results, so one would expect this search to read as much as one without a maximum.
# With maximum_nprobes(0), documented as no limit, the same search reads a few partitions only.
#
# Seen: 20,000 vectors of 16 dims, 100 partitions, limit 10, minimum 1, no filter. Recall@10 (the
# clusters differ a little in each run) and partitions read: maximum 1: about 0.27, 1 partition;
# maximum 0 (no limit): about 0.70, 6 to 11 partitions; maximum 20: about 0.93, 20 partitions;
# maximum 100: 1.00, 100 partitions, an exhaustive scan.
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
vectors = rng.standard_normal((20_000, 16)).astype(np.float32)
queries = rng.standard_normal((100, 16)).astype(np.float32)
column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 16)
rows = pa.table({"id": pa.array(range(len(vectors))), "vector": column})
table = lancedb.connect("db").create_table("t", rows)
table.create_index("vector", config=IvfFlat(distance_type="l2", num_partitions=100))
exact = [np.argsort(((vectors - query) ** 2).sum(1))[:10] for query in queries]


def search(query, maximum):
    found = table.search(query).distance_type("l2").limit(10).select(["id", "_distance"])
    return found.minimum_nprobes(1).maximum_nprobes(maximum)


def partitions(query, maximum):
    plan = search(query, maximum).analyze_plan()
    counts = [part.split("=")[1] for part in plan.replace(",", " ").replace("]", " ").split()
              if part.startswith("partitions_searched=")]
    return max(map(int, counts))


recall, read = {}, {}
for maximum in (1, 0, 20, 100):
    found = [search(query, maximum).to_arrow()["id"].to_numpy() for query in queries]
    recall[maximum] = np.mean([np.isin(*pair).mean() for pair in zip(exact, found)])
    read[maximum] = [partitions(query, maximum) for query in queries[:20]]
    span = f"{min(read[maximum])} to {max(read[maximum])}"
    print(f"maximum {maximum}: recall@10 {recall[maximum]:.2f}, partitions read {span}")
assert set(read[1]) == {1}
assert max(read[0]) < 50 and recall[0] < 0.9
assert min(read[20]) >= 18 and recall[20] > recall[0]
assert min(read[100]) >= 90 and recall[100] > 0.99
print("as described")
PYTHON
