"""One self-contained HTML page: the verdict, the pictures, why, and what was measured on.

The page needs no network and no script. Titles, queries and names come from strangers: they pass
through the template's escaping, and a content security policy stands behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestvec.curve.curve import Curve
from nestvec.curve.point import CurvePoint
from nestvec.errors import InvalidArgument, ModelMismatch, require
from nestvec.files.atomic import replace_file
from nestvec.planning.choose import Plan
from nestvec.report.captions import axis_title, is_agreement
from nestvec.report.chart import quality_chart
from nestvec.report.facts import facts
from nestvec.report.kept import Kept
from nestvec.report.line_charts import dims_chart, has_sizes, size_chart
from nestvec.report.queries import gather
from nestvec.report.slices import LEAST_QUERIES, slice_fields
from nestvec.report.svg import inline_svg
from nestvec.report.tables import kept_rows
from nestvec.report.theme import DARK, LIGHT
from nestvec.report.verdict import pronounce
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
    path: Path | str,
    curves: Mapping[str, Curve],
    plan: Plan | None = None,
    *,
    metric: str | None = None,
) -> None:
    """Write the page.

    Args:
        path: The HTML file to write; one that exists is replaced.
        curves: By the name to show, the main one first.
        plan: Made from the first curve. Without one, nothing is recommended.
        metric: What to show. Not given: the plan's, else the first that was measured.

    Raises:
        InvalidArgument: If there is no curve, the metric was not measured, full width scores 0,
            or the plan's point is not on the curve.
        ModelMismatch: If the plan is of another model than the first curve.
        MissingExtra: If matplotlib or jinja2 is not installed.
        DataError: If the file cannot be written.
    """
    if not curves:
        raise InvalidArgument("no curve given")
    first = next(iter(curves.values()))
    if plan is not None:
        _check(plan, first)
        metric = metric or plan.goal.metric
    kept = Kept(curves, metric or next(iter(first.full.metrics)))
    text = _render(kept, plan)
    with replace_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _check(plan: Plan, curve: Curve) -> None:
    if plan.model.fingerprint != curve.model.fingerprint:
        raise ModelMismatch(
            f"the plan is of model {plan.model.identity}, the curve of {curve.model.identity}: "
            "plan from this curve again"
        )


def _render(kept: Kept, plan: Plan | None) -> str:
    environment = _environment()
    text: str = environment.get_template("page.html").render(
        kept=kept,
        plan=plan,
        verdict=pronounce(kept, plan),
        metric=metric_name(kept.metric),
        axis_title=axis_title(kept),
        agreement=is_agreement(kept),
        rows=kept_rows(kept, kept.precisions),
        front=_front(kept, plan),
        shown=gather(kept, plan),
        slices=() if plan is None else slice_fields(kept.curve, plan.point, kept.metric),
        least_queries=LEAST_QUERIES,
        facts=tuple(facts(kept, plan)),
        light=LIGHT.variables(),
        dark=DARK.variables(),
        version=__version__,
        # The only values that pass unescaped: pictures of ours, whose texts matplotlib has escaped.
        **{name: environment.filters["safe"](svg) for name, svg in _pictures(kept, plan).items()},
    )
    return text


def _environment() -> Any:
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


def _pictures(kept: Kept, plan: Plan | None) -> dict[str, str]:
    """Draw each picture as an SVG element; one that the curve has no values for is empty."""
    figures = {
        "quality": quality_chart(kept.curves, plan, metric=kept.metric),
        "dims": dims_chart(kept.curves, kept.metric),
    }
    if has_sizes(kept):
        figures["size"] = size_chart(kept, None if plan is None else plan.point)
    drawn = {name: inline_svg(figure, name=name) for name, figure in figures.items()}
    return {"size": ""} | drawn


def _tight(text: str) -> str:
    """Keep numbers and their units on one line."""
    return _UNITS.sub(_NO_BREAK, text)


def _front(kept: Kept, plan: Plan | None) -> list[CurvePoint]:
    """Return the Pareto front, with the chosen point and today's, by memory."""
    rows = {row.point: row for row in kept.curve.pareto_front(kept.metric)}
    rows[kept.curve.full.point] = kept.curve.full
    if plan is not None:
        rows[plan.point] = kept.curve[plan.point]
    return sorted(rows.values(), key=lambda row: row.cost.ram_bytes_per_vector)
