"""``nestvec demo``: the whole loop on the documentation of this Python installation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import progress, shown_path
from nestvec.cli.index import megabytes
from nestvec.cli.search import hit_line

if TYPE_CHECKING:
    from nestvec.plan.choose import Plan
    from nestvec.report.page import Example

_WIDTH = 80
_INDENT = 6


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("nestvec-demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Standard library only.")] = False,
    seed: Annotated[int, typer.Option(help="Of the splits, the training and the plan.")] = 0,
) -> None:
    """Train, measure, choose, index and search, on texts that are on every machine.

    Example: `nestvec demo --quick`
    """
    from nestvec.report.tables import retention_table
    from nestvec.workflows import demo as steps

    folder = steps.DemoFolder(out)
    with _step("1/6 texts") as said, progress("texts") as on_progress:
        texts = steps.make_texts(folder, quick=quick, seed=seed, on_progress=on_progress)
        held_out = len(texts.qrels_by_split["test"])
        said.append(
            f"{len(texts.corpus):,} documents, {held_out:,} held-out queries: Python's docstrings"
        )
    with _step("2/6 train") as said, progress("train") as on_progress:
        config = steps.train_models(folder, quick=quick, seed=seed, on_progress=on_progress)
        said.append(
            f"static Matryoshka model, {config.dims[0]}..{config.dims[-1]} dims, and a plain twin"
        )
    with _step("3/6 measure") as said, progress("measure") as on_progress:
        curves = steps.measure(folder, dims=config.dims, on_progress=on_progress)
        curve = curves[steps.MATRYOSHKA]
        said.append(f"{len(curve.points)} operating points, ONE encode")
    for line in retention_table(curves, precisions=("int4", "binary")):
        typer.echo(f"      {line}")
    with _step("4/6 choose") as said:
        chosen = steps.choose(folder, curve, seed=seed)
        said.append(f"fewest bytes of memory that keep {chosen.budget.min_retention * 100:g} %")
    for line in _choice(chosen, encode_ms=curve.encode_ms):
        typer.echo(f"      {line}")
    with _step("5/6 index") as said:
        index = steps.build(folder, chosen, texts.corpus)
        said.append(f"{megabytes(index)}, verified")
    with _step("6/6 ask") as said, index:
        examples = steps.ask(index, texts.corpus)
        steps.write_up(folder, curves, chosen, examples)
        said.append("a few questions, and the report")
    for line in _answers(examples):
        typer.echo(f"      {line}")
    typer.echo(f"See   {shown_path(folder.report)}")
    typer.echo(f'Next  nestvec search {shown_path(folder.index)} "..."')


@contextmanager
def _step(name: str) -> Iterator[list[str]]:
    """Print a step's line when it is done: its name, what the block said, seconds."""
    start = time.perf_counter()
    said: list[str] = []
    yield said
    seconds = f"{time.perf_counter() - start:.0f} s"
    line = f"{name:<12} {' '.join(said)}"
    typer.echo(f"{line:<{_WIDTH - len(seconds) - 1}} {seconds}")


def _choice(chosen: Plan, *, encode_ms: float) -> Iterator[str]:
    verdict = "CONFIRMED" if chosen.confirmed else "NOT CONFIRMED"
    yield f"=> {chosen.point}   {verdict}"
    cost = chosen.row.cost
    times = (
        f"A search takes {cost.p50_ms:.2f} ms p50, {cost.p99_ms:.2f} ms p99 (warm, one thread), "
        f"at full width {chosen.full.cost.p50_ms:.2f} ms p50; encoding the query "
        f"{encode_ms:.2f} ms."
    )
    for reason in (*chosen.reasons, times):
        yield from wrap(
            reason,
            _WIDTH - _INDENT,
            initial_indent="   ",
            subsequent_indent="     ",
            break_on_hyphens=False,
        )


def _answers(examples: Sequence[Example]) -> Iterator[str]:
    for example in examples:
        milliseconds = f"{example.milliseconds:.1f} ms"
        question = f'"{example.query}"'
        yield f"{question:<{_WIDTH - _INDENT - len(milliseconds) - 1}} {milliseconds}"
        for title, where, score in example.after:
            yield hit_line(score, title, where, width=_WIDTH - _INDENT)
