"""Measure time and memory of ranking losses over nested prefixes, without an encoder.

The contenders run in turn, each in its own process: Sentence Transformers'
MultipleNegativesRankingLoss at full width (plain), its MatryoshkaLoss around that loss, and the
nested loss of nestvec. The forward and backward passes run on float32 embeddings that a stub
returns. Peak memory is the growth of the process; on a GPU, the memory that PyTorch allocated. The
batches on a GPU are larger.

    python benchmarks/losses.py
    python benchmarks/losses.py --device cuda

The record includes the instruction set of PyTorch's own loops. Processor seconds are those of all
threads; on a busy machine, they vary less than seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from sentence_transformers.sentence_transformer import losses as library
from torch import Tensor, nn

from nestvec.train.losses import NestedMultipleNegativesRankingLoss
from record import record

SIZES = {
    "cpu": (
        (2048, (1024, 512, 256, 128, 64, 32)),
        (8192, (512, 256, 128, 64, 32)),
        (1024, (768, 512, 256, 128, 64)),
    ),
    "cuda": (
        (2048, (1024, 512, 256, 128, 64, 32)),
        (16384, (1024, 512, 256, 128, 64, 32)),
        (32768, (768, 512, 256, 128, 64)),
    ),
}
CONTENDERS = ("plain", "matryoshka", "nested", "nested, duplicates masked")
ROUNDS = 3
REPEATS = {"cpu": (10, 2, 30), "cuda": (3, 3, 3)}  # for each size


class Given(nn.Module):
    """A stub of a model, which returns given embeddings."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def get_embedding_dimension(self) -> int:
        """Return the width."""
        return self.dim

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the embeddings."""
        return {**features, "sentence_embedding": features["given"]}


def main() -> None:
    """Time every contender at every size, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--one", nargs=2, help="Time one contender at the size of this number.")
    options = parser.parse_args()
    if options.one is not None:
        name, number = options.one
        print(json.dumps(_time(name, int(number), options.device)))
        return
    results = []
    for number, (batch, dims) in enumerate(SIZES[options.device]):
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(ROUNDS):
            for name in CONTENDERS:
                found[name].append(_in_a_process(name, number, options.device))
        row: dict[str, Any] = {"batch": batch, "dims": dims}
        for name, rounds in found.items():
            row[name] = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        results.append(row)
        print(row, flush=True)
    settings: dict[str, Any] = {
        "rounds": ROUNDS,
        "repeats": REPEATS[options.device],
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
    }
    recorded = "losses"
    if options.device == "cuda":
        recorded, settings["gpu"] = "losses_cuda", torch.cuda.get_device_name()
    print(record(recorded, settings=settings, results=results))


def _in_a_process(name: str, number: int, device: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--device", device, "--one", name, str(number)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _time(name: str, number: int, device: str) -> dict[str, float]:
    batch, dims = SIZES[device][number]
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(batch, dims[0], generator=generator)
    positives = anchors + torch.randn(batch, dims[0], generator=generator)
    ids = torch.arange(2 * batch).view(2, batch, 1)
    if name.endswith("masked"):  # 1 % of the pairs are duplicates
        ids[:, ::100] = ids[:, :1]
    features = [
        {
            "given": side.to(device).requires_grad_(),
            "input_ids": column.to(device),
            "attention_mask": column.to(device) >= 0,
        }
        for side, column in zip((anchors, positives), ids, strict=True)
    ]
    loss = _loss(name, dims)
    before = _peak_bytes(device)
    seconds, processor = [], []
    for _ in range(REPEATS[device][number] + 1):
        _wait(device)
        start, used = time.perf_counter(), time.process_time()
        loss(features, None).backward()
        _wait(device)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    grown = _peak_bytes(device) - before
    return {
        "seconds": statistics.median(seconds[1:]),
        "processor_seconds": statistics.median(processor[1:]),
        "peak_mib": grown / 2**20,
    }


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _loss(name: str, dims: tuple[int, ...]) -> nn.Module:
    model: Any = Given(dims[0])
    plain = library.MultipleNegativesRankingLoss(model)
    if name == "plain":
        return plain
    if name == "matryoshka":
        return library.MatryoshkaLoss(model, plain, list(dims))
    return NestedMultipleNegativesRankingLoss(model, dims, mask_duplicates=name.endswith("masked"))


if __name__ == "__main__":
    main()
