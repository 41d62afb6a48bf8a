#!/usr/bin/env bash
# model2vec 0.10.0 and sentence-transformers 6.2.0 read the same static model folder and return
# different vectors for a text with a word outside the vocabulary. model2vec leaves unknown tokens
# out of the mean; sentence-transformers averages the row of [UNK] in. Texts of known words agree.
# Vectors of the two libraries cannot be mixed in one index, although the folder is the same.
#
# Seen: cosine 1.000 for known words, and 0.917 with one unknown word of three.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet model2vec==0.10.0 sentence-transformers==6.2.0 \
  transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
from model2vec import StaticModel
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

words = ["[PAD]", "[UNK]", "red", "green", "blue", "fast", "slow", "file"]
tokenizer = Tokenizer(WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = Whitespace()
table = np.random.default_rng(0).standard_normal((len(words), 16)).astype(np.float32)
static = StaticModel(vectors=table, tokenizer=tokenizer, config={"normalize": True})
static.save_pretrained("saved")

library = SentenceTransformer("saved", device="cpu")
cosines = {}
for text in ("red fast file", "red fast submarine"):
    ours, theirs = static.encode([text])[0], library.encode([text])[0]
    cosines[text] = float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs))
    print(f"{text!r}: cosine {cosines[text]:.3f}")
assert cosines["red fast file"] > 0.9999
assert cosines["red fast submarine"] < 0.95
print("as described")
PYTHON
