"""One self-contained HTML page: the verdict, the pictures, why, and what was measured on.

The page needs no network and no script. Titles, queries and names come from strangers: they pass
through the template's escaping, and a content security policy stands behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from nestvec.atomic import replace_file
from nestvec.curve import Curve
from nestvec.curve_point import CurvePoint
from nestvec.errors import InvalidArgument, ModelMismatch, require
from nestvec.plan.choose import Plan
from nestvec.plan.reasons import percent
from nestvec.report.chart import dims_chart, quality_chart
from nestvec.report.kept import Kept, bytes_text, metric_name, milliseconds_text, score_text
from nestvec.report.svg import inline_svg
from nestvec.report.tables import kept_rows
from nestvec.report.theme import DARK, LIGHT
from nestvec.report.verdict import pronounce
from nestvec.version import __version__

_UNITS = re.compile(r"(?<=[\d,]) (?=(?:%|B|ms|dims)\b|%)")
_NO_BREAK = "\u00a0"
_COUNTS = {
    "unknown_documents": "judgements that name an unknown document, left out",
    "unknown_queries": "judgements that name an unknown query, left out",
    "queries_without_relevant": "queries without a relevant document, left out",
    "zero_documents": "documents encoded as zero vectors; they score 0",
    "zero_queries": "queries encoded as zero vectors; they score 0",
    "cut_documents": "documents cut at the model's maximum length",
    "cut_queries": "queries cut at the model's maximum length",
}


@dataclass(frozen=True)
class Example:
    """One question and what it finds.

    Attributes:
        query: The question.
        before: (title, where) of the best documents at full width, float32.
        after: (title, where, score) of the best documents at the chosen point.
        milliseconds: How long the search took at the chosen point.
    """

    query: str
    before: Sequence[tuple[str, str]]
    after: Sequence[tuple[str, str, float]]
    milliseconds: float


def write_report(
    path: Path | str,
    curves: Mapping[str, Curve],
    plan: Plan | None = None,
    *,
    metric: str | None = None,
    examples: Sequence[Example] = (),
) -> None:
    """Write the page.

    Args:
        path: The HTML file to write; one that exists is replaced.
        curves: By the name to show, the main one first.
        plan: Made from the first curve. Without one, nothing is recommended.
        metric: What to show. Not given: the plan's, else the first that was measured.
        examples: Questions with what they find.

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
        metric = metric or plan.budget.metric
    kept = Kept(curves, metric or next(iter(first.full.metrics)))
    text = _render(kept, plan, examples)
    with replace_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _check(plan: Plan, curve: Curve) -> None:
    if plan.model.fingerprint != curve.model.fingerprint:
        raise ModelMismatch(
            f"the plan is of model {plan.model.name} ({plan.model.fingerprint[:12]}), the curve "
            f"of {curve.model.name} ({curve.model.fingerprint[:12]}): plan from this curve again"
        )


def _render(kept: Kept, plan: Plan | None, examples: Sequence[Example]) -> str:
    jinja2 = require("jinja2", extra="report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "bytes": bytes_text,
        "ms": milliseconds_text,
        "score": score_text,
        "tight": _tight,
    }
    source = resources.files("nestvec.report").joinpath("template.html")
    template = environment.from_string(source.read_text(encoding="utf-8"))
    # The only values that pass unescaped: pictures of ours, whose texts matplotlib has escaped.
    pictures = {
        "quality": quality_chart(kept.curves, plan, metric=kept.metric),
        "dims": dims_chart(kept.curves, kept.metric),
    }
    markup = environment.filters["safe"]
    text: str = template.render(
        kept=kept,
        plan=plan,
        verdict=pronounce(kept, plan),
        metric=metric_name(kept.metric),
        rows=kept_rows(kept, kept.precisions),
        front=_front(kept, plan),
        examples=examples,
        facts=tuple(_facts(kept, plan)),
        light=LIGHT.variables(),
        dark=DARK.variables(),
        version=__version__,
        **{name: markup(inline_svg(figure, name=name)) for name, figure in pictures.items()},
    )
    return text


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


def _facts(kept: Kept, plan: Plan | None) -> Iterator[tuple[str, str]]:
    """Say what was measured on, in (term, description)."""
    curve = kept.curve
    yield from _model_facts(curve)
    yield "Texts", _dataset_text(curve.dataset)
    untidy = [
        f"{count:,} {_COUNTS.get(name, name.replace('_', ' '))}"
        for name, count in curve.counts.items()
        if count
    ]
    if untidy:
        yield "Untidy", "; ".join(untidy)
    if plan is not None:
        yield (
            "Choice",
            f"at least {plan.budget.min_retention * 100:g} % of "
            f"{metric_name(plan.budget.metric)} asked, with {plan.budget.confidence * 100:g} % "
            f"confidence; {plan.queries_ordering:,} queries put the candidates in order, "
            f"{plan.queries_tested:,} others tested them; seed {plan.seed}",
        )
    yield from _machine_facts(curve.machine)


def _model_facts(curve: Curve) -> Iterator[tuple[str, str]]:
    model = curve.model
    yield "Model", f"{model.name}, fingerprint {model.fingerprint[:12]}"
    trained = "trained for" if model.dims_trained else "untrained guesses"
    dims = ", ".join(f"{dim:,}" for dim in model.dims)
    yield "Dims", f"{dims} of {model.full_dim:,} ({trained}; from {model.dims_source})"
    prompts = {"query": model.query_prompt, "document": model.document_prompt}
    found = [f"{kind} “{prompt}”" for kind, prompt in prompts.items() if prompt]
    if found:
        yield "Prompts", ", ".join(found)
    if model.layer_norm:
        yield "Layer norm", "before truncation"
    if model.max_tokens is not None:
        yield "Longest text", f"{model.max_tokens:,} tokens"


def _dataset_text(dataset: Mapping[str, Any]) -> str:
    parts = [str(dataset.get("name", "unnamed"))]
    if "split" in dataset:
        parts.append(f"split {dataset['split']}")
    for name, words in (("n_documents", "documents"), ("n_queries", "queries")):
        if isinstance(dataset.get(name), int):
            parts.append(f"{dataset[name]:,} {words}")
    return ", ".join(parts)


def _machine_facts(machine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    values = dict(machine)
    versions = values.pop("versions", {})
    if values:
        yield "Machine", ", ".join(f"{name} {value}" for name, value in values.items())
    if isinstance(versions, Mapping) and versions:
        yield "Versions", ", ".join(f"{name} {version}" for name, version in versions.items())
