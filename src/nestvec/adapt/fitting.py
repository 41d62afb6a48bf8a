"""Fit adapters on arrays of vectors, compare them on held-out vectors, and choose one.

Methods are fitted from cheap to strong. ``recipes.adapting`` collects the vectors of a model.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np

from nestvec.adapt.projections import fit_svd, fit_whitening
from nestvec.adapt.sample import HeldOutSplit, Sample, split_sample
from nestvec.adapt.selection import TRUNCATION, HeldOutEvaluator, HeldOutScores, choose
from nestvec.adapt.training import Schedule, Training, train_heads
from nestvec.errors import InvalidArgument, check_least, require
from nestvec.models.adapter import METHODS, Adapter, Head, Method
from nestvec.types import OnProgress, begin_step

FITTED = tuple(method for method in METHODS if method != TRUNCATION)
TRAINED: tuple[Method, ...] = ("linear", "mlp")
_HIDDEN_FACTOR = 2  # hidden units of an mlp for each dim of the vectors
_HALVINGS = 4  # default dims: the full width divided by 2, 4, 8 and 16

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdaptConfig:
    """Settings of an adapter fit.

    Attributes:
        dims: Truncation dims to optimize. The full width is always added. None uses the full width
            divided by 2, 4, 8 and 16.
        method: Method to fit. None fits the default methods and chooses the best by measurement. A
            named method is returned even if it is not better than truncation; a warning is logged.
        schedule: "joint" or "sequential" training, see ``Training``.
        two_heads: Train a separate head for queries. Requires queries and a trained method.
        steps: Training steps. With labels, twice as many steps are made.
        sample: Maximum number of documents, and of queries, to fit on.
        seed: Seed of all random draws.
    """

    dims: tuple[int, ...] | None = None
    method: Method | None = None
    schedule: Schedule = "joint"
    two_heads: bool = False
    steps: int = 200
    sample: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the vectors."""
        if self.method is not None and self.method not in FITTED:
            raise InvalidArgument(f"method={self.method!r} is not one of {', '.join(FITTED)}.")
        check_least(self, seed=0, sample=1)
        if self.two_heads and self.method not in TRAINED:
            methods = " or ".join(map(repr, TRAINED))
            raise InvalidArgument(f"two_heads needs a trained method. Set method to {methods}.")
        Training(dims=(), steps=self.steps, schedule=self.schedule)


@dataclass(frozen=True)
class Base:
    """The model that produced the vectors.

    Attributes:
        fingerprint: Fingerprint of the model; "" if the model is not known.
        name: Name of the model in messages.
        layer_norm: Whether the vectors of the sample were layer-normalized.
        matryoshka: Whether the model was trained with Matryoshka. Such prefixes can rank by
            relevance better than agreement with the full-width ranking shows. Without labels, no
            method is therefore tried.
    """

    fingerprint: str
    name: str
    layer_norm: bool = False
    matryoshka: bool = False


class _Candidate(NamedTuple):
    """A method, and whether it is fitted on relevance labels."""

    method: Method
    labels: bool = False

    def __str__(self) -> str:
        return f"{self.method}, labels" if self.labels else self.method


class Heads(NamedTuple):
    """The transforms of documents and of queries; the same object if there is one head."""

    documents: Head
    queries: Head


@dataclass(frozen=True, eq=False)
class MethodComparison:
    """Fitted methods and their scores on held-out vectors.

    Attributes:
        base: The model that produced the vectors.
        config: Settings of the fit.
        heads: Fitted heads by method name; ", labels" is appended if labels were used.
        best: Name of the best method; ``selection.TRUNCATION`` if no method is significantly
            better than truncation.
        figures: Settings and measured values, stored in the adapter file for users to read.
    """

    base: Base
    config: AdaptConfig
    heads: Mapping[str, Heads]
    best: str
    figures: Mapping[str, Any]

    def adapter(self, name: str) -> Adapter:
        """Return the adapter of a method; for ``TRUNCATION``, an adapter with no effect."""
        dims = self.config.dims or ()
        identity = Head(np.eye(max(dims), dtype=np.float32))
        heads = self.heads.get(name, Heads(identity, identity))
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
    """Fit methods, measure them on held-out vectors, and return the best adapter.

    Arguments and errors are those of ``compare_methods``. If ``config`` names a method, the adapter
    of this method is returned.
    """
    comparison = compare_methods(sample, base, config, on_progress=on_progress)
    if config.method is None:
        return comparison.adapter(comparison.best)
    (name,) = comparison.heads
    if name != comparison.best:
        _logger.warning("%s is not significantly better than truncation on held-out vectors", name)
    return comparison.adapter(name)


def compare_methods(
    sample: Sample, base: Base, config: AdaptConfig, *, on_progress: OnProgress | None = None
) -> MethodComparison:
    """Fit the configured method, or each default method, and measure it on held-out vectors.

    Args:
        sample: Unit vectors, as returned by ``check_vectors``.
        base: The model that produced the vectors.
        config: Settings of the fit.
        on_progress: Called with the training steps done and their total.

    Raises:
        InvalidArgument: If a dim is outside 1 to the full width, or ``two_heads`` is set and the
            sample has no queries.
        MissingExtra: If a method needs training and PyTorch is not installed.
    """
    config = replace(config, dims=resolve_dims(config.dims, sample.documents.shape[1]))
    if config.two_heads and not len(sample.queries):
        raise InvalidArgument("two_heads needs queries. Pass queries, or do not set two_heads.")
    split = split_sample(sample, seed=config.seed)
    candidates = _candidates(config.method, labeled=split.fitted.labeled)
    if base.matryoshka and config.method is None and not split.held_out.labeled:
        _logger.warning(
            "%s was trained with Matryoshka: no method is tried, because only relevance labels "
            "can show that an adapter is better",
            base.name,
        )
        candidates = []
    start = time.perf_counter()
    begin_step(on_progress, "fit adapters")
    trained = [each for each in candidates if each.method in TRAINED]
    progress_of = _progress_per_candidate(on_progress, trained, config.steps)
    heads = {
        str(each): _fit(each, split.fitted, config, progress_of.get(each)) for each in candidates
    }
    seconds = time.perf_counter() - start
    evaluator = HeldOutEvaluator.of(split)
    dims = sorted(config.dims or ())
    measured = {TRUNCATION: evaluator.measure(None, None, dims)}
    measured |= {name: evaluator.measure(*each, dims) for name, each in heads.items()}
    label_fitted = {str(each) for each in candidates if each.labels}
    best = choose(measured, label_fitted=label_fitted, seed=config.seed)
    figures = _figures(config, split, evaluator, measured)
    figures |= {"better_than_cutting": best != TRUNCATION, "seconds": round(seconds, 1)}
    return MethodComparison(base, config, heads, best, figures)


def resolve_dims(dims: tuple[int, ...] | None, full_dim: int) -> tuple[int, ...]:
    """Return the dims in descending order, including the full width; None for the default dims.

    Raises:
        InvalidArgument: If a dim is outside 1 to the full width, or no dim is below it.
    """
    if dims is None:
        dims = tuple(full_dim >> times for times in range(1, _HALVINGS + 1) if full_dim >> times)
    for dim in dims:
        if not 1 <= dim <= full_dim:
            problem = f"dim {dim} is not within 1 and full_dim {full_dim}."
            raise InvalidArgument(f"{problem} Choose a value from 1 to {full_dim}.")
    if all(dim == full_dim for dim in dims):
        raise InvalidArgument(f"No dim is less than full_dim={full_dim}. Add a smaller dim.")
    return tuple(sorted({*dims, full_dim}, reverse=True))


def _candidates(method: Method | None, *, labeled: bool) -> list[_Candidate]:
    """Return the methods to fit, from cheap to strong.

    The default methods are single matrices, which any tool can apply.
    """
    if method is not None:
        return [_Candidate(method, labeled and method in TRAINED)]
    svd, linear = _Candidate("svd"), _Candidate("linear")
    if labeled:  # only labels can show whether whitening or training on labels helps
        return [svd, _Candidate("whiten"), linear, _Candidate("linear", labels=True)]
    return [svd, linear]


def _progress_per_candidate(
    on_progress: OnProgress | None, trained: Sequence[_Candidate], steps: int
) -> dict[_Candidate, OnProgress]:
    """Return a callback for each trained candidate that reports progress over all candidates.

    Each candidate counts ``steps`` steps, although training with labels makes more.
    """

    def callback(number: int) -> OnProgress:
        def report(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(number * steps + done * steps // total, len(trained) * steps)

        return report

    return {each: callback(number) for number, each in enumerate(trained)}


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
        hidden=_HIDDEN_FACTOR * len(axes.matrix) if method == "mlp" else 0,
        seed=config.seed,
    )
    if not candidate.labels:
        sample = replace(sample, positives=None)
    return Heads(*train_heads(sample, axes, training, on_progress=on_progress))


def _figures(
    config: AdaptConfig,
    split: HeldOutSplit,
    evaluator: HeldOutEvaluator,
    measured: Mapping[str, HeldOutScores],
) -> dict[str, Any]:
    dims = [str(dim) for dim in sorted(config.dims or ())]
    return {
        "config": asdict(config),
        "documents": len(split.fitted.documents),
        "queries": len(split.fitted.queries),
        "labeled": split.fitted.labeled,
        "held_out_documents": len(split.held_out.documents),
        "held_out_queries": evaluator.n_queries,
        "metric": evaluator.metric,
        "means": {
            name: dict(zip(dims, scores.primary.mean(axis=1).round(4).tolist(), strict=True))
            for name, scores in measured.items()
        },
    }
