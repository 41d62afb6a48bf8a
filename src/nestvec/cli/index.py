"""``nestvec index``: build the two-stage index of a corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import check_output, progress, say, say_next, shown_path
from nestvec.errors import InvalidArgument

if TYPE_CHECKING:
    from nestvec.workflows.text_index import Index

app = typer.Typer(help="Build an index.", rich_markup_mode="markdown")


@app.callback()
def _group() -> None:
    """Build an index."""


@app.command("build")
def build(
    model: Annotated[str, typer.Argument(help="Model folder, hub id, or folder of vectors.")],
    corpus: Annotated[Path, typer.Argument(help="BEIR folder, or JSONL, CSV, Parquet.")],
    out: Annotated[Path, typer.Option(help="Index folder to write.")],
    plan: Annotated[Path | None, typer.Option(help="What `nestvec plan` wrote.")] = None,
    point: Annotated[str | None, typer.Option(help="Or a point: 64:binary@200>512:int8.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Let the model's own code run.")
    ] = False,
) -> None:
    """Encode a corpus and write the index of an operating point.

    Example: `nestvec index build model corpus.jsonl --plan plan.json --out index`
    """
    from nestvec.data.corpus import load_corpus
    from nestvec.models.load import load_model
    from nestvec.plan.choose import Plan
    from nestvec.types import OperatingPoint
    from nestvec.workflows.index_building import build_index

    if (plan is None) == (point is None):
        raise InvalidArgument("name either --plan PLAN or --point POINT")
    check_output(out, folder=True)
    chosen = Plan.load(plan) if plan else OperatingPoint.parse(point or "")
    start = time.perf_counter()
    documents = load_corpus(corpus)
    encoder = load_model(model, trust_remote_code=trust_remote_code)
    with progress("index") as on_progress:
        index = build_index(encoder, documents, chosen, out, on_progress=on_progress)
    with index:
        seconds = time.perf_counter() - start
        say(f"{len(index):,} documents at {index.point}: {megabytes(index)}, {seconds:.0f} s")
    say_next(f'nestvec search {shown_path(out)} "your question"')


def megabytes(index: Index) -> str:
    """Write what the vectors of an index take."""
    size = index.bytes
    ram, disk = (len(index) * each / 1e6 for each in (size.ram_per_vector, size.disk_per_vector))
    return f"{ram:.1f} MB in memory, {disk:.1f} MB on disk"
