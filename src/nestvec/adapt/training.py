"""Train the heads of an adaptor so that every prefix orders neighbours as all dims did before.

One loss for a matrix and for an mlp: how far the softmax over near vectors is from that of the
vectors as they came, lightly whitened for the prefixes, and with labels how likely a query's
answers are. The full width counts most: what is gained at the front may not be lost for those who
use it all. PyTorch, on the CPU. What to fit, and whether it helps, is for ``fitting``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from nestvec.adapt.adaptor import Head
from nestvec.adapt.neighbourhoods import (
    Batch,
    Neighbourhoods,
    Taught,
    answer_loss,
    order_loss,
    prefix_similarities,
)
from nestvec.adapt.projections import fit_whitening
from nestvec.adapt.sample import Sample
from nestvec.errors import InvalidArgument
from nestvec.types import Embeddings, OnProgress

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

Schedule = Literal["joint", "sequential"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
_WARM_UP = 10  # steps
_SCALE_RATE = 0.01
_ANSWER_TEMPERATURE = 0.05


@dataclass(frozen=True)
class Training:
    """How heads are trained.

    Attributes:
        dims: The prefixes, any order.
        steps: In all.
        batch: About how many vectors are scored against each other.
        rate: Of Adam, at its peak.
        temperature: Of the softmax; lower looks at the nearest alone.
        whitening: Prefixes learn from vectors whose axes are divided by this power of their mean
            square, the full width from vectors as they are. A little of it evens out what all
            texts share, which is of no use where there is room for little.
        full_weight: What the full width counts, each prefix being 1.
        answers: What labels count beside the order.
        hidden: Width of an mlp's hidden layer; 0 for a matrix alone.
        two_heads: Whether queries go through a head of their own.
        schedule: "joint" trains all prefixes at once, "sequential" adds one after the other,
            widest first, as SMEC does (Zhang et al. 2025, arXiv 2510.12474).
        seed: Of what is drawn.
    """

    dims: tuple[int, ...]
    steps: int = 200
    batch: int = 2048
    rate: float = 3e-3
    temperature: float = 0.04
    whitening: float = 0.0625
    full_weight: float = 4.0
    answers: float = 0.25
    hidden: int = 0
    two_heads: bool = False
    schedule: Schedule = "joint"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be asked for."""
        for name, least in (("steps", 1), ("batch", 2)):
            if getattr(self, name) < least:
                raise InvalidArgument(f"{name} {getattr(self, name)} < {least}")
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise InvalidArgument(f"schedule {self.schedule!r} is not one of {known}")


def train_heads(
    sample: Sample, start: Head, training: Training, *, on_progress: OnProgress | None = None
) -> tuple[Head, Head]:
    """Train from a linear head on; return the heads of documents and of queries.

    Without a head of their own for queries, both are the same object.

    Args:
        sample: Unit vectors; with queries, these ask too; with labels, those count too.
        start: Such as the SVD.
        training: How.
        on_progress: Called with steps done and in all.
    """
    full_dim = len(start.matrix)
    narrow = sorted({dim for dim in training.dims if dim < full_dim}, reverse=True)
    phases = [narrow] if training.schedule == "joint" else _growing(narrow)
    whitening = fit_whitening(sample.documents, power=training.whitening).matrix
    heads = _Heads(start, training, whitening, n_prefixes=len(narrow) + 1)
    draws = Neighbourhoods(sample, training.batch, training.seed)
    total = training.steps
    done = 0
    for number, dims in enumerate(phases):
        steps = total * (number + 1) // len(phases) - done
        heads.begin()
        for step in range(steps):
            heads.step(draws.draw(), [*reversed(dims), full_dim], _rate(step, steps))
            done += 1
            if on_progress is not None:
                on_progress(done, total)
    return heads.fitted()


def _growing(narrow: list[int]) -> list[list[int]]:
    return [narrow[: number + 1] for number in range(len(narrow))] or [[]]


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


class _Heads:
    """Heads as PyTorch trains them."""

    def __init__(
        self, start: Head, training: Training, whitening: Embeddings, *, n_prefixes: int
    ) -> None:
        import torch

        self._training = training
        self._whitening = torch.from_numpy(whitening) if training.whitening else None
        random = torch.Generator().manual_seed(training.seed)
        self._documents = _parameters(start, training.hidden, random)
        self._queries = self._documents
        if training.two_heads:
            self._queries = {
                name: torch.nn.Parameter(each.detach().clone())
                for name, each in self._documents.items()
            }
        self._scales = torch.nn.Parameter(torch.zeros(n_prefixes))  # logarithms, full width first

    def begin(self) -> None:
        """Start a phase: Adam forgets."""
        import torch

        heads = [*self._documents.values()]
        if self._training.two_heads:
            heads += self._queries.values()
        groups = [{"params": heads}, {"params": [self._scales]}]
        self._adam = torch.optim.Adam(groups, lr=self._training.rate)

    def step(self, batch: Batch, dims: list[int], factor: float) -> None:
        """Take one step at a share of the rate; dims ascend to the full width."""
        heads, scales = self._adam.param_groups
        heads["lr"], scales["lr"] = self._training.rate * factor, _SCALE_RATE * factor
        loss = self._loss(batch, dims)
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()

    def _taught(self, batch: Batch) -> tuple[Taught, Taught]:
        """Return what the full width and what the prefixes are to learn."""
        import torch

        temperature = self._training.temperature
        taught = Taught.of(batch.asked, batch.candidates, temperature)
        if self._whitening is None:
            return taught, taught
        asked, candidates = (
            torch.nn.functional.normalize(vectors @ self._whitening)
            for vectors in (batch.asked, batch.candidates)
        )
        return taught, Taught.of(asked, candidates, temperature)

    def _loss(self, batch: Batch, dims: list[int]) -> Tensor:
        training = self._training
        taught, of_prefixes = self._taught(batch)
        asked = _turn(batch.asked, self._queries)
        candidates = _turn(batch.candidates, self._documents)
        loss = asked.new_zeros(())
        scales = self._scales.exp()
        for place, found in enumerate(prefix_similarities(asked, candidates, dims)):
            full = place == len(dims) - 1
            one = order_loss(found, taught if full else of_prefixes, scales[len(dims) - 1 - place])
            if batch.positives is not None:
                queries = found[-batch.n_queries :]
                one = one + training.answers * answer_loss(
                    queries, batch.positives, _ANSWER_TEMPERATURE
                )
            loss = loss + (training.full_weight if full else 1.0) * one
        return loss

    def fitted(self) -> tuple[Head, Head]:
        """Return the heads of documents and queries."""
        documents = _head(self._documents)
        return documents, _head(self._queries) if self._training.two_heads else documents


def _parameters(start: Head, hidden: int, random: object) -> dict[str, Parameter]:
    import torch

    full_dim = len(start.matrix)
    tensors = {"matrix": torch.from_numpy(np.array(start.matrix, dtype=np.float32))}
    if hidden:
        inner = torch.randn(full_dim, hidden, generator=random) / math.sqrt(full_dim)  # type: ignore[call-overload]
        tensors |= {
            "inner": inner,
            "bias": torch.zeros(hidden),
            "outer": torch.zeros(hidden, full_dim),  # at first, the matrix alone
        }
    return {name: torch.nn.Parameter(each) for name, each in tensors.items()}


def _turn(vectors: Tensor, head: dict[str, Parameter]) -> Tensor:
    turned = vectors @ head["matrix"]
    if "inner" in head:
        turned = turned + (vectors @ head["inner"] + head["bias"]).relu() @ head["outer"]
    return turned


def _head(parameters: dict[str, Parameter]) -> Head:
    return Head(**{name: each.detach().numpy().copy() for name, each in parameters.items()})
