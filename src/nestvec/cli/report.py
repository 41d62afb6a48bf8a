"""``nestvec report``: write curves and a plan as an HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestvec.cli.console import check_output, print_line, shown_path
from nestvec.cli.options import PlanOption
from nestvec.errors import InvalidArgument

_Curves = Annotated[
    list[Path],
    typer.Argument(
        help="Curve files that 'nestvec evaluate' wrote. The first is the subject of the report, "
        "the others are shown for comparison."
    ),
]
_Metric = Annotated[
    str | None,
    typer.Option(
        help="Metric to show, such as ndcg@10.",
        show_default="the plan's metric, or the curve's first",
    ),
]
_Out = Annotated[Path, typer.Option(help="HTML file to write.")]
_Chart = Annotated[
    Path | None, typer.Option(help="Also write the chart as an image: .svg or .png.")
]
_Card = Annotated[Path | None, typer.Option(help="Also write a Markdown table for a model card.")]


def report(
    curves: _Curves,
    plan: PlanOption = None,
    metric: _Metric = None,
    out: _Out = Path("report.html"),
    chart: _Chart = None,
    card: _Card = None,
) -> None:
    """Write a self-contained HTML page about curves and a plan.

    Example: nestvec report curve.json --plan plan.json --out report.html
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
            "two curves have the same file name, and the report needs different names. Rename one."
        )
    chosen = Plan.load(plan) if plan else None
    subject = next(iter(loaded.values()))
    shown = metric or (chosen.goal.metric if chosen else subject.main_metric)
    if chart:
        save_chart(quality_chart(loaded, chosen, metric=shown), chart)
    write_report(loaded, out, chosen, metric=shown)
    if card:
        write_card(subject, card, shown)
    for path in written:
        print_line(f"See  {shown_path(path)}")
