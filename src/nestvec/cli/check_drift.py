"""The options and the lines of ``nestvec check`` about drift and score thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import print_wrapped, shell_place
from nestvec.wording import count_text, percent

if TYPE_CHECKING:
    from nestvec.operate.check_report import CheckReport
    from nestvec.operate.drift_report import CalibrationCheck, CanaryCheck
    from nestvec.operate.thresholds import ScoreThreshold

CanariesOption = Annotated[
    bool | None,
    typer.Option(
        "--canaries/--no-canaries",
        help="Encode the canaries of the index again: texts with the vectors that the model "
        "returned before. With --canaries, the texts are also sent to an API model.",
        show_default="encode them, unless the model is an API model",
    ),
]
MinCosineOption = Annotated[
    float,
    typer.Option(
        help="Exit with code 1 if the model returns a vector for a canary with a lower cosine to "
        "the stored vector, such as .999."
    ),
]
ThresholdOption = Annotated[
    bool,
    typer.Option(
        "--threshold",
        help="Fit a score threshold to the labels: the one that maximizes F1 over all queries "
        "with their first k results. Needs --qrels.",
    ),
]


def print_drift(report: CheckReport) -> None:
    """Print what a check found about the model, the calibration and the score threshold."""
    if report.canaries is not None:
        _print_canaries(report.canaries)
    if report.calibration is not None:
        _print_calibration(report.calibration, report.place)
    if report.threshold is not None:
        _print_threshold(report.threshold, report.overlaps[-1].k)


def _print_canaries(found: CanaryCheck) -> None:
    if found.lowest is None or found.mean is None:
        print_wrapped(f"canaries  {found.skipped}")
        return
    noted = f"; {found.noted}" if found.noted else ""
    print_wrapped(
        f"canaries  {count_text(found.texts, 'text')} of {found.recorded_at[:10]}: lowest cosine "
        f"{found.lowest:.4f}, mean {found.mean:.4f} (limit {found.min_cosine:g}) by "
        f"{found.model}{noted}"
    )


def _print_calibration(found: CalibrationCheck, place: str) -> None:
    parts = [f"{each.dim}:{each.precision} {percent(each.outside)}" for each in found.codecs]
    added = "" if found.added is None else f"; {percent(found.added)} of values added later"
    print_wrapped(
        f"codes     values outside their calibration: {', '.join(parts)} of "
        f"{count_text(found.documents, 'sampled document')}{added}"
    )
    if found.is_due:
        limit = percent(found.max_outside)
        print_wrapped(
            f"try       nestvec index compact {shell_place(place)}: more than {limit} are outside"
        )


def _print_threshold(found: ScoreThreshold, k: int) -> None:
    def shown(name: str, value: float, interval: tuple[float, float], digits: int) -> str:
        low, high = (f"{each:.{digits}f}" for each in interval)
        return f"{name} {value:.{digits}f} ({low} to {high})"

    parts = [
        shown("threshold", found.threshold, found.threshold_interval, 4),
        shown("precision", found.precision, found.precision_interval, 3),
        shown("recall", found.recall, found.recall_interval, 3),
    ]
    print_wrapped(
        f"{', '.join(parts)}; 95 % intervals. Fitted on {found.pairs:,} results of "
        f"{count_text(found.queries, 'query')} (k = {k}), {found.relevant:,} of them relevant"
    )
