"""The texts of the pictures: titles, notes, and descriptions for those who cannot see them."""

from __future__ import annotations

from nestvec.planning.choose import Plan
from nestvec.report.evidence import axis_title, is_agreement, measure_name, picture_name
from nestvec.report.kept import Kept
from nestvec.wording import bytes_text, metric_name, percent, percent_at_least, score_text


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
