"""The ``nestvec`` command: registers all commands and prints errors as one line.

Users can fix errors of nestvec and of the operating system, so these errors print one line. Any
other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.main import get_command

from nestvec.cli import (
    adapt,
    batch,
    check,
    compare,
    convert,
    demo,
    embed,
    evaluate,
    export,
    index,
    known_models,
    plan,
    report,
    search,
    serve,
    shrink,
    train,
    verify,
)
from nestvec.cli.console import INTERRUPTED, fail, show_warnings
from nestvec.errors import NestvecError
from nestvec.version import __version__

_HELP = {"help_option_names": ["-h", "--help"]}
# Base class of usage errors. typer exports only this subclass in all of its versions.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Train, measure, choose, index and serve Matryoshka embeddings: vectors that still work "
    "when they are truncated or quantized.",
    epilog="Start with 'nestvec demo --quick', which runs all steps in half a minute.",
    context_settings=_HELP,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("adapt")(adapt.adapt)
app.command("apply")(adapt.apply)
app.command("convert")(convert.convert)
app.command("embed")(embed.embed)
app.command("evaluate")(evaluate.evaluate)
app.command("plan")(plan.plan)
app.command("verify")(verify.verify)
app.add_typer(batch.app, name="batch")
app.add_typer(index.app, name="index")
app.command("search")(search.search)
app.command("check")(check.check)
app.command("shrink")(shrink.shrink)
app.command("compare")(compare.compare)
app.command("serve")(serve.serve)
app.command("report")(report.report)
app.add_typer(export.app, name="export")
app.command("models")(known_models.models)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nestvec {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Accept the options that come before a command."""


def _with_capitals(command: Any) -> Any:
    """Name the arguments of a command in capitals, as help texts and error messages do."""
    for parameter in command.params:
        if parameter.param_type_name == "argument" and parameter.metavar is None:
            parameter.metavar = parameter.name.upper()
    for each in getattr(command, "commands", {}).values():
        _with_capitals(each)
    return command


def run() -> None:
    """Run the command line; bad input prints one line and exits with code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack characters
    show_warnings()
    try:
        command = _with_capitals(get_command(app))
        code = command(sys.argv[1:] or ["--help"], prog_name="nestvec", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        _end(error)
        raise
    if code == INTERRUPTED:  # typer returns this code after Ctrl-C
        _end(KeyboardInterrupt())
    sys.exit(code)


def _end(error: BaseException) -> None:
    """Exit with one line if the user can fix the error; return if it is a bug."""
    match error:
        case NestvecError():
            fail(str(error))
        case _UsageError():
            fail(_usage(error))
        case KeyboardInterrupt() | typer.Abort():
            fail("interrupted. Existing files are unchanged.", code=INTERRUPTED)
        case BrokenPipeError():
            # The pipe has no reader any more (``| head``), so a flush at exit would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        case OSError(errno=int(), filename=None):
            fail(str(error.strerror))
        case OSError(errno=int()):
            fail(f"{error.filename}: {error.strerror}")


def _usage(error: Any) -> str:
    command = error.ctx.command_path if error.ctx else "nestvec"
    return f"{error.format_message().rstrip('.')}. Run '{command} --help' for help."


if __name__ == "__main__":
    run()
