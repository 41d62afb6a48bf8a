"""``nestvec export``: write measurements in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nestvec.cli.console import print_line, print_wrapped, shown_path
from nestvec.cli.options import parse_words
from nestvec.wording import count_text

app = typer.Typer(
    help="Write measurements in the formats of other programs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _export() -> None:
    """Make ``results`` a subcommand: typer would merge a single command with its group."""


@app.command()
def results(
    curve: Annotated[Path, typer.Argument(help="Curve file that 'nestvec evaluate' wrote.")],
    format: Annotated[
        str,
        typer.Option(
            help="Format of the files: mteb (task results of MTEB) or hakari (results of "
            "HAKARI-Bench)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write, such as results.")],
    task: Annotated[
        str | None,
        typer.Option(
            help="Name of the task in the other program, such as SciFact.",
            show_default="the name of the data set",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of the model, such as owner/name.", show_default="its name in the curve"
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Hub id of the data set, such as hakari-bench/NanoBEIR-en.",
            show_default="the name of the data set",
        ),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(help="Languages of the texts for MTEB, such as eng-Latn,deu-Latn."),
    ] = None,
) -> None:
    """Export all operating points of a curve as results of MTEB or HAKARI-Bench.

    Example: nestvec export results curve.json --format mteb --task SciFact --out results
    """
    from nestvec.curve.curve import Curve
    from nestvec.export.result_names import ResultNames
    from nestvec.export.results import export_results

    chosen: Any = format  # export_results checks the value
    names = ResultNames(model or "", task or "", dataset or "", parse_words(languages))
    exported = export_results(Curve.load(curve), out, format=chosen, names=names)
    print_line(f"{count_text(len(exported.files), 'file')} in {shown_path(out)}")
    for note in exported.notes:
        print_wrapped(f"note: {note}")
