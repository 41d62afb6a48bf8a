"""``nestvec report``: draw curves and a plan for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli.console import check_output, say, shown_path
from nestvec.errors import InvalidArgument


def report(
    curves: Annotated[list[Path], typer.Argument(help="Curves; the first is the subject.")],
    plan: Annotated[Path | None, typer.Option(help="What `nestvec plan` wrote.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What to show; else the plan's, or the first measured.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("report.html"),
    chart: Annotated[Path | None, typer.Option(help="Also the picture: .svg or .png.")] = None,
    card: Annotated[
        Path | None, typer.Option(help="Also the table for a model card, as Markdown.")
    ] = None,
) -> None:
    """Write one self-contained page about a curve, and the plan made from it.

    Example: `nestvec report curve.json --plan plan.json --out report.html`
    """
    from nestvec.curve.curve import Curve
    from nestvec.planning.choose import Plan
    from nestvec.report.card import write_card
    from nestvec.report.chart import quality_chart, save_chart
    from nestvec.report.page import write_report

    written = [path for path in (out, chart, card) if path is not None]
    for path in written:
        check_output(path)
    loaded = {path.stem: Curve.load(path) for path in curves}
    if len(loaded) < len(curves):
        raise InvalidArgument(
            "two curves have the same file name, which is what the page calls them"
        )
    chosen = Plan.load(plan) if plan else None
    subject = next(iter(loaded.values()))
    shown = metric or (chosen.goal.metric if chosen else subject.main_metric)
    if chart:
        save_chart(quality_chart(loaded, chosen, metric=shown), chart)
    write_report(out, loaded, chosen, metric=shown)
    if card:
        write_card(card, subject, shown)
    for path in written:
        say(f"See  {shown_path(path)}")
