"""What the report says first, in sentences: the verdict, how a point works, what is unknown.

Words only; what was chosen and why comes from the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nestvec.curve_point import CurvePoint
from nestvec.plan.choose import Plan
from nestvec.plan.reasons import percent, percent_at_least
from nestvec.report.kept import Kept, bytes_text, metric_name, milliseconds_text, score_text
from nestvec.types import OperatingPoint, Precision, Stage

_BITS: dict[Precision, str] = {
    "float32": "32 bits",
    "float16": "16 bits",
    "int8": "8 bits",
    "int4": "4 bits",
    "int2": "2 bits",
    "binary": "1 bit",
}


@dataclass(frozen=True)
class Verdict:
    """The first screen in words.

    Attributes:
        warning: What must be known before anything else; empty if nothing.
        headline: The decision in one sentence.
        details: How it works, and what it costs.
        unmeasured: What the measurement says nothing about.
    """

    warning: str
    headline: str
    details: tuple[str, ...]
    unmeasured: tuple[str, ...]


def pronounce(kept: Kept, plan: Plan | None) -> Verdict:
    """Put a curve and its plan into words."""
    shown = kept.curve.full if plan is None else kept.curve[plan.point]
    return Verdict(
        warning=_warning(kept),
        headline=_no_plan(kept) if plan is None else _headline(plan),
        details=(
            f"{how_it_works(shown.point, kept.curve.model.full_dim)} {_disk(shown)}".strip(),
            _times(kept, shown),
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


def _headline(plan: Plan) -> str:
    metric = metric_name(plan.budget.metric)
    memory, was = (bytes_text(row.cost.ram_bytes_per_vector) for row in (plan.row, plan.full))
    kept, at_least = percent(plan.retention), percent_at_least(plan.retention_at_least)
    if plan.confirmed:
        return (
            f"Keep {plan.point}: {memory} instead of {was} of memory for each vector, keeping "
            f"{kept} (at least {at_least}) of {metric}."
        )
    return (
        f"Not confirmed: {plan.point}, {memory} instead of {was} of memory for each vector, "
        f"seems to keep {kept} of {metric}, but no more than {at_least} is sure where "
        f"{plan.budget.min_retention * 100:g} % was asked."
    )


def _no_plan(kept: Kept) -> str:
    return (
        f"{len(kept.curve.points):,} operating points measured, none chosen: today each vector "
        f"takes {bytes_text(kept.curve.full.cost.ram_bytes_per_vector)} of memory."
    )


def _warning(kept: Kept) -> str:
    better = {name: score for name, score in kept.baselines().items() if score > kept.full_score}
    if not better:
        return ""
    name = max(better, key=lambda each: better[each])
    return (
        f"Dims are not the problem here: {name} scores {score_text(better[name])} "
        f"{metric_name(kept.metric)}, this model at full width {score_text(kept.full_score)}. "
        f"Look for a better model, or train one on these texts, before saving memory."
    )


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
    return (
        f"Searching takes {milliseconds_text(cost.p50_ms)} (median; 99th percentile "
        f"{milliseconds_text(cost.p99_ms)}), warm, on one thread. Encoding a query takes "
        f"{milliseconds_text(kept.curve.encode_ms)} before that, at any width: fewer dims do not "
        f"make encoding cheaper."
    )


def _unmeasured(kept: Kept) -> Iterator[str]:
    documents = kept.curve.dataset.get("n_documents")
    queries = kept.curve.dataset.get("n_queries")
    if isinstance(documents, int):
        yield f"More than {documents:,} documents: what is kept may fall as a corpus grows."
    else:
        yield "A larger corpus: what is kept may fall as a corpus grows."
    counted = f" than these {queries:,}" if isinstance(queries, int) else ""
    yield f"Other queries{counted}: another language, subject or way of asking."
    yield "How good the answers are that someone writes from the documents found."
    yield "Approximate indexes (HNSW, IVF): every stage was scanned in full."
    yield "Filters, updates, and many searches at once."
