"""How far harmless and harmful changes of a model lower the cosine of its canaries.

Run: python benchmarks/canary_cosines.py FOLDER-OF-all-MiniLM-L6-v2 SCIFACT-FOLDER

The default limit of ``nestvec check --min-cosine`` must be below harmless changes (another batch
size, another data type) and above harmful ones (other weights, another prompt). Each change is
measured with the canaries that an index would store. It leaves out API models and GPUs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from nestvec.data.retrieval import load_dataset
from nestvec.engines.canaries import Canaries
from nestvec.types import Embeddings
from record import record

MODEL = "all-MiniLM-L6-v2"
TEXTS, LETTERS, SEED = 32, 1_000, 0
NOISES = (0.002, 0.005, 0.01, 0.02, 0.05)

Encode = Callable[[list[str]], Embeddings]


def main(model: str, dataset: Path) -> None:
    """Measure all changes, and record the lowest and the mean loss of cosine of each."""
    texts = [each.content[:LETTERS] for each in load_dataset(dataset).corpus.values()][:TEXTS]
    canaries = Canaries.pack(texts, _encode(_load(model), texts))
    assert canaries is not None
    results = {}
    for name, encode in _changes(model).items():
        cosines = canaries.cosines(encode(list(canaries.texts)))
        results[name] = {"largest": 1 - cosines.min(), "mean": 1 - cosines.mean()}
        print(f"{name:<24} {results[name]['largest']:.1e}  {results[name]['mean']:.1e}", flush=True)
    settings = {
        "model": MODEL,
        "dataset": dataset.name,
        "texts": len(canaries.texts),
        "letters": LETTERS,
        "stored": canaries.precision,
        "seed": SEED,
        "torch": torch.__version__,
    }
    print(record("canary_cosines", settings=settings, results=results))


def _changes(model: str) -> dict[str, Encode]:
    """Return how each changed model encodes texts."""
    changes: dict[str, Encode] = {
        "the same": lambda texts: _encode(_load(model), texts),
        "batch size 1": lambda texts: _encode(_load(model), texts, batch=1),
        "bfloat16": lambda texts: _encode(_load(model, torch.bfloat16), texts),
        "prompt 'passage: '": lambda texts: _encode(
            _load(model), [f"passage: {text}" for text in texts]
        ),
    }
    for noise in NOISES:
        changes[f"weights {noise:.1%} noise"] = lambda texts, noise=noise: _encode(
            _with_noise(_load(model), noise), texts
        )
    return changes


def _load(model: str, dtype: torch.dtype = torch.float32) -> SentenceTransformer:
    return SentenceTransformer(model, device="cpu", model_kwargs={"torch_dtype": dtype})


def _encode(model: SentenceTransformer, texts: list[str], *, batch: int = 32) -> Embeddings:
    return np.asarray(model.encode(texts, batch_size=batch), dtype=np.float32)


def _with_noise(model: SentenceTransformer, noise: float) -> SentenceTransformer:
    """Add normal noise to each tensor of weights, relative to its standard deviation."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in model.parameters():
            weights += noise * weights.std() * torch.randn(weights.shape, generator=generator)
    return model


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
