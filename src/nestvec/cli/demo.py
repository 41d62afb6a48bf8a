"""``nestvec demo``: run all steps on the documentation of this Python installation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestvec.cli.console import check_output, load_torch, print_line, print_next, shown_path, width
from nestvec.cli.hits import hit_lines
from nestvec.cli.index_files import sizes
from nestvec.cli.options import SeedOption
from nestvec.cli.plan import plan_lines
from nestvec.cli.progress import progress
from nestvec.types import OnProgress

if TYPE_CHECKING:
    from nestvec.recipes.demo import Answer, DemoFolder

_INDENT = " " * 6


_Out = Annotated[Path, typer.Option(help="Folder to write.")]
_Quick = Annotated[
    bool,
    typer.Option(
        "--quick", help="Use the docstrings of the standard library only, which is faster."
    ),
]


def demo(out: _Out = Path("nestvec-demo"), quick: _Quick = False, seed: SeedOption = 0) -> None:
    """Run all steps once on the documentation of your own Python.

    Trains a model, measures it, chooses an operating point, builds an index and searches it.
    Nothing is downloaded.

    Example: nestvec demo --quick
    """
    from nestvec.recipes import demo as steps

    check_output(out, folder=True)
    folder = steps.DemoFolder(out)
    with steps.replacing(folder):
        _run(folder, quick=quick, seed=seed)
    print_line(f"See   {shown_path(folder.report)}")
    print_next(
        f'nestvec search {shown_path(folder.index)} "your question"',
        f"nestvec plan {shown_path(folder.curve)} --min-retention 0.95",
        f"nestvec evaluate {shown_path(folder.model)} YOUR-BEIR-FOLDER",
    )
    print_next(f"nestvec serve {shown_path(folder.out)}", heading="Open")


def _run(folder: DemoFolder, *, quick: bool, seed: int) -> None:
    from nestvec.planning.reasons import threshold_text
    from nestvec.recipes import demo as steps
    from nestvec.report.tables import retention_table

    with _step("1/6 texts") as (summary, on_progress):
        texts = steps.make_texts(folder, quick=quick, seed=seed, on_progress=on_progress)
        held_out = len(texts.qrels_by_split["test"])
        summary.append(
            f"{len(texts.corpus):,} documents, {held_out:,} held-out queries, from docstrings"
        )
    with _step("2/6 train") as (summary, on_progress):
        load_torch()
        config = steps.train_models(folder, quick=quick, seed=seed, on_progress=on_progress)
        dims = f"{config.dims[0]}..{config.dims[-1]} dims"
        summary.append(f"two static models, {dims}, one without Matryoshka")
    with _step("3/6 measure") as (summary, on_progress):
        curves = steps.measure(folder, dims=config.dims, on_progress=on_progress)
        curve = curves[steps.MATRYOSHKA]
        summary.append(f"{len(curve.points)} operating points, encoded once")
    _print_all(retention_table(curves, precisions=("int4", "binary")))
    with _step("4/6 choose") as (summary, _):
        chosen = steps.choose(folder, curve, seed=seed)
        target = threshold_text(chosen.goal)
        summary.append(f"least memory that retains {target} of quality")
    _print_all(plan_lines(chosen, encode_ms=curve.encode_ms, width=width() - len(_INDENT)))
    with _step("5/6 index") as (summary, on_progress):
        index = steps.build(folder, chosen, texts.corpus, on_progress=on_progress)
        stats = index.stats()
        summary.append(f"{sizes(stats.resident_bytes, stats.disk_bytes)}, verified")
    with _step("6/6 search") as (summary, _), index:
        answers = steps.ask(index)
        steps.write_chart_and_report(folder, curves, chosen)
        steps.build_page_codes(index, curve)
        summary.append(f"{len(answers)} questions, a report, and codes for the web page")
    _print_all(_answers(answers))


@contextmanager
def _step(name: str) -> Iterator[tuple[list[str], OnProgress]]:
    """Show progress, then print the step's line: its name, the parts of its summary, seconds."""
    start = time.perf_counter()
    summary: list[str] = []
    with progress(name, prefix=True) as on_progress:
        yield summary, on_progress
    print_line(
        _at_both_ends(f"{name:<12} {' '.join(summary)}", f"{time.perf_counter() - start:.0f} s")
    )


def _at_both_ends(left: str, right: str, *, indent: str = "") -> str:
    return f"{left:<{width() - len(indent) - len(right) - 1}} {right}"


def _print_all(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        print_line(_INDENT + line)


def _answers(answers: Sequence[Answer]) -> Iterator[str]:
    for answer in answers:
        milliseconds = f"{answer.milliseconds:.1f} ms"
        yield _at_both_ends(f'"{answer.question}"', milliseconds, indent=_INDENT)
        yield from hit_lines(answer.found, width=width() - len(_INDENT))
