"""Fit an adapter on vectors: try the methods from cheap to strong, keep what is surely better.

Works on arrays; where they come from, and which model they are of, is for ``workflows``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np

from nestvec.adapt.projections import fit_svd, fit_whitening
from nestvec.adapt.sample import Parted, Sample, part
from nestvec.adapt.selection import CUTTING, HeldOutScores, Yardstick, choose
from nestvec.adapt.training import Schedule, Training, train_heads
from nestvec.errors import InvalidArgument, require
from nestvec.models.adapter import METHODS, Adapter, Head, Method
from nestvec.types import OnProgress

FITTED = tuple(method for method in METHODS if method != CUTTING)
TRAINED: tuple[Method, ...] = ("linear", "mlp")
_HIDDEN = 2  # times the width
_HALVINGS = 4

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdaptConfig:
    """What is asked of an adapter.

    Attributes:
        dims: Widths that are to be good; the full one is always added. None for halvings.
        method: None chooses by measurement; a name fits that one, and says so if it is no better.
        schedule: "joint" or "sequential", of what is trained.
        two_heads: Queries through a head of their own; needs queries and a trained method.
        steps: Of training; with labels as many again.
        sample: At most so many documents, and queries, are fitted on.
        seed: Of all that is drawn.
    """

    dims: tuple[int, ...] | None = None
    method: Method | None = None
    schedule: Schedule = "joint"
    two_heads: bool = False
    steps: int = 200
    sample: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what does not depend on the vectors."""
        if self.method is not None and self.method not in FITTED:
            raise InvalidArgument(f"method {self.method!r} is not one of {', '.join(FITTED)}")
        if self.seed < 0:
            raise InvalidArgument(f"seed {self.seed} < 0")
        if self.sample < 1:
            raise InvalidArgument(f"sample {self.sample} < 1")
        if self.two_heads and self.method not in TRAINED:
            raise InvalidArgument(f"two heads are trained: name method {' or '.join(TRAINED)}")
        Training(dims=(), steps=self.steps, schedule=self.schedule)


@dataclass(frozen=True)
class Base:
    """The model whose vectors they are.

    Attributes:
        fingerprint: "" where the vectors are of no known model.
        name: In messages.
        layer_norm: Whether its vectors were layer-normalized for the sample.
        matryoshka: Whether it was trained to be cut. Its prefixes then know more of relevance than
            the full width's ranking does, so that agreement with it is no ground to turn them.
    """

    fingerprint: str
    name: str
    layer_norm: bool = False
    matryoshka: bool = False


class _Candidate(NamedTuple):
    """A way to fit."""

    method: Method
    labels: bool = False

    def __str__(self) -> str:
        return f"{self.method}, labels" if self.labels else self.method


class Heads(NamedTuple):
    """What documents and queries go through, perhaps the same."""

    documents: Head
    queries: Head


@dataclass(frozen=True, eq=False)
class Tried:
    """What was fitted, and how it did on held-out vectors.

    Attributes:
        base: Whose vectors they are.
        config: What was asked.
        heads: By the name of the method, with ", labels" where it learnt from these.
        best: The name of what to take; ``choosing.CUTTING`` where nothing is surely better.
        figures: What was measured, plain values for people.
    """

    base: Base
    config: AdaptConfig
    heads: Mapping[str, Heads]
    best: str
    figures: Mapping[str, Any]

    def adapter(self, name: str) -> Adapter:
        """Return one of them, or for ``CUTTING`` one that changes nothing."""
        dims = self.config.dims or ()
        same = Head(np.eye(max(dims), dtype=np.float32))
        heads = self.heads.get(name, Heads(same, same))
        return Adapter(
            method=cast(Method, name.partition(",")[0]),
            dims=dims,
            base=self.base.fingerprint,
            base_name=self.base.name,
            layer_norm=self.base.layer_norm,
            documents=heads.documents,
            queries=heads.queries,
            seed=self.config.seed,
            fitted=self.figures,
        )


def fit(
    sample: Sample, base: Base, config: AdaptConfig, *, on_progress: OnProgress | None = None
) -> Adapter:
    """Fit, measure and choose; arguments and errors as ``try_methods``."""
    tried = try_methods(sample, base, config, on_progress=on_progress)
    if config.method is None:
        return tried.adapter(tried.best)
    (asked,) = tried.heads
    if asked != tried.best:
        _logger.warning("%s is not surely better than cutting on held-out vectors", asked)
    return tried.adapter(asked)


def try_methods(
    sample: Sample, base: Base, config: AdaptConfig, *, on_progress: OnProgress | None = None
) -> Tried:
    """Fit what is asked for, or else each usual method, and measure it.

    Args:
        sample: Unit vectors, as ``check_vectors`` returns them.
        base: Whose they are.
        config: What is asked.
        on_progress: Called with training steps done and in all.

    Raises:
        InvalidArgument: If a dim is not within 1 and the full width, or two heads are asked for
            without queries.
        MissingExtra: If something is to be trained and PyTorch is not installed.
    """
    config = replace(config, dims=asked_dims(config.dims, sample.documents.shape[1]))
    if config.two_heads and not len(sample.queries):
        raise InvalidArgument("two heads need queries: give some, or leave two_heads out")
    parted = part(sample, seed=config.seed)
    candidates = _candidates(config.method, labeled=parted.fitted.labeled)
    if base.matryoshka and config.method is None and not parted.held_out.labeled:
        _logger.warning("%s is trained to be cut: only labels can show what is better", base.name)
        candidates = []
    start = time.perf_counter()
    trained = [each for each in candidates if each.method in TRAINED]
    in_turn = _in_turn(on_progress, trained, config.steps)
    heads = {str(each): _fit(each, parted.fitted, config, in_turn.get(each)) for each in candidates}
    seconds = time.perf_counter() - start
    yardstick = Yardstick.of(parted)
    dims = sorted(config.dims or ())
    measured = {CUTTING: yardstick.measure(None, None, dims)}
    measured |= {name: yardstick.measure(*each, dims) for name, each in heads.items()}
    of_labels = {str(each) for each in candidates if each.labels}
    best = choose(measured, of_labels=of_labels, seed=config.seed)
    figures = _figures(config, parted, yardstick, measured)
    figures |= {"better_than_cutting": best != CUTTING, "seconds": round(seconds, 1)}
    return Tried(base, config, heads, best, figures)


def asked_dims(dims: tuple[int, ...] | None, full_dim: int) -> tuple[int, ...]:
    """Return the widths asked for, widest first, the full one with them; None for halvings.

    Raises:
        InvalidArgument: If one is not within 1 and the full width, or none is below it.
    """
    if dims is None:
        dims = tuple(full_dim >> times for times in range(1, _HALVINGS + 1) if full_dim >> times)
    for dim in dims:
        if not 1 <= dim <= full_dim:
            raise InvalidArgument(f"dim {dim} is not within 1 and full_dim {full_dim}")
    if all(dim == full_dim for dim in dims):
        raise InvalidArgument(f"dims {full_dim} alone: at full width there is nothing to adapt")
    return tuple(sorted({*dims, full_dim}, reverse=True))


def _candidates(method: Method | None, *, labeled: bool) -> list[_Candidate]:
    """Return what is tried: unasked, what any tool can apply as one matrix, cheap to strong."""
    if method is not None:
        return [_Candidate(method, labeled and method in TRAINED)]
    usual = [_Candidate("svd"), _Candidate("linear")]
    if labeled:  # only relevance can tell whether whitening helps, or what was learnt of answers
        usual = [usual[0], _Candidate("whiten"), usual[1], _Candidate("linear", labels=True)]
    return usual


def _in_turn(
    on_progress: OnProgress | None, trained: Sequence[_Candidate], steps: int
) -> dict[_Candidate, OnProgress]:
    """Let each add its share to what is done of all; with labels its own steps are more."""

    def of(number: int) -> OnProgress:
        def tell(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(number * steps + done * steps // total, len(trained) * steps)

        return tell

    return {each: of(number) for number, each in enumerate(trained)}


def _fit(
    candidate: _Candidate, sample: Sample, config: AdaptConfig, on_progress: OnProgress | None
) -> Heads:
    method = candidate.method
    if method == "whiten":
        whitening = Head(fit_whitening(sample.documents).matrix)
        return Heads(whitening, whitening)
    axes = Head(fit_svd(sample.documents).matrix)
    if method == "svd":
        return Heads(axes, axes)
    require("torch", extra="train")
    training = Training(
        dims=config.dims or (),
        steps=config.steps,
        schedule=config.schedule,
        two_heads=config.two_heads,
        hidden=_HIDDEN * len(axes.matrix) if method == "mlp" else 0,
        seed=config.seed,
    )
    learnt_from = sample if candidate.labels else replace(sample, positives=None)
    return Heads(*train_heads(learnt_from, axes, training, on_progress=on_progress))


def _figures(
    config: AdaptConfig, parted: Parted, yardstick: Yardstick, measured: Mapping[str, HeldOutScores]
) -> dict[str, Any]:
    dims = [str(dim) for dim in sorted(config.dims or ())]
    return {
        "config": asdict(config),
        "documents": len(parted.fitted.documents),
        "queries": len(parted.fitted.queries),
        "labeled": parted.fitted.labeled,
        "held_out_documents": len(parted.held_out.documents),
        "held_out_queries": yardstick.n_asked,
        "metric": yardstick.metric,
        "means": {
            name: dict(zip(dims, found.said.mean(axis=1).round(4).tolist(), strict=True))
            for name, found in measured.items()
        },
    }
