"""``nestvec evaluate``: measure the whole curve of a model on a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli.console import (
    CACHE_HELP,
    check_output,
    parse_dtype,
    parse_ints,
    parse_words,
    progress,
    say,
    say_next,
    shared_cache,
    shown_path,
    width,
)
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.curve.curve import Curve
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.data.similarity import SimilaritySet
    from nestvec.measure.grid import Grid
    from nestvec.types import Encoder

_EVIDENCE = {
    "labels": "",
    "made queries": "evidence: queries made from the corpus, not asked by people",
    "agreement": "evidence: agreement with full precision, which is not quality",
}


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder, hub id, or folder of vectors.")],
    dataset: Annotated[
        Path, typer.Argument(help="BEIR folder, corpus, or file of pairs, triplets or labels.")
    ],
    out: Annotated[Path, typer.Option(help="Curve to write.")] = Path("curve.json"),
    split: Annotated[str | None, typer.Option(help="Split of the qrels.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Query log without relevance labels.")
    ] = None,
    make_queries: Annotated[str | None, typer.Option(help="Of title or first-sentence.")] = None,
    dims: Annotated[str | None, typer.Option(help="Widths, e.g. 512,128,64.")] = None,
    precisions: Annotated[str | None, typer.Option(help="E.g. float32,int8,binary.")] = None,
    keeps: Annotated[str | None, typer.Option(help="Lengths of the shortlist.")] = None,
    points: Annotated[str | None, typer.Option(help="Further points, or mrl-funnel.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metrics; the first is shown.")] = None,
    depth: Annotated[int, typer.Option(help="How many documents are handed on.")] = 10,
    group_by: Annotated[str | None, typer.Option(help="Field that names a chunk's text.")] = None,
    slices: Annotated[str | None, typer.Option("--slice", help="Fields of the queries.")] = None,
    baselines: Annotated[str | None, typer.Option(help="Of bm25,svd,pca,random.")] = None,
    dtype: Annotated[str, typer.Option(help="Compute in float32 or bfloat16.")] = "float32",
    cache: Annotated[bool, typer.Option(help=CACHE_HELP)] = True,
    adapter: Annotated[Path | None, typer.Option(help="Put this behind the model.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Unknown ids are errors.")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curve's rows.")] = False,
) -> None:
    """Measure quality, bytes and latency at every operating point, encoding once.

    Example: `nestvec evaluate all-MiniLM-L6-v2 scifact --out curve.json`
    """
    from nestvec.models.adapted import behind
    from nestvec.models.load import load_model

    check_output(out)
    grid = _grid(
        precisions=parse_words(precisions),
        keeps=parse_ints(keeps, option="--keeps"),
        metrics=parse_words(metric) or None,
        depth=depth,
        extra=parse_words(points),
        group_by=group_by,
        slice_by=parse_words(slices),
        baselines=parse_words(baselines),
    )
    data = _load(dataset, split=split, queries=queries, source=make_queries, strict=strict)
    encoder = load_model(
        model,
        dims=parse_ints(dims, option="--dims"),
        dtype=parse_dtype(dtype),
        trust_remote_code=trust_remote_code,
        cache=shared_cache(cache),
    )
    curve = _measure(behind(encoder, adapter), data, grid)
    curve.save(out)
    if as_json:
        typer.echo(json.dumps([row.to_json() for row in curve.points], indent=1))
    else:
        _tell(curve, grid, out)


def _tell(curve: Curve, grid: Grid, out: Path) -> None:
    for line in _summary(curve, grid):
        say(line)
    say(f"{len(curve.points)} operating points in {shown_path(out)}")
    say_next(_next(curve, out))


def _load(
    dataset: Path, *, split: str | None, queries: Path | None, source: str | None, strict: bool
) -> RetrievalSet | SimilaritySet:
    """Load what the arguments say: judged queries, a log, queries to be made, or a file's rows."""
    from nestvec.data.corpus import load_corpus
    from nestvec.data.made_queries import make_queries
    from nestvec.data.retrieval import load_dataset, load_query_log
    from nestvec.data.similarity import load_similarity

    if queries is not None and source is not None:
        raise InvalidArgument("--queries and --make-queries: take one of them")
    if queries is not None:
        return load_query_log(dataset, queries)
    if source is not None:
        chosen: Any = source  # make_queries checks it
        return make_queries(load_corpus(dataset), source=chosen, name=dataset.resolve().name)
    if dataset.is_file():
        return load_similarity(dataset)
    return load_dataset(dataset, split=split, strict=strict)


def _measure(model: Encoder, data: RetrievalSet | SimilaritySet, grid: Grid) -> Curve:
    from nestvec.data.retrieval import RetrievalSet
    from nestvec.measure.run import evaluate as measure
    from nestvec.measure.similarity import evaluate_similarity

    with progress("measure") as on_progress:
        if isinstance(data, RetrievalSet):
            return measure(model, data, grid, on_progress=on_progress)
        return evaluate_similarity(model, data, grid, on_progress=on_progress)


def _grid(
    *,
    precisions: tuple[str, ...],
    keeps: tuple[int, ...] | None,
    **others: Any,
) -> Grid:
    from nestvec.measure.grid import DEFAULT_GRID, Grid

    chosen: Any = precisions  # a point checks each when it is made
    shortlisted = tuple(name for name in DEFAULT_GRID.shortlisted if not chosen or name in chosen)
    return Grid(
        precisions=chosen or DEFAULT_GRID.precisions, shortlisted=shortlisted, keeps=keeps, **others
    )


def _summary(curve: Curve, grid: Grid) -> Iterator[str]:
    from nestvec.report.tables import retention_table

    yield from retention_table(
        {curve.model.name: curve}, curve.main_metric, precisions=grid.precisions
    )
    if _EVIDENCE[curve.evidence]:
        yield _EVIDENCE[curve.evidence]
    yield f"dims from {curve.model.dims_source}"
    untidy = [
        f"{count:,} {name.replace('_', ' ')}" for name, count in curve.counts.items() if count
    ]
    if untidy:
        yield from wrap(f"untidy: {', '.join(untidy)}", width(), subsequent_indent="  ")


def _next(curve: Curve, out: Path) -> str:
    if not curve.scores.metrics:
        return f"nestvec report {shown_path(out)}"
    goal = "--min-overlap 0.95" if curve.evidence == "agreement" else "--min-retention 0.98"
    return f"nestvec plan {shown_path(out)} {goal}"
