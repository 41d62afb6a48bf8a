"""``nestvec evaluate``: measure the whole curve of a model on a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestvec.cli.console import (
    check_output,
    parse_ints,
    parse_words,
    progress,
    say,
    say_next,
    shown_path,
)

if TYPE_CHECKING:
    from nestvec.evaluate.grid import Grid


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder, hub id, or folder of vectors.")],
    dataset: Annotated[Path, typer.Argument(help="BEIR folder: corpus, queries, qrels.")],
    out: Annotated[Path, typer.Option(help="Curve to write.")] = Path("curve.json"),
    split: Annotated[str | None, typer.Option(help="Split of the qrels.")] = None,
    dims: Annotated[str | None, typer.Option(help="Widths, e.g. 512,128,64.")] = None,
    precisions: Annotated[str | None, typer.Option(help="E.g. float32,int8,binary.")] = None,
    keeps: Annotated[str | None, typer.Option(help="Lengths of the shortlist.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metrics; the first is shown.")] = None,
    bm25: Annotated[bool, typer.Option(help="Put BM25 beside the model.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Unknown ids are errors.")] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the curve's rows.")] = False,
) -> None:
    """Measure quality, bytes and latency at every operating point, encoding once.

    Example: `nestvec evaluate all-MiniLM-L6-v2 scifact --out curve.json`
    """
    from nestvec.data.retrieval import load_dataset
    from nestvec.evaluate.run import evaluate as measure
    from nestvec.models.load import load_model

    check_output(out)
    grid = _grid(precisions, parse_ints(keeps, option="--keeps"), parse_words(metric), bm25=bm25)
    data = load_dataset(dataset, split=split, strict=strict)
    encoder = load_model(
        model, dims=parse_ints(dims, option="--dims"), trust_remote_code=trust_remote_code
    )
    with progress("measure") as on_progress:
        curve = measure(encoder, data, grid, on_progress=on_progress)
    curve.save(out)
    if as_json:
        import json

        typer.echo(json.dumps([row.to_json() for row in curve.points], indent=1))
        return
    from nestvec.report.tables import retention_table

    shown = curve.main_metric
    for line in retention_table({curve.model.name: curve}, shown, precisions=grid.precisions):
        say(line)
    for line in _notes(curve.counts, dims_source=curve.model.dims_source):
        say(line)
    say(f"{len(curve.points)} operating points in {shown_path(out)}")
    of_metric = "" if shown == "ndcg@10" else f" --metric {shown}"
    say_next(f"nestvec plan {shown_path(out)} --min-retention 0.98{of_metric}")


def _grid(
    precisions: str | None,
    keeps: tuple[int, ...] | None,
    metrics: tuple[str, ...],
    *,
    bm25: bool,
) -> Grid:
    from nestvec.evaluate.grid import DEFAULT_GRID, Grid

    chosen: Any = parse_words(precisions)  # a point checks each when it is made
    shortlisted = tuple(name for name in DEFAULT_GRID.shortlisted if not chosen or name in chosen)
    return Grid(
        precisions=chosen or DEFAULT_GRID.precisions,
        shortlisted=shortlisted,
        keeps=keeps,
        metrics=metrics or None,
        baselines=("bm25",) if bm25 else (),
    )


def _notes(counts: Mapping[str, int], *, dims_source: str) -> list[str]:
    untidy = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    notes = [f"dims from {dims_source}"]
    return [*notes, f"untidy: {', '.join(untidy)}"] if untidy else notes
