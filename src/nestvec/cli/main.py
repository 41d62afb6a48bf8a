"""The ``nestvec`` command: registers the commands and turns errors into one line."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from nestvec.cli import demo, evaluate, index, plan, report, search, train
from nestvec.cli.console import INTERRUPTED, fail
from nestvec.errors import NestvecError
from nestvec.version import __version__

app = typer.Typer(
    help="Know what each dimension and bit of your embeddings is worth; search with just those.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("plan")(plan.plan)
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("report")(report.report)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"nestvec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


def run() -> None:
    """Run the command line; bad input ends with one line and exit code 2."""
    try:
        app()
    except NestvecError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; what was there before is untouched", code=INTERRUPTED)
    except BrokenPipeError:
        # The reader of the pipe has left (``| head``). Nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    run()
