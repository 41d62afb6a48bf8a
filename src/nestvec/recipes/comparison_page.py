"""Write a comparison of two searches as one self-contained HTML page, without network or script.

Queries, titles and names are untrusted text: the template escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nestvec.files.atomic import replace_file
from nestvec.measure.machine import machine_text
from nestvec.operate.comparison_report import ComparedSide, ComparisonReport
from nestvec.recipes.comparison_page_charts import gain_chart, overlap_chart
from nestvec.report.page import page_environment
from nestvec.report.svg import inline_svg
from nestvec.report.theme import DARK, LIGHT
from nestvec.version import __version__
from nestvec.wording import (
    bytes_text,
    count_text,
    count_texts,
    metric_name,
    milliseconds_text,
    percent,
    percent_at_least,
)

_TIMES = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99"}


def write_comparison_page(report: ComparisonReport, path: Path | str) -> None:
    """Write the page.

    Args:
        report: The comparison.
        path: The HTML file to write; an existing file is replaced.

    Raises:
        MissingExtra: If matplotlib or jinja2 is not installed.
        DataError: If the file cannot be written.
    """
    environment = page_environment()
    safe = environment.filters["safe"]  # Matplotlib has escaped the texts in the charts
    gains = "" if report.relevance is None else inline_svg(gain_chart(report), name="gains")
    overlaps = "" if report.overlap is None else inline_svg(overlap_chart(report), name="overlap")
    text: str = environment.get_template("compared.html").render(
        report=report,
        headline=_headline(report),
        evidence=_evidence(report),
        metric="" if report.relevance is None else metric_name(report.relevance.metric),
        sides=list(_side_rows(report.old, report.new)),
        unknown=list(_unknown_bytes(report)),
        facts=list(_facts(report)),
        overlaps=safe(overlaps),
        gains=safe(gains),
        light=LIGHT.variables(),
        dark=DARK.variables(),
        version=__version__,
    )
    with replace_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _headline(report: ComparisonReport) -> str:
    """Return the main result in one or two sentences."""
    found, overlap = report.relevance, report.overlap
    if overlap is None:
        return "OLD and NEW have no results that can be compared."
    shared = f"NEW returns {percent(overlap.mean)} of the top {report.k} results of OLD"
    if found is None:
        return f"{shared}. For the worst 1 % of the queries, it is {percent(overlap.worst)}."
    verdict = found.verdict
    shown = verdict if verdict.startswith("no") else f"NEW is {verdict}"
    least = percent_at_least(found.retention_at_least)
    retained = f"NEW retains {percent(found.retention)} of the {metric_name(found.metric)} of OLD"
    return f"{retained}, at least {least} with 95 % confidence: {shown}. {shared}."


def _evidence(report: ComparisonReport) -> tuple[str, str]:
    """Return the kind of evidence in a few words, and what it means."""
    n = len(report.queries)
    if report.source == "log":
        queries = f"{count_text(n, 'query')} of a log"
    else:
        queries = (
            f"{count_text(n, 'document')} of OLD served as queries. Queries of users are often "
            "harder"
        )
    if report.relevance is None:
        meaning = "A changed result is not necessarily a worse result: there are no labels."
        return "Evidence: agreement only", f"{queries}. {meaning}"
    labeled = count_text(report.relevance.queries, "query")
    return "Evidence: relevance labels", f"{queries}; {labeled} with relevance labels."


def _side_rows(old: ComparedSide, new: ComparedSide) -> Iterator[tuple[str, str, str]]:
    """Yield a name, the value of OLD and the value of NEW for each row of the first table."""
    yield "Place", old.place, new.place
    if old.search or new.search:
        yield "Searched by", old.search or "–", new.search or "–"
    yield "Operating point", old.point or "unknown", new.point or "unknown"
    if old.model or new.model:
        yield "Model", old.model or "unknown", new.model or "unknown"
    yield "Documents", f"{old.documents:,}", f"{new.documents:,}"
    yield "Dims of the vectors", f"{old.dim:,}", f"{new.dim:,}"
    yield "Distance", old.metric, new.metric
    for key, name in _TIMES.items():
        before, after = (milliseconds_text(side.latency_ms[key]) for side in (old, new))
        yield f"Latency, {name}", before, after
    yield "Memory per document", _bytes(old.ram_bytes), _bytes(new.ram_bytes)
    yield "Disk per document", _bytes(old.disk_bytes), _bytes(new.disk_bytes)


def _bytes(count: float | None) -> str:
    return "unknown" if count is None else bytes_text(count)


def _unknown_bytes(report: ComparisonReport) -> Iterator[str]:
    """Yield why bytes are unknown, in one sentence for each side."""
    for name, side in (("OLD", report.old), ("NEW", report.new)):
        if side.unknown_bytes:
            what = "Disk" if side.ram_bytes is not None else "Memory and disk"
            yield f"{what} of {name}: unknown, {side.unknown_bytes}."


def _facts(report: ComparisonReport) -> Iterator[tuple[str, str]]:
    """Yield details as terms and descriptions."""
    yield "Compared at", report.compared_at
    yield "Queries", f"{count_text(len(report.queries), 'query')}, seed {report.seed}"
    if issues := count_texts(report.counts):
        yield "Left out", "; ".join(issues)
    limits = {"overlap": report.min_overlap, "retention": report.min_retention}
    shown = [f"{name} at least {limit:g}" for name, limit in limits.items() if limit is not None]
    if shown:
        yield "Limits", f"{', '.join(shown)}: {'passed' if report.passed else 'failed'}"
    versions = report.machine.get("versions", {})
    if text := machine_text(report.machine):
        yield "Machine", text
    if versions:
        yield "Versions", ", ".join(f"{name} {version}" for name, version in versions.items())
