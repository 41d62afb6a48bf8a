"""What the pictures and the page say of a curve: what its numbers rest on, titles, descriptions.

Agreement with full precision says nothing about right or wrong, so it is never described by the
words for quality.
"""

from __future__ import annotations

from nestvec.planning.choose import Plan
from nestvec.report.kept import Kept
from nestvec.wording import bytes_text, metric_name, percent, percent_at_least, score_text

_AGREEMENT = ("overlap@", "rbo@")


def is_agreement(kept: Kept) -> bool:
    """Tell whether what is kept is likeness to full precision, and not quality."""
    return kept.curve.evidence == "agreement" or kept.metric.startswith(_AGREEMENT)


def measure_name(kept: Kept) -> str:
    """Name what is kept, so that agreement cannot be taken for quality."""
    name = metric_name(kept.metric)
    return f"agreement with full precision ({name})" if is_agreement(kept) else name


def axis_title(kept: Kept) -> str:
    """Write what a percentage of the pictures and tables means."""
    if is_agreement(kept):
        return f"% agreement ({metric_name(kept.metric)})"
    return f"% of {metric_name(kept.metric)} kept"


def picture_name(kept: Kept) -> str:
    """Name what the first picture shows against memory."""
    return "Agreement" if is_agreement(kept) else "Quality kept"


def evidence_line(kept: Kept) -> tuple[str, str]:
    """Return what the numbers rest on: two or three words, and a sentence."""
    counted, task = (kept.curve.dataset.get(name) for name in ("n_queries", "task"))
    if isinstance(task, str):
        return f"Evidence: {task}", f"{counted:,} of them, as people have judged them."
    queries = f"{counted:,} queries" if isinstance(counted, int) else "queries"
    match kept.curve.evidence:
        case "agreement":
            return (
                "Evidence: agreement only",
                f"{queries} without relevance labels. Every percentage measures how far a point "
                f"agrees with full precision, not whether the results are relevant.",
            )
        case "made queries":
            return (
                "Evidence: made queries",
                f"{queries} made from the corpus, each with the text that it was taken from as the "
                f"one right answer. What people ask is less like the texts, and may lose more.",
            )
        case _:
            return (
                "Evidence: judged queries",
                f"{queries}, each with documents that are known to be relevant.",
            )


def title(kept: Kept) -> str:
    """Write what the vertical axis shows."""
    return axis_title(kept)


def note(kept: Kept, floor: float, below: int) -> str:
    """Write what stands for 100 %, where the axis begins and what lies below it."""
    name = f"{kept.name} at " if len(kept.curves) > 1 else ""
    score = f"{metric_name(kept.metric)} {score_text(kept.full_score)}"
    text = f"100 % is {name}{kept.curve.model.full_dim:,} dims, float32: {score}"
    if floor > 0:
        text += f". The axis begins at {floor:g} %"
    if below:
        text += f"; {below} {'points lie' if below > 1 else 'point lies'} below it"
    return text + "."


def chosen_note(kept: Kept, plan: Plan) -> str:
    """Write what a plan's point takes and keeps."""
    size = bytes_text(plan.row.cost.ram_bytes_per_vector)
    if not plan.confirmed:
        return f"{size}, not {'shown' if is_agreement(kept) else 'confirmed'}"
    verb = "agrees by" if is_agreement(kept) else "keeps"
    return f"{size}, {verb} at least {percent_at_least(plan.retention_at_least)}"


def asked_share(plan: Plan) -> float:
    """Return what a plan had to keep, as a share of full width."""
    if plan.goal.kind == "drop":
        return 1 + plan.goal.threshold / plan.full.metrics[plan.goal.metric]
    return plan.goal.threshold


def describe_quality(kept: Kept, plan: Plan | None) -> str:
    """Describe the picture of quality against memory."""
    full = kept.curve.full
    text = (
        f"Chart: {picture_name(kept).lower()}, by {metric_name(kept.metric)}, against memory for "
        f"each vector. Today {full.point} takes {bytes_text(full.cost.ram_bytes_per_vector)}."
    )
    if plan is not None:
        text += f" The plan, {plan.point}: {chosen_note(kept, plan)}."
    return text


def describe_dims(kept: Kept) -> str:
    """Describe the picture of quality by dims."""
    shares = ", ".join(
        f"{percent(kept.share(row))} at {dim}"
        for dim, row in kept.singles(kept.name, "float32").items()
    )
    return f"Chart: {measure_name(kept)} kept by dims. {kept.name} float32: {shares}."
