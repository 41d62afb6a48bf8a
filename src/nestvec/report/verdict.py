"""What the report says first, in sentences: the verdict, how a point works, what is unknown.

Words only; what was chosen and why comes from the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nestvec.curve.point import CurvePoint
from nestvec.metrics.stats import lower_bound
from nestvec.planning.choose import Plan
from nestvec.planning.reasons import threshold_text
from nestvec.report.captions import evidence_line, is_agreement, measure_name
from nestvec.report.kept import Kept
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
    "float32": "32 bits",
    "float16": "16 bits",
    "int8": "8 bits",
    "int4": "4 bits",
    "int2": "2 bits",
    "binary": "1 bit",
    "pq4": "codes of 4 bits",
}

_K = 10  # whose recall is the measure of a longer list


@dataclass(frozen=True)
class Verdict:
    """The first screen in words.

    Attributes:
        warning: What must be known before anything else; empty if nothing.
        headline: The decision in one sentence.
        evidence: What the numbers rest on: a few words, and a sentence.
        details: How it works, and what it costs.
        unmeasured: What the measurement says nothing about.
    """

    warning: str
    headline: str
    evidence: tuple[str, str]
    details: tuple[str, ...]
    unmeasured: tuple[str, ...]


def pronounce(kept: Kept, plan: Plan | None) -> Verdict:
    """Put a curve and its plan into words."""
    shown = kept.curve.full if plan is None else kept.curve[plan.point]
    return Verdict(
        warning=_warning(kept),
        headline=_no_plan(kept) if plan is None else _headline(kept, plan),
        evidence=evidence_line(kept),
        details=(
            f"{how_it_works(shown.point, kept.curve.model.full_dim)} {_disk(shown)}".strip(),
            f"{_times(kept, shown)} {_longer_list(kept, shown)}".strip(),
        ),
        unmeasured=tuple(_unmeasured(kept)),
    )


def how_it_works(point: OperatingPoint, full_dim: int) -> str:
    """Say in words how a point searches.

    >>> how_it_works(OperatingPoint.parse("64:binary@200>512:int8"), 512)
    'Each search scans the first 64 dims at 1 bit each, keeps the best 200, and scores these again \
with all 512 dims at 8 bits each, read from disk.'
    """
    first, *others = point.stages
    if not others:
        return f"Each search scans {_dims(first, full_dim)}; nothing is read from disk."
    steps = [f"scans {_dims(first, full_dim)}, keeps the best {first.keep:,}"]
    for stage in others:
        keeps = "" if stage.keep is None else f", keeps the best {stage.keep:,}"
        again = f"scores these again with {_dims(stage, full_dim)}, read from disk{keeps}"
        steps.append(again)
    *before, last = steps
    return f"Each search {', '.join(before)}, and {last}."


def _dims(stage: Stage, full_dim: int) -> str:
    which = "all" if stage.dim == full_dim else "the first"
    return f"{which} {stage.dim:,} dims at {_BITS[stage.precision]} each"


def _headline(kept: Kept, plan: Plan) -> str:
    memory, was = (bytes_text(row.cost.ram_bytes_per_vector) for row in (plan.row, plan.full))
    share, at_least = percent(plan.retention), percent_at_least(plan.retention_at_least)
    agreement = is_agreement(kept)
    measure = measure_name(kept)
    if plan.confirmed:
        keeping = f"{share} (at least {at_least}) of {measure}"
        if agreement:
            keeping = f"{share} (at least {at_least}) {measure}"
        return (
            f"Keep {plan.point}: {memory} instead of {was} of memory for each vector, "
            f"{'with' if agreement else 'keeping'} {keeping}."
        )
    of = "" if agreement else "of "
    return (
        f"{'Not shown' if agreement else 'Not confirmed'}: {plan.point}, {memory} instead of {was} "
        f"of memory for each vector, seems to {'reach' if agreement else 'keep'} {share} "
        f"{of}{measure}, but no more than {at_least} is sure where "
        f"{threshold_text(plan.goal)} was asked."
    )


def _no_plan(kept: Kept) -> str:
    return (
        f"{len(kept.curve.points):,} operating points measured, none chosen: today each vector "
        f"takes {bytes_text(kept.curve.full.cost.ram_bytes_per_vector)} of memory."
    )


def _warning(kept: Kept) -> str:
    better = {
        f"{name} scores {score_text(score)} {metric_name(kept.metric)}": score
        for name, score in kept.baselines().items()
        if score > kept.full_score
    } | dict(_better_curves(kept))
    if not better or is_agreement(kept):
        return ""
    return (
        f"Dims are not the problem here: {max(better, key=lambda each: better[each])}, this model "
        f"at full width {score_text(kept.full_score)}. Look for a better model, or train one on "
        f"these texts, before saving memory."
    )


def _better_curves(kept: Kept) -> Iterator[tuple[str, float]]:
    """Find the other curves that score more in no more memory, by more than chance explains."""
    today = kept.curve.full
    for name, curve in kept.curves.items():
        if name == kept.name or kept.metric not in curve.scores.metrics:
            continue
        best = max(
            (
                row
                for row in curve.points
                if row.cost.ram_bytes_per_vector <= today.cost.ram_bytes_per_vector
            ),
            key=lambda row: (row.metrics[kept.metric], -row.cost.ram_bytes_per_vector),
            default=today,
        )
        if best is not today and _is_better(kept, name, best):
            score = best.metrics[kept.metric]
            size = bytes_text(best.cost.ram_bytes_per_vector)
            yield (
                f"{name} at {best.point} ({size}) scores {score_text(score)} "
                f"{metric_name(kept.metric)}",
                score,
            )


def _is_better(kept: Kept, name: str, row: CurvePoint) -> bool:
    today = kept.curve.per_query(kept.metric, kept.curve.full.point)
    differences = kept.curves[name].per_query(kept.metric, row.point) - today
    # Rounding must not push a difference below the least one that the bound knows.
    return lower_bound(np.clip(differences, -1.0, 1.0)) > 0


def _disk(row: CurvePoint) -> str:
    cost = row.cost
    if not cost.disk_bytes_per_vector:
        return ""
    return (
        f"That takes {bytes_text(cost.disk_bytes_per_vector)} of disk for each vector, of which "
        f"a search reads {bytes_text(cost.read_bytes_per_query)}."
    )


def _times(kept: Kept, row: CurvePoint) -> str:
    cost = row.cost
    search = (
        f"Searching takes {milliseconds_text(cost.p50_ms)} (median; 99th percentile "
        f"{milliseconds_text(cost.p99_ms)}), warm, on one thread."
    )
    if kept.curve.encode_ms is None:
        return search
    return (
        f"{search} Encoding a query takes {milliseconds_text(kept.curve.encode_ms)} before that, "
        f"at any width: fewer dims do not make encoding cheaper."
    )


def _longer_list(kept: Kept, row: CurvePoint) -> str:
    k = row.k_for_full_recall
    if k is None or row is kept.curve.full:
        return ""
    return f"Its first {k} results hold as many relevant documents as today’s first {_K}."


def _unmeasured(kept: Kept) -> Iterator[str]:
    documents = kept.curve.dataset.get("n_documents")
    queries = kept.curve.dataset.get("n_queries")
    if kept.curve.evidence == "agreement":
        yield "Quality: nobody has judged what is found, by full precision or otherwise."
    if kept.curve.evidence == "made queries":
        yield "Questions of people: these were made from the texts themselves."
    if isinstance(documents, int):
        yield f"More than {documents:,} documents: what is kept may fall as a corpus grows."
    else:
        yield "A larger corpus: what is kept may fall as a corpus grows."
    counted = f" than these {queries:,}" if isinstance(queries, int) else ""
    yield f"Other queries{counted}: another language, subject or way of asking."
    yield "How good the answers are that someone writes from the documents found."
    yield "Approximate indexes (HNSW, IVF): every stage was scanned in full."
    yield "Filters, updates, and many searches at once."
