"""Format the result of ``nestvec compare`` as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import set_cell_size

from nestvec.cli.console import printable
from nestvec.cli.hits import shorten
from nestvec.wording import (
    bytes_text,
    count_text,
    count_texts,
    metric_name,
    milliseconds_text,
    percent,
    percent_at_least,
    score_text,
)

if TYPE_CHECKING:
    from nestvec.operate.comparison_report import (
        ComparedLists,
        ComparedResult,
        ComparedSide,
        ComparisonReport,
        MissingDocuments,
        RelevanceComparison,
    )

_NAME = 11  # cells of the first column
_BAR = 40  # cells of the longest bar
_SHOWN = 3  # of the worst queries
_UNKNOWN = "unknown"


def comparison_lines(report: ComparisonReport, *, width: int) -> Iterator[str]:
    """Yield the lines of a comparison.

    Args:
        report: The comparison.
        width: The maximum number of cells of a line.
    """
    yield from _side_lines("OLD", report.old, width)
    yield from _side_lines("NEW", report.new, width)
    yield from wrap(_source(report), width, subsequent_indent="  ")
    for text in count_texts(report.counts):
        yield f"  {text}"
    yield ""
    yield from _overlap_lines(report, width)
    yield from _missing_lines("OLD", "NEW", report.only_old, width)
    yield from _missing_lines("NEW", "OLD", report.only_new, width)
    if report.relevance is not None:
        yield ""
        yield from _relevance_lines(report.relevance, width)
    yield from _cost_lines(report, width)
    yield from _worst_lines(report, width)
    for failure in report.failures:
        yield f"FAILED  {failure}"
    if report.passed and (report.min_overlap or report.min_retention):
        yield "passed"


def _wrapped(name: str, text: str, width: int) -> list[str]:
    indent = " " * _NAME
    return wrap(
        text,
        width,
        initial_indent=f"{name:<{_NAME}}",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _side_lines(name: str, side: ComparedSide, width: int) -> Iterator[str]:
    yield f"{name}  {side.place}"
    parts = [count_text(side.documents, "document"), f"{side.dim} dims", side.metric]
    yield f"     {', '.join(parts)}"
    details = [f"operating point {side.point}"] if side.point else []
    details += [f"searched by {side.search}"] if side.search else []
    for line in wrap("; ".join(details), width - 5, break_on_hyphens=False):
        yield f"     {line}"


def _source(report: ComparisonReport) -> str:
    n = len(report.queries)
    if report.source == "log":
        return f"{count_text(n, 'query')} of the log, {report.k} results each"
    served = f"{count_text(n, 'document')} of OLD served as queries"
    return f"{served}; queries of users are often harder (--queries)"


def _overlap_lines(report: ComparisonReport, width: int) -> Iterator[str]:
    found = report.overlap
    if found is None:
        yield from _wrapped("overlap", "no query has results that can be compared", width)
        return
    name = f"overlap@{report.k}"
    mean, least = score_text(found.mean), score_text(found.at_least)
    yield from _wrapped(name, f"mean {mean}, at least {least} with 95 % confidence", width)
    worst = count_text(found.worst_queries, "query")
    tail = ", ".join(f"{name} {score_text(each)}" for name, each in found.quantiles.items())
    yield from _wrapped("", f"mean of the worst 1 % ({worst}): {score_text(found.worst)}", width)
    yield from _wrapped("", f"quantiles: {tail}", width)
    same = f"{percent(found.same_documents)} of the queries have the same results"
    yield from _wrapped("", f"{same}, {percent(found.identical)} in the same order", width)
    yield from _wrapped("", f"rank-biased overlap (RBO): {score_text(found.rbo)}", width)
    unknown = len(report.queries) - found.queries
    if unknown:
        text = f"{count_text(unknown, 'query')} without results that can be compared"
        yield from _wrapped("", text, width)
    yield ""
    yield from _histogram(found.histogram)


def _histogram(counts: Sequence[int]) -> Iterator[str]:
    yield f"{'overlap':<{_NAME}}{'queries':>8}"
    most, bins = max(counts), len(counts) - 1
    for number in range(bins, -1, -1):
        low, high = number / bins, (number + 1) / bins
        name = "1" if number == bins else f"{low:.1f} to {high:.1f}"
        bar = "#" * round(_BAR * counts[number] / most)
        yield f"{name:<{_NAME}}{counts[number]:>8,}  {bar}".rstrip()


def _missing_lines(name: str, other: str, missing: MissingDocuments, width: int) -> Iterator[str]:
    if not missing.documents:
        return
    yield ""
    text = (
        f"{other} does not contain {count_text(missing.documents, 'document')} of {name}, such "
        f"as {', '.join(missing.examples)}. In {count_text(missing.queries, 'query')}, "
        f"{count_text(missing.results, 'result')} of {name} "
        f"{'is' if missing.results == 1 else 'are'} missing for this reason, not counted above."
    )
    yield from _wrapped("documents", text, width)


def _relevance_lines(found: RelevanceComparison, width: int) -> Iterator[str]:
    name = metric_name(found.metric)
    counted = f"{count_text(found.queries, 'query')} with labels"
    yield from _wrapped(
        "relevance",
        f"{name} of OLD {score_text(found.old)}, of NEW {score_text(found.new)} ({counted})",
        width,
    )
    yield from _wrapped(
        "",
        f"NEW retains {percent(found.retention)}, at least "
        f"{percent_at_least(found.retention_at_least)} with 95 % confidence",
        width,
    )
    low, high = f"{found.at_least:+.3f}", f"{found.at_most:+.3f}"
    verdict = found.verdict
    verdict_text = verdict if verdict.startswith("no") else f"NEW is {verdict}"
    yield from _wrapped(
        "",
        f"mean difference {found.new - found.old:+.3f}, at least {low} and at most {high} (each "
        f"with 95 % confidence): {verdict_text}",
        width,
    )
    yield from _wrapped(
        "",
        f"NEW is better for {count_text(found.wins, 'query')}, worse for {found.losses:,}, equal "
        f"for {found.ties:,}",
        width,
    )


def _cost_lines(report: ComparisonReport, width: int) -> Iterator[str]:
    heading = list(report.old.latency_ms)
    names = [name.removesuffix("_ms") for name in heading]
    cells = "".join(f"{name:>11}" for name in [*names, "memory", "disk"])
    yield ""
    yield f"{'':<{_NAME}}{cells}"
    for name, side in (("OLD", report.old), ("NEW", report.new)):
        times = [milliseconds_text(side.latency_ms[each]) for each in heading]
        sizes = [_bytes(side.ram_bytes), _bytes(side.disk_bytes)]
        yield f"{name:<{_NAME}}{''.join(f'{cell:>11}' for cell in [*times, *sizes])}"
    yield from _wrapped(
        "",
        "Latency of one query at a time on one thread, OLD and NEW in turn, without encoding. "
        "Memory and disk per document, without texts.",
        width,
    )
    for name, side in (("OLD", report.old), ("NEW", report.new)):
        if side.unknown_bytes:
            what = "Disk" if side.ram_bytes is not None else "Memory and disk"
            yield from _wrapped("", f"{what} of {name}: unknown, {side.unknown_bytes}.", width)


def _bytes(count: float | None) -> str:
    return _UNKNOWN if count is None else bytes_text(count)


def _worst_lines(report: ComparisonReport, width: int) -> Iterator[str]:
    if not report.worst:
        return
    yield ""
    shown = report.worst[:_SHOWN]
    yield "Queries with the lowest overlap"
    yield "- left the results, + entered them, x is a document that the other place lacks"
    for lists in shown:
        yield from _lists(lists, width)
    left_out = len(report.worst) - len(shown)
    if left_out:
        yield f"and {left_out} more (see --out or --json)"


def _lists(lists: ComparedLists, width: int) -> Iterator[str]:
    query = lists.query
    overlap = score_text(query.overlap or 0.0)
    name = query.text or query.id
    yield ""
    yield f"{shorten(printable(name), width - 16)}  overlap {overlap}"
    if query.filter:
        yield f"  filter {shorten(printable(query.filter), width - 9)}"
    column = (width - 2) // 2
    for before, after in zip_longest(lists.old, lists.new):
        left, right = (_cell(each, column, sign) for each, sign in ((before, "-"), (after, "+")))
        yield f"{set_cell_size(left, column)}  {right}".rstrip()


def _cell(result: ComparedResult | None, cells: int, sign: str) -> str:
    if result is None:
        return ""
    mark = "x" if result.missing else " " if result.other_rank is not None else sign
    return f"{result.rank:>3} {mark} {shorten(printable(result.title or result.id), cells - 6)}"
