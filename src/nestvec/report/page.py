"""Write the report: one self-contained HTML page that needs no network and no script.

Titles, queries and names are untrusted text. The template escapes them, and the page has a content
security policy as a second defense.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestvec.curve.curve import Curve
from nestvec.errors import InvalidArgument, ModelMismatch, require
from nestvec.files.atomic import replace_file
from nestvec.models.differences import differences, same_model
from nestvec.planning.choose import Plan
from nestvec.report.captions import axis_title, is_agreement
from nestvec.report.chart import quality_chart
from nestvec.report.comparison import CurveComparison
from nestvec.report.facts import list_facts
from nestvec.report.filtered_times import FilteredTimes
from nestvec.report.line_charts import dims_chart, has_sizes, size_chart
from nestvec.report.queries import collect_examples
from nestvec.report.slices import LEAST_QUERIES, slice_fields
from nestvec.report.svg import inline_svg
from nestvec.report.tables import retention_rows
from nestvec.report.theme import DARK, LIGHT
from nestvec.report.verdict import write_verdict
from nestvec.version import __version__
from nestvec.wording import (
    bytes_text,
    metric_name,
    milliseconds_text,
    percent,
    percent_at_least,
    score_text,
)

_UNITS = re.compile(r"(?<=[\d,]) (?=(?:%|B|ms|dims)\b|%)")
_NO_BREAK = "\u00a0"


def write_report(
    curves: Mapping[str, Curve],
    path: Path | str,
    plan: Plan | None = None,
    *,
    metric: str | None = None,
) -> None:
    """Write the report page.

    Args:
        curves: Curves by display name, the main curve first.
        path: The HTML file to write; an existing file is replaced.
        plan: A plan for the first curve, or None to recommend nothing.
        metric: The metric to show; None for the metric of the plan, or without a plan for the
            first measured metric.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, full precision scores
            0, or the point of the plan is not on the curve.
        ModelMismatch: If the plan is for another model than the first curve.
        MissingExtra: If matplotlib or jinja2 is not installed.
        DataError: If the file cannot be written.
    """
    if not curves:
        raise InvalidArgument("no curve given. Pass at least one curve.")
    first = next(iter(curves.values()))
    if plan is not None:
        _check(plan, first)
        metric = metric or plan.goal.metric
    comparison = CurveComparison(curves, metric or next(iter(first.full.metrics)))
    text = _render(comparison, plan)
    with replace_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _check(plan: Plan, curve: Curve) -> None:
    if not same_model(plan.model, curve.model):
        raise ModelMismatch(
            f"the plan is for model {plan.model.identity}, but the curve is for model "
            f"{curve.model.identity}. Different: "
            f"{differences(plan.model, curve.model, 'plan')}. Run `nestvec plan` on this curve."
        )


def _render(comparison: CurveComparison, plan: Plan | None) -> str:
    environment = page_environment()
    front = comparison.front(None if plan is None else plan.point)
    text: str = environment.get_template("page.html").render(
        comparison=comparison,
        plan=plan,
        verdict=write_verdict(comparison, plan),
        metric=metric_name(comparison.metric),
        axis_title=axis_title(comparison),
        agreement=is_agreement(comparison),
        rows=retention_rows(comparison, comparison.precisions),
        front=front,
        filtered=FilteredTimes.of(front),
        queries=collect_examples(comparison, plan),
        slices=()
        if plan is None
        else slice_fields(comparison.curve, plan.point, comparison.metric),
        least_queries=LEAST_QUERIES,
        facts=tuple(list_facts(comparison, plan)),
        light=LIGHT.variables(),
        dark=DARK.variables(),
        version=__version__,
        # The only unescaped values. Matplotlib has escaped the texts in these charts.
        **{
            name: environment.filters["safe"](svg)
            for name, svg in _pictures(comparison, plan).items()
        },
    )
    return text


def page_environment() -> Any:
    """Return the environment of the templates of pages, which escapes all values.

    Raises:
        MissingExtra: If jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nestvec.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "percent_at_least": percent_at_least,
        "bytes": bytes_text,
        "ms": milliseconds_text,
        "score": score_text,
        "tight": _tight,
    }
    return environment


def _pictures(comparison: CurveComparison, plan: Plan | None) -> dict[str, str]:
    """Draw each chart as an SVG element; a chart without data is an empty string."""
    figures = {
        "quality": quality_chart(comparison.curves, plan, metric=comparison.metric),
        "dims": dims_chart(comparison.curves, comparison.metric),
    }
    if has_sizes(comparison):
        figures["size"] = size_chart(comparison, None if plan is None else plan.point)
    drawn = {name: inline_svg(figure, name=name) for name, figure in figures.items()}
    return {"size": ""} | drawn


def _tight(text: str) -> str:
    """Put a no-break space between each number and its unit."""
    return _UNITS.sub(_NO_BREAK, text)
