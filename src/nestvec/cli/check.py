"""``nestvec check``: measure what a search in use loses, with an exit code for CI and cron."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.check_drift import CanariesOption, MinCosineOption, ThresholdOption, print_drift
from nestvec.cli.console import check_output, print_json, print_line, print_wrapped
from nestvec.cli.models import LOADING, ModelChoice, load_encoder, model_options
from nestvec.cli.options import JsonOption, SeedOption, parse_ints
from nestvec.cli.table_search import read_log, read_table_search
from nestvec.wording import count_text, count_texts, milliseconds_text, percent, score_text

if TYPE_CHECKING:
    from nestvec.operate.check_report import CheckReport
    from nestvec.operate.history import PastCheck

FAILED = 1
"""The exit code if a limit is not reached."""
_MOST_FILTERS = 10

_Place = Annotated[
    str,
    typer.Argument(
        help="Index folder, URL of an index, or table of PostgreSQL or LanceDB that other programs "
        "wrote, such as postgresql://localhost/shop?table=docs&vector=embedding."
    ),
]
_Queries = Annotated[
    Path | None,
    typer.Option(
        help="Query log: a JSONL, CSV or Parquet file with the columns 'text' or 'vector', and "
        "optionally 'id' and 'filter'; a text file with one query per line; or a file of vectors.",
        show_default="documents of the index, drawn at random",
    ),
]
_Limit = Annotated[
    int, typer.Option("--sample", help="Number of queries to draw from the log, or of documents.")
]
_K = Annotated[str, typer.Option("-k", help="Numbers of results, such as 1,10,100.")]
_MinOverlap = Annotated[
    float | None,
    typer.Option(
        help="Exit with code 1 if the mean overlap with exact results is lower, such as .95."
    ),
]
_MinRetention = Annotated[
    float | None,
    typer.Option(
        help="Exit with code 1 if the search retains less of the relevance of exact results, "
        "such as .98. Needs --qrels."
    ),
]
_Qrels = Annotated[
    Path | None, typer.Option(help="Relevance labels (qrels) of the queries of the log.")
]
_Metric = Annotated[str, typer.Option(help="Metric of --qrels, such as ndcg@10 or recall@100.")]
_Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model that encodes the texts of the log. An index loads its own model.",
    ),
]
_Sql = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the SQL that your program runs. $1 is the query vector, and $2 the number "
        "of results. The first column must be the id.",
    ),
]
_Point = Annotated[
    str | None,
    typer.Option(
        help="Operating point to search the index by, or that the SQL of --sql computes, such as "
        '"128:float16@200>768:float32".'
    ),
]
_Distance = Annotated[
    str | None,
    typer.Option(
        help="Distance of the table: cosine, ip (inner product) or l2.",
        show_default="that of its vector index, or cosine",
    ),
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Setting that your program uses, such as hnsw.ef_search=100 in PostgreSQL or "
        "nprobes=40 in LanceDB. Repeat the option for several settings.",
    ),
]
_Prometheus = Annotated[
    Path | None,
    typer.Option(help="Also write the numbers to a file in Prometheus' text format."),
]
_History = Annotated[
    Path | None,
    typer.Option(help="Append the numbers to this file, and print what changed since last time."),
]


@model_options(*LOADING)
def check(
    place: _Place,
    *,
    queries: _Queries = None,
    sample: _Limit = 500,
    k: _K = "10",
    min_overlap: _MinOverlap = None,
    min_retention: _MinRetention = None,
    qrels: _Qrels = None,
    metric: _Metric = "ndcg@10",
    threshold: ThresholdOption = False,
    canaries: CanariesOption = None,
    min_cosine: MinCosineOption = 0.999,
    model: _Model = None,
    sql: _Sql = None,
    point: _Point = None,
    distance: _Distance = None,
    settings: _Set = None,
    seed: SeedOption = 0,
    prometheus: _Prometheus = None,
    history: _History = None,
    as_json: JsonOption = False,
    choice: ModelChoice,
) -> None:
    """Measure what a search in use loses, compared with exact answers. Nothing is changed.

    The exit code is 0, 1 if a limit is not reached, or 2 for wrong input.

    Example: nestvec check index --queries log.txt --min-overlap .95
    """
    from nestvec.operate.check import CheckOptions, check_search
    from nestvec.operate.drift import DriftOptions
    from nestvec.operate.history import add_to_history

    written = [path for path in (prometheus, history) if path is not None]
    for path in written:
        check_output(path)
    log, labels = read_log(queries, qrels, metric, sample=sample, seed=seed)
    options = CheckOptions(
        ks=tuple(sorted({*(parse_ints(k, option="-k") or ())})),
        min_overlap=min_overlap,
        min_retention=min_retention,
        labels=labels,
        sampled=sample,
        seed=seed,
        search=read_table_search(sql, point, distance, settings),
        drift=DriftOptions(canaries, min_cosine, seed),
        threshold=threshold,
    )
    encoder = None if model is None else load_encoder(model, choice)
    report = check_search(place, log, options, model=encoder)
    before = None if history is None else add_to_history(history, report)
    if prometheus is not None:
        _write(prometheus, report.to_prometheus())
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
        _print_changes(report, before, history)
    sys.exit(0 if report.passed else FAILED)


def _write(path: Path, text: str) -> None:
    from nestvec.files.atomic import replace_file

    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _print(report: CheckReport) -> None:
    print_line(report.place)
    distance = report.metric
    print_line(f"  {report.documents:,} documents, {report.dim} dims, {distance}")
    if report.zeros:
        print_line(f"  {count_text(report.zeros, 'document')} with a zero vector, not searched")
    path = ", ".join(each for each in (report.index, report.width) if each)
    shown = f"; operating point {report.point}" if report.point else ""
    print_wrapped(f"  searched by {path or 'no index: the search reads all vectors'}{shown}")
    if report.unused_index:
        remedy = "run ANALYZE on the table, or look at the plan of the query"
        print_wrapped(f"  {report.unused_index} exists and is not used: {remedy}")
    print_line(_queries_line(report))
    for text in count_texts(report.counts):
        print_line(f"  {text}")
    print_line("")
    print_line(f"{'':<22}{'overlap':>9}{'at least (95 %)':>18}{'worst 1 %':>12}")
    for each in report.overlaps:
        figures = (score_text(value) for value in (each.mean, each.at_least, each.worst))
        mean, least, worst = figures
        print_line(f"{f'k = {each.k}':<22}{mean:>9}{least:>18}{worst:>12}")
    _print_filters(report)
    print_line("")
    _print_times(report)
    _print_retention(report)
    _print_losses(report)
    print_drift(report)
    for failure in report.failures:
        print_line(f"FAILED  {failure}")
    if report.passed and (report.min_overlap or report.min_retention):
        print_line("passed")


def _queries_line(report: CheckReport) -> str:
    if report.source == "log":
        return f"  {count_text(report.queries, 'query')} of the log"
    counted = count_text(report.queries, "document")
    return f"  {counted} served as queries; queries of users are often harder (--queries)"


def _print_filters(report: CheckReport) -> None:
    if len(report.filters) == 1 and not report.filters[0].filter:
        return
    print_line("")
    print_line(f"{'filter':<34}{'queries':>8}{'matching':>11}{'overlap':>9}{'short':>7}{'p50':>10}")
    rows = sorted(report.filters, key=lambda each: each.overlap)
    for each in rows[:_MOST_FILTERS]:
        matching = "" if each.matching is None else f"{each.matching:,}"
        name = each.filter or "(none)"
        print_line(
            f"{name if len(name) < 33 else name[:31] + '…':<34}{each.queries:>8,}{matching:>11}"
            f"{score_text(each.overlap):>9}{each.short:>7,}{milliseconds_text(each.p50_ms):>10}"
        )
    if len(rows) > _MOST_FILTERS:
        print_line(f"and {len(rows) - _MOST_FILTERS} filters with a higher overlap (see --json)")
    if any(each.short for each in rows):
        print_line("short: queries with fewer results than documents match")


def _print_times(report: CheckReport) -> None:
    times = ", ".join(
        f"{name.removesuffix('_ms')} {milliseconds_text(value)}"
        for name, value in report.latency_ms.items()
    )
    print_line(f"latency   {times}, one query at a time")
    print_line(f"exact     {report.exact_s:.1f} s for all queries, not counted above")


def _print_retention(report: CheckReport) -> None:
    kept = report.retention
    if kept is None:
        return
    print_wrapped(
        f"relevance {kept.metric} {score_text(kept.found)}, exact {score_text(kept.exact)}: "
        f"retains {percent(kept.share)}, at least {percent(kept.at_least)} with 95 % confidence "
        f"({count_text(kept.queries, 'query')} with labels)"
    )


def _print_losses(report: CheckReport) -> None:
    k = report.overlaps[-1].k
    if report.losses is not None and report.overlap < 1:
        causes = report.losses
        print_wrapped(
            f"lost      of overlap@{k}: {score_text(max(causes.dims, 0))} by fewer dims and the "
            f"shortlist, {score_text(max(causes.bits, 0))} by fewer bits, "
            f"{score_text(max(causes.index, 0))} by the approximate index"
        )
    for number, each in enumerate(report.remedies):
        cost = "" if each.p50_ms is None else f", p50 {milliseconds_text(each.p50_ms)}"
        heading = "try" if not number else ""
        print_wrapped(f"{heading:<10}{each.setting}: overlap {score_text(each.overlap)}{cost}")


def _print_changes(report: CheckReport, before: PastCheck | None, history: Path | None) -> None:
    from nestvec.operate.history import PastCheck

    if before is not None:
        changes = ", ".join(PastCheck.of(report).changes(before))
        print_wrapped(f"since     {before.checked_at}: {changes}")
    elif history is not None:
        print_line("since     no earlier check of this place in the history")
