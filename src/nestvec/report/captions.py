"""Texts of the charts and the page: titles, notes, descriptions and the kind of evidence.

Agreement with full precision does not measure relevance, so it has its own words.
"""

from __future__ import annotations

from nestvec.curve.sample import sample_of, sampled_queries_text
from nestvec.metrics import relevance
from nestvec.planning.choose import Plan
from nestvec.report.comparison import CurveComparison
from nestvec.wording import bytes_text, metric_name, percent, percent_at_least, score_text

RETRIEVAL = "retrieval"  # the task of a curve that was measured with queries


def is_agreement(comparison: CurveComparison) -> bool:
    """Return whether the metric is agreement with full precision instead of quality."""
    return relevance.is_agreement(comparison.metric)


def measure_name(comparison: CurveComparison) -> str:
    """Return the name of the metric, which distinguishes agreement from quality."""
    name = metric_name(comparison.metric)
    return f"agreement with full precision ({name})" if is_agreement(comparison) else name


def axis_title(comparison: CurveComparison) -> str:
    """Return the meaning of the percentages in the charts and tables."""
    if is_agreement(comparison):
        return f"% agreement ({metric_name(comparison.metric)})"
    return f"% of {metric_name(comparison.metric)} retained"


def quantity(comparison: CurveComparison) -> str:
    """Return the name of the quantity in the first chart."""
    return "agreement" if is_agreement(comparison) else "quality retained"


def evidence_line(comparison: CurveComparison) -> tuple[str, str]:
    """Return the kind of evidence in a few words, and its description in a few sentences."""
    kind, text = _evidence(comparison)
    dataset = comparison.curve.dataset
    sample = sample_of(dataset)
    measured = "" if sample is None else f"Measured on {sample}."
    return kind, " ".join(filter(None, (text, sampled_queries_text(dataset), measured)))


def _evidence(comparison: CurveComparison) -> tuple[str, str]:
    counted, task = (comparison.curve.dataset.get(name) for name in ("n_queries", "task"))
    count = f"{counted:,} " if isinstance(counted, int) else ""
    if task not in (None, RETRIEVAL):
        return f"Evidence: {task}", f"{count}{task} with human labels."
    queries = f"{count}queries"
    match comparison.curve.evidence:
        case "agreement":
            return (
                "Evidence: agreement only",
                f"{queries} without relevance labels. Each percentage is the agreement of a point "
                "with full precision. The relevance of the results is unknown.",
            )
        case "made queries":
            return (
                "Evidence: generated queries",
                f"{queries} generated from the corpus. The only relevant document of a query is "
                "its source document. Real queries differ more from the documents, and may lose "
                "more quality.",
            )
        case _:
            return (
                "Evidence: relevance labels",
                f"{queries}, each with one or more documents labeled as relevant.",
            )


def note(comparison: CurveComparison, floor: float, below: int) -> str:
    """Return what 100 % is, where the axis starts and how many points are below the axis."""
    name = f"{comparison.name} at " if len(comparison.curves) > 1 else ""
    score = f"{metric_name(comparison.metric)} {score_text(comparison.full_score)}"
    text = f"100 % is {name}{comparison.curve.model.full_dim:,} dims, float32: {score}"
    if floor > 0:
        text += f". The axis starts at {floor:g} %"
    if below:
        text += f"; {below} {'points are' if below > 1 else 'point is'} below"
    return text + "."


def chosen_note(comparison: CurveComparison, plan: Plan) -> str:
    """Return the memory and the confirmed quality of the point of a plan."""
    size = bytes_text(plan.row.cost.ram_bytes_per_vector)
    if not plan.confirmed:
        return f"{size}, not {'shown' if is_agreement(comparison) else 'confirmed'}"
    verb = "agreement of" if is_agreement(comparison) else "retains"
    return f"{size}, {verb} at least {percent_at_least(plan.retention_at_least)}"


def target_share(plan: Plan) -> float:
    """Return the target of a plan as a share of full precision."""
    if plan.goal.kind == "drop":
        return 1 + plan.goal.threshold / plan.full.metrics[plan.goal.metric]
    return plan.goal.threshold


def describe_quality(comparison: CurveComparison, plan: Plan | None) -> str:
    """Describe the chart of quality against memory."""
    full = comparison.curve.full
    text = (
        f"Chart of {quantity(comparison)} ({metric_name(comparison.metric)}) against memory per "
        f"vector. Full precision, {full.point}, needs {bytes_text(full.cost.ram_bytes_per_vector)}."
    )
    if plan is not None:
        text += f" The plan, {plan.point}: {chosen_note(comparison, plan)}."
    return text


def describe_dims(comparison: CurveComparison) -> str:
    """Describe the chart of quality by dims."""
    shares = ", ".join(
        f"{percent(comparison.share(row))} at {dim}"
        for dim, row in comparison.single_stage(comparison.name, "float32").items()
    )
    measure = measure_name(comparison)
    return f"Chart of {measure} by dims, in percent. {comparison.name} float32: {shares}."
