"""The first texts of the report: the verdict, how a search works, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nestvec.curve.point import CurvePoint
from nestvec.curve.sample import full_corpus_text, sample_of
from nestvec.metrics.stats import lower_bound
from nestvec.planning.choose import Plan
from nestvec.planning.reasons import threshold_text
from nestvec.report.captions import evidence_line, is_agreement, measure_name
from nestvec.report.comparison import CurveComparison
from nestvec.types import OperatingPoint, Stage
from nestvec.wording import (
    bytes_text,
    metric_name,
    milliseconds_text,
    percent,
    percent_at_least,
    score_text,
)

_BITS: Mapping[str, str] = {
    "float32": "32 bits each",
    "float16": "16 bits each",
    "int8": "8 bits each",
    "int4": "4 bits each",
    "int2": "2 bits each",
    "binary": "1 bit each",
    "sign": "1 bit each",
    "pq4": "4 bits per pair",
}

_FULL_K = 10  # k of full precision to which k_for_full_recall refers


@dataclass(frozen=True)
class Verdict:
    """The texts at the top of the report.

    Attributes:
        warning: A reason not to compress this model, or an empty string.
        headline: The decision in one or two sentences.
        evidence: The kind of evidence in a few words, and its description.
        details: How a search works and what it costs.
        unmeasured: What was not measured.
    """

    warning: str
    headline: str
    evidence: tuple[str, str]
    details: tuple[str, ...]
    unmeasured: tuple[str, ...]


def write_verdict(comparison: CurveComparison, plan: Plan | None) -> Verdict:
    """Return the texts for a curve and its plan."""
    shown = comparison.curve.full if plan is None else comparison.curve[plan.point]
    return Verdict(
        warning=_warning(comparison),
        headline=_no_plan(comparison) if plan is None else _headline(comparison, plan),
        evidence=evidence_line(comparison),
        details=(
            f"{how_it_works(shown.point, comparison.curve.model.full_dim)} {_disk(shown)}".strip(),
            f"{_times(comparison, shown)} {_longer_list(comparison, shown)}".strip(),
        ),
        unmeasured=tuple(_unmeasured(comparison)),
    )


def how_it_works(point: OperatingPoint, full_dim: int) -> str:
    """Describe a search at a point.

    >>> how_it_works(OperatingPoint.parse("64:binary@200>512:int8"), 512)
    'Each search scans the first 64 dims at 1 bit each, shortlists the best 200, and rescores them \
with all 512 dims at 8 bits each, read from disk.'
    """
    first, *others = point.stages
    if not others:
        return f"Each search scans {_dims(first, full_dim)}; nothing is read from disk."
    steps = [f"scans {_dims(first, full_dim)}, shortlists the best {first.keep:,}"]
    for stage in others:
        shortlist = "" if stage.keep is None else f", shortlists the best {stage.keep:,}"
        steps.append(f"rescores them with {_dims(stage, full_dim)}, read from disk{shortlist}")
    *before, last = steps
    return f"Each search {', '.join(before)}, and {last}."


def _dims(stage: Stage, full_dim: int) -> str:
    which = "all" if stage.dim == full_dim else "the first"
    return f"{which} {stage.dim:,} dims at {_BITS[stage.precision]}"


def _headline(comparison: CurveComparison, plan: Plan) -> str:
    memory, full_memory = (
        bytes_text(row.cost.ram_bytes_per_vector) for row in (plan.row, plan.full)
    )
    share, at_least = percent(plan.retention), percent_at_least(plan.retention_at_least)
    agreement = is_agreement(comparison)
    measure = measure_name(comparison) if agreement else f"of {measure_name(comparison)}"
    if plan.confirmed:
        return (
            f"Use {plan.point}: {memory} instead of {full_memory} of memory per vector, "
            f"{'with' if agreement else 'retaining'} {share} (at least {at_least}) {measure}."
        )
    return (
        f"{'Not shown' if agreement else 'Not confirmed'}: {plan.point}, with {memory} instead of "
        f"{full_memory} of memory per vector, is estimated to "
        f"{'reach' if agreement else 'retain'} {share} {measure}. The lower bound is {at_least} "
        f"with {plan.budget.confidence * 100:g} % confidence; the target is "
        f"{threshold_text(plan.goal)}."
    )


def _no_plan(comparison: CurveComparison) -> str:
    return (
        f"{len(comparison.curve.points):,} operating points were measured, and none is chosen. "
        f"At full precision, each vector needs "
        f"{bytes_text(comparison.curve.full.cost.ram_bytes_per_vector)} of memory."
    )


def _warning(comparison: CurveComparison) -> str:
    better = {
        f"{name} scores {score_text(score)} {metric_name(comparison.metric)}": score
        for name, score in comparison.baselines().items()
        if score > comparison.full_score
    } | dict(_better_curves(comparison))
    if not better or is_agreement(comparison):
        return ""
    return (
        f"{max(better, key=lambda each: better[each])}, more than this model at full precision "
        f"({score_text(comparison.full_score)}). Choose a better model, or train one on these "
        f"texts, before you reduce memory."
    )


def _better_curves(comparison: CurveComparison) -> Iterator[tuple[str, float]]:
    """Yield the other curves that score significantly more (95 %) with no more memory."""
    full = comparison.curve.full
    for name, curve in comparison.curves.items():
        if name == comparison.name or comparison.metric not in curve.scores.metrics:
            continue
        best = max(
            (
                row
                for row in comparison.rows(name)
                if row.cost.ram_bytes_per_vector <= full.cost.ram_bytes_per_vector
            ),
            key=lambda row: (row.metrics[comparison.metric], -row.cost.ram_bytes_per_vector),
            default=full,
        )
        if best is not full and _is_better(comparison, name, best):
            score = best.metrics[comparison.metric]
            size = bytes_text(best.cost.ram_bytes_per_vector)
            yield (
                f"{name} at {best.point} ({size}) scores {score_text(score)} "
                f"{metric_name(comparison.metric)}",
                score,
            )


def _is_better(comparison: CurveComparison, name: str, row: CurvePoint) -> bool:
    full = comparison.curve.per_query(comparison.metric, comparison.curve.full.point)
    differences = comparison.curves[name].per_query(comparison.metric, row.point) - full
    # lower_bound rejects values below -1, which rounding could produce.
    return lower_bound(np.clip(differences, -1.0, 1.0)) > 0


def _disk(row: CurvePoint) -> str:
    cost = row.cost
    if not cost.disk_bytes_per_vector:
        return ""
    return (
        f"Each vector also needs {bytes_text(cost.disk_bytes_per_vector)} on disk. A search reads "
        f"{bytes_text(cost.read_bytes_per_query)} from disk."
    )


def _times(comparison: CurveComparison, row: CurvePoint) -> str:
    cost = row.cost
    search = (
        f"A search takes {milliseconds_text(cost.p50_ms)} (median; 99th percentile: "
        f"{milliseconds_text(cost.p99_ms)}) on one thread with a warm page cache."
    )
    if comparison.curve.encode_ms is None:
        return search
    return (
        f"{search} Encoding the query takes another "
        f"{milliseconds_text(comparison.curve.encode_ms)}; fewer dims do not make encoding cheaper."
    )


def _longer_list(comparison: CurveComparison, row: CurvePoint) -> str:
    k = row.k_for_full_recall
    if k is None or row is comparison.curve.full:
        return ""
    return (
        f"The top {k} results contain as many relevant documents as the top {_FULL_K} at full "
        f"precision."
    )


def _unmeasured(comparison: CurveComparison) -> Iterator[str]:
    documents = comparison.curve.dataset.get("n_documents")
    queries = comparison.curve.dataset.get("n_queries")
    if comparison.curve.evidence == "agreement":
        yield "Quality: there are no relevance labels, not even for full precision."
    if comparison.curve.evidence == "made queries":
        yield "Real queries: the queries were generated from the corpus."
    if sample_of(comparison.curve.dataset) is not None:
        yield f"The full corpus. {full_corpus_text(comparison.curve.dataset)}"
    elif isinstance(documents, int):
        yield f"More than {documents:,} documents: quality may fall as a corpus grows."
    else:
        yield "A larger corpus: quality may fall as a corpus grows."
    counted = f" than these {queries:,}" if isinstance(queries, int) else ""
    yield f"Other queries{counted}: another language, subject or style."
    yield "Answers that are generated from the retrieved documents."
    yield "Approximate indexes (HNSW, IVF): each search scanned all vectors."
    yield "Filters, updates and concurrent searches."
