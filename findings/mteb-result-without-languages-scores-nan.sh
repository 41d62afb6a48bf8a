#!/usr/bin/env bash
# mteb 2.26.24: the result of a task whose scores have no languages (an empty list) is accepted when
# it is created and when it is read from a file, but get_score() returns NaN without a warning. With
# one language, the same result returns its score.
#
# Seen: languages ["eng-Latn"]: 0.5; languages []: nan, from memory and from a file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mteb==2.26.24 numpy==2.4.6 torch==2.13.0
HF_HUB_OFFLINE=1 venv/bin/python - <<'PYTHON'
import math
from pathlib import Path

from mteb.results import TaskResult

scores = {}
for languages in ([], ["eng-Latn"]):
    values = {
        "dataset_revision": "1",
        "task_name": "SciFact",
        "mteb_version": "2.26.24",
        "scores": {"test": [{"hf_subset": "default", "languages": languages, "main_score": 0.5}]},
        "evaluation_time": 1.0,
    }
    created = TaskResult.from_dict(values)
    path = Path("result.json")
    created.to_disk(path)
    scores[len(languages)] = (created.get_score(), TaskResult.from_disk(path).get_score())
    print(f"languages {languages}: {scores[len(languages)]}")
assert scores[1] == (0.5, 0.5)
assert all(math.isnan(score) for score in scores[0])
print("as described")
PYTHON
