#!/usr/bin/env bash
# datasets 5.2.0 writes a column of vectors to CSV as the text of a NumPy array, without commas.
# Vectors of more than 1,000 numbers are shortened to six numbers and "...", without a warning:
# such a file does not contain the vectors any more. Write Parquet or JSON Lines instead.
#
# Seen: 8 numbers are written as "[0. 1. 2. ...]" and no number is lost; of 1,536 numbers, 6 remain.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datasets==5.2.0 numpy==2.4.6
HF_HUB_OFFLINE=1 venv/bin/python - <<'PYTHON'
import csv

import numpy as np
from datasets import Dataset

for dim in (8, 1536):
    vector = np.arange(dim, dtype=np.float32)
    data = Dataset.from_dict({"id": ["a"], "vector": [vector]})
    data.to_csv("vectors.csv")
    with open("vectors.csv", newline="") as file:
        text = next(csv.DictReader(file))["vector"]
    numbers = [part for part in text.strip("[]").split() if part != "..."]
    print(f"{dim} numbers: {len(numbers)} in the file, {text[:60]!r}")
    assert "," not in text
    assert (len(numbers), "..." in text) == ((8, False) if dim == 8 else (6, True))

    data.to_parquet("vectors.parquet")
    read = Dataset.from_parquet("vectors.parquet", cache_dir="cache")
    assert np.array_equal(read[0]["vector"], vector)
print("as described")
PYTHON
