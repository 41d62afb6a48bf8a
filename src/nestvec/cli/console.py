"""Output to the terminal, errors and interrupts: what all commands share.

Titles, ids, file names and messages come from files of unknown origin. All text for the terminal
therefore passes through ``printable``. JSON output does not: JSON escapes control characters.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import wrap
from typing import NoReturn

import typer
from rich.console import Console

from nestvec.data.processes import block_interrupts
from nestvec.engines.places import is_url, shown_place
from nestvec.errors import DataError, require
from nestvec.wording import count_text

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_WIDEST, _NARROWEST = 80, 40
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(s|ms|B|kB|MB|GB|%)(\W|$))")

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return a text as one line, with spaces instead of characters that control a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def print_line(line: str) -> None:
    """Print one line on standard output."""
    typer.echo(printable(line))


def print_wrapped(text: str) -> None:
    """Print a text on standard output, broken into lines between words, not before a unit."""
    for line in _wrapped(_BEFORE_UNIT.sub("\u00a0", text)):  # printed as a space
        print_line(line)


def _wrapped(text: str) -> list[str]:
    return wrap(
        text, width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def print_next(*commands: str, heading: str = "Next") -> None:
    """Print commands that the user may run next; each begins with ``nestvec``."""
    for number, command in enumerate(commands):
        print_line(f"{'' if number else heading:<4}  {_runnable(command)}")


def _runnable(command: str) -> str:
    """Return a command that the shell finds: ``make demo`` runs a nestvec that is not on PATH."""
    program = Path(sys.argv[0])
    if program.name != "nestvec" or shutil.which("nestvec"):
        return command
    return command.replace("nestvec", shown_path(program), 1)


def fail(message: str, *, code: int = BAD_INPUT) -> NoReturn:
    """Print one line on standard error and exit."""
    warn(message)
    sys.exit(code)


def warn(message: str) -> None:
    """Print one line on standard error, above a progress bar if there is one."""
    # No markup: a file name may contain brackets that rich would interpret.
    _errors.print(f"nestvec: {' '.join(printable(message).split())}", markup=False)


def log(line: str) -> None:
    """Print a line about long work on standard error, above a progress bar if there is one.

    On a terminal, a long line is broken between words.
    """
    text = printable(line)
    _errors.print("\n".join(_wrapped(text)) if draws_bars() else text, markup=False)


class _Warnings(logging.Handler):
    """Prints each warning of the library once, and collects the warnings for JSON output."""

    def __init__(self) -> None:
        """Start without warnings."""
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record as one line, unless an equal line was printed before."""
        message = record.getMessage()
        if message not in self.messages:
            self.messages.append(message)
            warn(message)


_warnings = _Warnings()


def show_warnings() -> None:
    """Print the warnings of the library on standard error from now on."""
    _warnings.messages.clear()
    logging.getLogger("nestvec").handlers = [_warnings]


def warnings_shown() -> Mapping[str, list[str]]:
    """Return the warnings printed so far, for JSON output: ``{"warnings": [...]}``."""
    return {"warnings": list(_warnings.messages)}


def print_json(values: Mapping[str, object]) -> None:
    """Print one JSON object on standard output, with the warnings printed so far."""
    typer.echo(json.dumps({**values, **warnings_shown()}, indent=1))


def width() -> int:
    """Return the maximum width of lines: that of the terminal, from 40 to 80."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))


def error_console() -> Console:
    """Return the console that writes to standard error."""
    return _errors


def draws_bars() -> bool:
    """Report whether standard error is a terminal that can draw progress bars."""
    # Not is_interactive alone: FORCE_COLOR makes it true for a pipe as well.
    return _errors.is_interactive and _errors.file.isatty()


@contextmanager
def resumable(
    count_stored: Callable[[], int], total: int | None, *, noun: str = "document"
) -> Iterator[None]:
    """On Ctrl-C, exit with the number of documents that the same command need not encode again.

    Args:
        count_stored: Counts the documents that are stored.
        total: Number of documents; None if it is not known.
        noun: What is encoded instead of documents, in the singular.
    """
    try:
        yield
    except KeyboardInterrupt:
        stored = count_stored()
        if stored == 0:
            raise
        counted = count_text(stored, noun)
        if total is not None:
            counted = f"{stored:,} of {count_text(total, noun)}"
        verb = "is" if (total or stored) == 1 else "are"
        fail(
            f"interrupted. {counted} {verb} stored. Run the same command again to continue.",
            code=INTERRUPTED,
        )


def load_torch() -> None:
    """Import PyTorch while Ctrl-C waits: an interrupt of its C++ code would abort the process."""
    with block_interrupts():
        require("torch", extra="train")


def shown_path(path: Path | str) -> str:
    """Return a path relative to the working folder if possible, quoted for a shell if needed."""
    path = Path(path)
    with suppress(ValueError):  # not below the working folder
        path = path.resolve().relative_to(Path.cwd())
    return shlex.quote(str(path))


def shell_place(place: Path | str) -> str:
    """Return the place of an index for a command line: a path, or a URL without credentials."""
    return shlex.quote(shown_place(place)) if is_url(place) else shown_path(place)


def check_output(path: Path, *, folder: bool = False) -> None:
    """Check, before long work, that its output can be written.

    Raises:
        DataError: If the output is a file and the path is a folder, or the reverse, or the user
            may not write there.
    """
    if path.exists() and path.is_dir() != folder:
        found, wanted = ("a file", "a folder") if folder else ("a folder", "a file")
        raise DataError(path, f"is {found}. Name {wanted} to write.")
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir():
        raise DataError(path, f"cannot be written: {parent} is a file. Name another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise DataError(path, f"cannot be written: no permission in {parent}. Name another place.")
