"""Train the heads of an adapter so that every prefix orders neighbors as all dims did before.

One loss for a matrix and for an mlp: how far the softmax over near vectors is from that of the
vectors as they came, lightly whitened for the prefixes. The full width counts most, and the matrix
is held near a rotation, which would leave it as it was: what is gained at the front may not be lost
for those who use it all, nor where texts are like none of the sample. With labels, the full width
alone learns first, by a matrix that is free, how likely a query's answers are, and prefixes then
learn the order that it has: learnt from labels themselves, they keep less of texts that none ask
for. PyTorch, on the CPU. What to fit, and whether it helps, is for ``fitting``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from nestvec.adapt.neighborhoods import (
    Batch,
    Neighborhoods,
    Taught,
    answer_loss,
    order_loss,
    prefix_similarities,
)
from nestvec.adapt.projections import fit_svd, fit_whitening
from nestvec.adapt.sample import Sample, unit_vectors
from nestvec.errors import InvalidArgument
from nestvec.models.adapter import Head
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Parameter

    Parameters = dict[str, Parameter]  # by the name that Head gives them
Schedule = Literal["joint", "sequential"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
_WARM_UP = 10  # steps
_SCALE_RATE = 0.01
_ANSWER_TEMPERATURE = 0.05
_STIFFNESS = 4.0  # holds the matrix near a rotation, or the full width drifts where texts are few


def from_head(start: Head, hidden: int, random: Generator) -> Parameters:
    """Begin with a linear head; a hidden layer of ``hidden`` units adds nothing to it yet."""
    import torch

    full_dim = len(start.matrix)
    tensors = {"matrix": torch.from_numpy(np.array(start.matrix, dtype=np.float32))}
    if hidden:
        tensors |= {
            "inner": torch.randn(full_dim, hidden, generator=random) / math.sqrt(full_dim),
            "bias": torch.zeros(hidden),
            "outer": torch.zeros(hidden, full_dim),
        }
    return {name: torch.nn.Parameter(each) for name, each in tensors.items()}


def to_head(head: Parameters) -> Head:
    """Return what was trained."""
    return Head(**{name: each.detach().numpy().copy() for name, each in head.items()})


def copied(head: Parameters) -> Parameters:
    """Return the same, to be trained apart."""
    import torch

    return {name: torch.nn.Parameter(each.detach().clone()) for name, each in head.items()}


def turn(vectors: Tensor, head: Parameters) -> Tensor:
    """Do as ``Head`` does, but for vectors of zeros."""
    turned = vectors @ head["matrix"]
    if "inner" in head:
        turned = turned + (vectors @ head["inner"] + head["bias"]).relu() @ head["outer"]
    return turned


def off_rotation(head: Parameters) -> Tensor:
    """Return how far its matrix is from a rotation, but for its scale: 0 or more. []."""
    import torch

    matrix = head["matrix"]
    gram = matrix @ matrix.T
    scaled = gram / gram.diagonal().mean()
    return (scaled - torch.eye(len(gram))).square().sum() / len(gram)


@dataclass(frozen=True)
class Training:
    """How heads are trained.

    Attributes:
        dims: The prefixes, any order.
        steps: Of prefixes in all; labels are learnt from in as many before.
        batch: About how many vectors are scored against each other.
        rate: Of Adam, at its peak.
        temperature: Of the softmax; lower looks at the nearest alone.
        whitening: Prefixes learn from vectors whose axes are divided by this power of their mean
            square, the full width from vectors as they are. A little of it evens out what all
            texts share, which is of no use where there is room for little.
        full_weight: What the full width counts, each prefix being 1.
        answers: What labels count beside the order, while the full width learns from them.
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
    nested = _nested(len(start.matrix), training)
    if not sample.labeled:
        return _train(sample, start, training, nested, on_progress)
    return _train_with_labels(sample, start, training, nested, on_progress)


def _train_with_labels(
    sample: Sample,
    start: Head,
    training: Training,
    nested: Sequence[_Phase],
    on_progress: OnProgress | None,
) -> tuple[Head, Head]:
    """Let the full width learn of answers, then one matrix after it find the prefixes."""
    steps = training.steps
    answers = [_Phase([len(start.matrix)], steps, answers=True)]
    learnt = _train(sample, start, training, answers, _part(on_progress, 0, 2 * steps))
    documents, queries = learnt
    turned = Sample(
        unit_vectors(documents(sample.documents)), unit_vectors(queries(sample.queries))
    )
    axes = Head(fit_svd(turned.documents).matrix)
    plain = replace(training, hidden=0, two_heads=False)
    after, _ = _train(turned, axes, plain, nested, _part(on_progress, steps, 2 * steps))
    both = documents.then(after.matrix)
    return both, both if queries is documents else queries.then(after.matrix)


def _part(on_progress: OnProgress | None, before: int, of_all: int) -> OnProgress | None:
    """Count on from what was done before."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(before + done, of_all)


class _Phase(NamedTuple):
    """What is trained at a time.

    Attributes:
        dims: Ascending to the full width.
        steps: How many.
        answers: Whether labels count.
    """

    dims: list[int]
    steps: int
    answers: bool = False


def _nested(full_dim: int, training: Training) -> list[_Phase]:
    """Return what prefixes are trained in, in turn."""
    narrow = sorted({dim for dim in training.dims if dim < full_dim}, reverse=True)
    nested = [narrow] if training.schedule == "joint" else _growing(narrow)
    stops = [training.steps * number // len(nested) for number in range(len(nested) + 1)]
    return [
        _Phase([*reversed(dims), full_dim], stop - start)
        for dims, start, stop in zip(nested, stops, stops[1:], strict=False)
    ]


def _growing(narrow: list[int]) -> list[list[int]]:
    return [narrow[: number + 1] for number in range(len(narrow))] or [[]]


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def _train(
    sample: Sample,
    start: Head,
    training: Training,
    phases: Sequence[_Phase],
    on_progress: OnProgress | None,
) -> tuple[Head, Head]:
    heads = _Heads(start, training, sample, n_widths=max(len(phase.dims) for phase in phases))
    draws = Neighborhoods(sample, training.batch, training.seed)
    done, total = 0, sum(phase.steps for phase in phases)
    for phase in phases:
        heads.begin()
        for step in range(phase.steps):
            heads.step(draws.draw(), phase, _rate(step, phase.steps))
            done += 1
            if on_progress is not None:
                on_progress(done, total)
    return heads.fitted()


class _Heads:
    """Heads as PyTorch trains them."""

    def __init__(self, start: Head, training: Training, sample: Sample, *, n_widths: int) -> None:
        import torch

        self._training = training
        self._whitening = None
        if training.whitening:
            whitening = fit_whitening(sample.documents, power=training.whitening)
            self._whitening = torch.from_numpy(whitening.matrix)
        random = torch.Generator().manual_seed(training.seed)
        self._documents = from_head(start, training.hidden, random)
        self._queries = copied(self._documents) if training.two_heads else self._documents
        self._scales = torch.nn.Parameter(torch.zeros(n_widths))  # logarithms, full width first

    def begin(self) -> None:
        """Start a phase: Adam forgets."""
        import torch

        heads = [each for head in self._distinct() for each in head.values()]
        groups = [{"params": heads}, {"params": [self._scales]}]
        self._adam = torch.optim.Adam(groups, lr=self._training.rate)

    def step(self, batch: Batch, phase: _Phase, factor: float) -> None:
        """Take one step at a share of the rate."""
        heads, scales = self._adam.param_groups
        heads["lr"], scales["lr"] = self._training.rate * factor, _SCALE_RATE * factor
        loss = self._loss(batch, phase)
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

    def _loss(self, batch: Batch, phase: _Phase) -> Tensor:
        training, dims = self._training, phase.dims
        taught, of_prefixes = self._taught(batch)
        asked = turn(batch.asked, self._queries)
        candidates = turn(batch.candidates, self._documents)
        loss = asked.new_zeros(())
        scales = self._scales.exp()
        for place, found in enumerate(prefix_similarities(asked, candidates, dims)):
            full = place == len(dims) - 1
            one = order_loss(found, taught if full else of_prefixes, scales[len(dims) - 1 - place])
            loss = loss + (training.full_weight if full else 1.0) * one
        if not phase.answers:
            return loss + _STIFFNESS * sum(off_rotation(head) for head in self._distinct())
        if batch.positives is None:
            return loss
        answered = answer_loss(found[-batch.n_queries :], batch.positives, _ANSWER_TEMPERATURE)
        return loss + training.full_weight * training.answers * answered

    def _distinct(self) -> list[Parameters]:
        return [self._documents, self._queries][: 1 + self._training.two_heads]

    def fitted(self) -> tuple[Head, Head]:
        """Return the heads of documents and queries."""
        documents = to_head(self._documents)
        return documents, to_head(self._queries) if self._training.two_heads else documents
