"""``nestvec compare``: compare two searches on the same queries before you switch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.compared_lines import comparison_lines
from nestvec.cli.console import check_output, print_json, print_line, shown_path, width
from nestvec.cli.models import LOADING, ModelChoice, load_encoder, model_options
from nestvec.cli.options import JsonOption, SeedOption
from nestvec.cli.table_search import read_log, read_table_search
from nestvec.errors import require

if TYPE_CHECKING:
    from nestvec.operate.comparison_report import ComparisonReport
    from nestvec.types import Encoder

FAILED = 1
"""The exit code if a limit is not reached."""

_PLACE = "index folder, URL of an index, or table of PostgreSQL that other programs wrote"
_Old = Annotated[str, typer.Argument(help=f"The search in use: {_PLACE}.")]
_New = Annotated[str, typer.Argument(help=f"The search that would replace it: {_PLACE}.")]
_Queries = Annotated[
    Path | None,
    typer.Option(
        help="Query log: a JSONL, CSV or Parquet file with the columns 'text' or 'vector', and "
        "optionally 'id' and 'filter'; a text file with one query per line; or a file of vectors.",
        show_default="documents of OLD, drawn at random",
    ),
]
_Sample = Annotated[
    int, typer.Option("--sample", help="Number of queries to draw from the log, or of documents.")
]
_K = Annotated[int, typer.Option("-k", help="Number of results per query.")]
_MinOverlap = Annotated[
    float | None,
    typer.Option(help="Exit with code 1 if the mean overlap is lower, such as .95."),
]
_MinRetention = Annotated[
    float | None,
    typer.Option(
        help="Exit with code 1 if NEW retains less of the relevance of OLD, such as .98. "
        "Needs --qrels."
    ),
]
_Qrels = Annotated[
    Path | None, typer.Option(help="Relevance labels (qrels) of the queries of the log.")
]
_Metric = Annotated[str, typer.Option(help="Metric of --qrels, such as ndcg@10 or recall@100.")]
_Out = Annotated[Path | None, typer.Option(help="Also write an HTML page.")]
_POINT = "Operating point to search {} by, or that its SQL computes, such as 128:float16."
_MODEL = "Model that encodes the texts of the log for {}. An index loads its own model."
_SQL = (
    "File with the SQL that searches {}. $1 is the query vector, and $2 the number of results. "
    "The first column must be the id."
)
_DISTANCE = "Distance of the table {}: cosine, ip (inner product) or l2."
_SET = "Setting of PostgreSQL for {}, such as hnsw.ef_search=100. Repeatable."
_OldPoint = Annotated[str | None, typer.Option(help=_POINT.format("OLD"))]
_NewPoint = Annotated[str | None, typer.Option(help=_POINT.format("NEW"))]
_OldModel = Annotated[str | None, typer.Option(help=_MODEL.format("OLD"))]
_NewModel = Annotated[str | None, typer.Option(help=_MODEL.format("NEW"))]
_OldSql = Annotated[Path | None, typer.Option(metavar="FILE", help=_SQL.format("OLD"))]
_NewSql = Annotated[Path | None, typer.Option(metavar="FILE", help=_SQL.format("NEW"))]
_OWN = "that of its vector index, or cosine"
_OldDistance = Annotated[str | None, typer.Option(help=_DISTANCE.format("OLD"), show_default=_OWN)]
_NewDistance = Annotated[str | None, typer.Option(help=_DISTANCE.format("NEW"), show_default=_OWN)]
_OldSet = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=_SET.format("OLD"))]
_NewSet = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=_SET.format("NEW"))]


@model_options(*LOADING)
def compare(
    old: _Old,
    new: _New,
    *,
    queries: _Queries = None,
    sample: _Sample = 500,
    k: _K = 10,
    min_overlap: _MinOverlap = None,
    min_retention: _MinRetention = None,
    qrels: _Qrels = None,
    metric: _Metric = "ndcg@10",
    out: _Out = None,
    old_point: _OldPoint = None,
    new_point: _NewPoint = None,
    old_model: _OldModel = None,
    new_model: _NewModel = None,
    old_sql: _OldSql = None,
    new_sql: _NewSql = None,
    old_distance: _OldDistance = None,
    new_distance: _NewDistance = None,
    old_set: _OldSet = None,
    new_set: _NewSet = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    choice: ModelChoice,
) -> None:
    """Compare two searches on the same queries before you switch. Nothing is changed.

    The exit code is 0, 1 if a limit is not reached, or 2 for wrong input.

    Example: nestvec compare index index --new-point 128:int8 --queries log.txt
    """
    from nestvec.operate.compared_sides import SearchedPlace
    from nestvec.operate.comparing import CompareOptions, compare_searches
    from nestvec.recipes.comparison_page import write_comparison_page

    if out is not None:
        check_output(out)
        require("matplotlib", extra="report")
    before = read_table_search(old_sql, old_point, old_distance, old_set, side="old-")
    after = read_table_search(new_sql, new_point, new_distance, new_set, side="new-")
    log, labels = read_log(queries, qrels, metric, sample=sample, seed=seed)
    options = CompareOptions(
        k=k,
        min_overlap=min_overlap,
        min_retention=min_retention,
        labels=labels,
        sampled=sample,
        seed=seed,
    )
    models = _models(old_model, new_model, choice)
    one, other = SearchedPlace(old, before, next(models)), SearchedPlace(new, after, next(models))
    report = compare_searches(one, other, log, options)
    if out is not None:
        write_comparison_page(report, out)
    _print_report(report, out, as_json=as_json)
    sys.exit(0 if report.passed else FAILED)


def _print_report(report: ComparisonReport, out: Path | None, *, as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    for line in comparison_lines(report, width=width()):
        print_line(line)
    if out is not None:
        print_line(f"See  {shown_path(out)}")


def _models(old: str | None, new: str | None, choice: ModelChoice) -> Iterator[Encoder | None]:
    """Yield the models of both sides; a model of both is loaded once."""
    loaded = None if old is None else load_encoder(old, choice)
    yield loaded
    yield loaded if new == old else None if new is None else load_encoder(new, choice)
