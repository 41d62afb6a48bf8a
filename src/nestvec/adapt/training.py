"""Train the heads of an adapter: every prefix reproduces the full-width ranking of neighbors.

The loss is the same for a matrix and for an mlp: the divergence between a prefix's softmax over
near vectors and the softmax of the original vectors. Targets of prefixes are lightly whitened. The
full width has the largest weight, and a penalty keeps the matrix close to a rotation, which would
not change full-width cosines. So small dims gain without a loss at full width, also on texts
unlike the sample.

With labels, training has two phases. First only the full width is fitted on the labels, without
the penalty. Then the prefixes are trained to reproduce the new full-width ranking. Prefixes that
are fitted on labels directly rank texts without labels worse.

Training uses PyTorch on the CPU. ``fitting`` chooses the methods and measures them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from nestvec.adapt.neighborhoods import (
    Batch,
    DistillationTarget,
    Neighborhoods,
    contrastive_loss,
    distillation_loss,
    prefix_similarities,
)
from nestvec.adapt.projections import fit_svd, fit_whitening
from nestvec.adapt.sample import Sample, unit_vectors
from nestvec.errors import InvalidArgument, check_least
from nestvec.models.adapter import Head
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import Parameter

    Parameters = dict[str, Parameter]  # by field name of Head
Schedule = Literal["joint", "sequential"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
_WARM_UP = 10  # steps
_SCALE_RATE = 0.01  # learning rate of the scales
_CONTRASTIVE_TEMPERATURE = 0.05
_ORTHOGONALITY_WEIGHT = 4.0  # lower weights lose quality at full width on small samples


def init_parameters(start: Head, hidden: int, random: Generator) -> Parameters:
    """Copy a linear head, and add a hidden layer of ``hidden`` units whose output starts at 0."""
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
    """Copy trained parameters into a head of NumPy arrays."""
    return Head(**{name: each.detach().numpy().copy() for name, each in head.items()})


def clone_parameters(head: Parameters) -> Parameters:
    """Return an independent copy of the parameters."""
    import torch

    return {name: torch.nn.Parameter(each.detach().clone()) for name, each in head.items()}


def transform(vectors: Tensor, head: Parameters) -> Tensor:
    """Transform vectors as ``Head`` does, except that zero vectors may not stay zero."""
    transformed = vectors @ head["matrix"]
    if "inner" in head:
        transformed = transformed + (vectors @ head["inner"] + head["bias"]).relu() @ head["outer"]
    return transformed


def orthogonality_penalty(head: Parameters) -> Tensor:
    """Return the squared distance of the scaled matrix from an orthogonal one, 0 or more, []."""
    import torch

    matrix = head["matrix"]
    gram = matrix @ matrix.T
    scaled = gram / gram.diagonal().mean()
    return (scaled - torch.eye(len(gram))).square().sum() / len(gram)


@dataclass(frozen=True)
class Training:
    """Settings of head training.

    Attributes:
        dims: Prefix dims, in any order.
        steps: Steps of prefix training. With labels, as many steps fit the full width first.
        batch: Approximate number of candidates in a batch.
        learning_rate: Peak learning rate of Adam.
        temperature: Temperature of the softmax; a lower one weights the nearest vectors more.
        whitening: Before the targets of prefixes are computed, each axis is divided by this power
            of its mean square. This reduces components that all texts share and that do not help
            ranking. Targets of the full width are not whitened. 0 disables whitening.
        full_weight: Loss weight of the full width; each prefix has weight 1.
        contrastive_weight: Weight of the contrastive loss relative to the distillation loss, while
            the full width is fitted on labels.
        hidden: Width of an mlp's hidden layer; 0 for a single matrix.
        two_heads: Whether queries have a separate head.
        schedule: "joint" trains all prefixes at once; "sequential" adds one prefix after another,
            widest first, as in SMEC (Zhang et al. 2025, arXiv 2510.12474).
        seed: Seed of all random draws.
    """

    dims: tuple[int, ...]
    steps: int = 200
    batch: int = 2048
    learning_rate: float = 3e-3
    temperature: float = 0.04
    whitening: float = 0.0625
    full_weight: float = 4.0
    contrastive_weight: float = 0.25
    hidden: int = 0
    two_heads: bool = False
    schedule: Schedule = "joint"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the steps, the batch size and the schedule."""
        check_least(self, steps=1, batch=2)
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise InvalidArgument(f"schedule={self.schedule!r} is not one of {known}.")


def train_heads(
    sample: Sample, start: Head, training: Training, *, on_progress: OnProgress | None = None
) -> tuple[Head, Head]:
    """Train heads, starting from a linear head.

    Args:
        sample: Unit vectors. Queries and labels are used if present.
        start: Initial head, for example the SVD axes.
        training: Settings.
        on_progress: Called with the steps done and their total.

    Returns:
        The heads of documents and of queries; the same object without ``two_heads``.
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
    """Fit the full width on labels, then train one matrix after it for the prefixes."""
    steps = training.steps
    full_width = [_Phase([len(start.matrix)], steps, contrastive=True)]
    first_half = _progress_range(on_progress, 0, 2 * steps)
    documents, queries = _train(sample, start, training, full_width, first_half)
    transformed = Sample(
        unit_vectors(documents(sample.documents)), unit_vectors(queries(sample.queries))
    )
    axes = Head(fit_svd(transformed.documents).matrix)
    plain = replace(training, hidden=0, two_heads=False)
    second_half = _progress_range(on_progress, steps, 2 * steps)
    prefix_head, _ = _train(transformed, axes, plain, nested, second_half)
    combined = documents.then(prefix_head.matrix)
    return combined, combined if queries is documents else queries.then(prefix_head.matrix)


def _progress_range(on_progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    """Return a callback that adds the steps done before and reports the total of all phases."""
    if on_progress is None:
        return None
    return lambda done, _: on_progress(before + done, total)


class _Phase(NamedTuple):
    """A phase of training with its own optimizer state.

    Attributes:
        dims: Trained dims, ascending; the last one is the full width.
        steps: Number of steps.
        contrastive: Whether the contrastive loss on labels is added.
    """

    dims: list[int]
    steps: int
    contrastive: bool = False


def _nested(full_dim: int, training: Training) -> list[_Phase]:
    """Return the phases of prefix training, in order."""
    narrow = sorted({dim for dim in training.dims if dim < full_dim}, reverse=True)
    nested = [narrow] if training.schedule == "joint" else _growing(narrow)
    stops = [training.steps * number // len(nested) for number in range(len(nested) + 1)]
    return [
        _Phase([*reversed(dims), full_dim], stop - start)
        for dims, start, stop in zip(nested, stops, stops[1:], strict=False)
    ]


def _growing(narrow: list[int]) -> list[list[int]]:
    """Return the first dim, the first two dims, and so on; one empty list for no dims."""
    return [narrow[: number + 1] for number in range(len(narrow))] or [[]]


def _rate_factor(step: int, steps: int) -> float:
    """Return the share of the peak learning rate: linear warm-up, then cosine decay."""
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def _train(
    sample: Sample,
    start: Head,
    training: Training,
    phases: Sequence[_Phase],
    on_progress: OnProgress | None,
) -> tuple[Head, Head]:
    heads = _HeadTrainer(start, training, sample, n_widths=max(len(phase.dims) for phase in phases))
    draws = Neighborhoods(sample, training.batch, training.seed)
    done, total = 0, sum(phase.steps for phase in phases)
    for phase in phases:
        heads.begin()
        for step in range(phase.steps):
            heads.step(draws.draw(), phase, _rate_factor(step, phase.steps))
            done += 1
            if on_progress is not None:
                on_progress(done, total)
    return heads.fitted()


class _HeadTrainer:
    """Heads in training, with their optimizer and the logit scale of each width."""

    def __init__(self, start: Head, training: Training, sample: Sample, *, n_widths: int) -> None:
        import torch

        self._training = training
        self._whitening = None
        if training.whitening:
            whitening = fit_whitening(sample.documents, power=training.whitening)
            self._whitening = torch.from_numpy(whitening.matrix)
        random = torch.Generator().manual_seed(training.seed)
        self._documents = init_parameters(start, training.hidden, random)
        self._queries = clone_parameters(self._documents) if training.two_heads else self._documents
        self._scales = torch.nn.Parameter(torch.zeros(n_widths))  # logarithms, full width first

    def begin(self) -> None:
        """Start a phase with a new optimizer."""
        import torch

        heads = [each for head in self._distinct() for each in head.values()]
        groups = [{"params": heads}, {"params": [self._scales]}]
        self._adam = torch.optim.Adam(groups, lr=self._training.learning_rate)

    def step(self, batch: Batch, phase: _Phase, factor: float) -> None:
        """Make one training step at a factor of the peak learning rate."""
        heads, scales = self._adam.param_groups
        heads["lr"], scales["lr"] = self._training.learning_rate * factor, _SCALE_RATE * factor
        loss = self._loss(batch, phase)
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()

    def _targets(self, batch: Batch) -> tuple[DistillationTarget, DistillationTarget]:
        """Return the targets of the full width and of the prefixes."""
        import torch

        temperature = self._training.temperature
        target = DistillationTarget.of(batch.anchors, batch.candidates, temperature)
        if self._whitening is None:
            return target, target
        anchors, candidates = (
            torch.nn.functional.normalize(vectors @ self._whitening)
            for vectors in (batch.anchors, batch.candidates)
        )
        return target, DistillationTarget.of(anchors, candidates, temperature)

    def _loss(self, batch: Batch, phase: _Phase) -> Tensor:
        training, dims = self._training, phase.dims
        target, prefix_target = self._targets(batch)
        anchors = transform(batch.anchors, self._queries)
        candidates = transform(batch.candidates, self._documents)
        loss = anchors.new_zeros(())
        scales = self._scales.exp()
        for place, similarities in enumerate(prefix_similarities(anchors, candidates, dims)):
            full = place == len(dims) - 1
            scale = scales[len(dims) - 1 - place]
            term = distillation_loss(similarities, target if full else prefix_target, scale)
            loss = loss + (training.full_weight if full else 1.0) * term
        if not phase.contrastive:
            penalty = sum(orthogonality_penalty(head) for head in self._distinct())
            return loss + _ORTHOGONALITY_WEIGHT * penalty
        if batch.positives is None:
            return loss
        of_queries = similarities[-batch.n_queries :]  # full width, the last of the loop
        term = contrastive_loss(of_queries, batch.positives, _CONTRASTIVE_TEMPERATURE)
        return loss + training.full_weight * training.contrastive_weight * term

    def _distinct(self) -> list[Parameters]:
        return [self._documents, self._queries][: 1 + self._training.two_heads]

    def fitted(self) -> tuple[Head, Head]:
        """Return the heads of documents and of queries; the same object without two heads."""
        documents = to_head(self._documents)
        return documents, to_head(self._queries) if self._training.two_heads else documents
