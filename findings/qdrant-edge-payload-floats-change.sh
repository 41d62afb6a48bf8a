#!/usr/bin/env bash
# qdrant-edge-py 0.9.0: some floats of a payload are not the same when they are read again. The
# difference is one unit in the last place, so that a filter for exactly this value (a range whose
# ends are equal) can miss the point. Whole numbers below 1e15 are read as they were written.
#
# Seen: of 2,000 random floats, more than 100 change; of 2,000 whole numbers below 1e15, none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet qdrant-edge-py==0.9.0
venv/bin/python - <<'PYTHON'
import random

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeShard,
    EdgeVectorParams,
    Point,
    UpdateOperation,
)

random.seed(0)
floats = [random.uniform(-1, 1) * 10 ** random.randint(-20, 20) for _ in range(2_000)]
whole = [float(random.randint(-(10**15) + 1, 10**15 - 1)) for _ in range(2_000)]
config = EdgeConfig(vectors={"v": EdgeVectorParams(size=1, distance=Distance.Dot)})
shard = EdgeShard.create("shard", config)
values = floats + whole
points = [Point(row, {"v": [1.0]}, {"value": value}) for row, value in enumerate(values)]
shard.update(UpdateOperation.upsert_points(points))
found = shard.retrieve(list(range(len(values))), True, False)
read = {int(each.id): each.payload["value"] for each in found}
changed = [row for row, value in enumerate(values) if read[row] != value]
of_floats = sum(row < len(floats) for row in changed)
print(f"changed: {of_floats} of {len(floats)} floats, {len(changed) - of_floats} whole numbers")
print(f"example: {values[changed[0]]!r} is read as {read[changed[0]]!r}")
assert of_floats > 100
assert len(changed) == of_floats
print("as described")
PYTHON
