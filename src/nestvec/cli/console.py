"""What every command shares: what reaches the terminal, how errors end, how long work shows.

Titles, ids, file names and messages come from strangers' files: whatever is shown for people
passes through ``printable``. JSON does not need it, as its own escapes leave nothing raw.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import wrap
from typing import NoReturn

import typer
from rich.console import Console

from nestvec.data.processes import block_interrupts
from nestvec.errors import DataError, require

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_WIDEST, _NARROWEST = 80, 40

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return one line with a space for whatever a terminal would act on instead of showing."""
    return "".join(character if character.isprintable() else " " for character in text)


def say(line: str) -> None:
    """Print one line for people."""
    typer.echo(printable(line))


def say_wrapped(text: str) -> None:
    """Print a text for people in as many lines as it needs, cut only between words."""
    for line in wrap(
        text, width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    ):
        say(line)


def say_next(*commands: str, heading: str = "Next") -> None:
    """Print the commands to type next, each beginning with ``nestvec``."""
    for number, command in enumerate(commands):
        say(f"{'' if number else heading:<4}  {_typed(command)}")


def _typed(command: str) -> str:
    """Return a command as it can be typed: ``make demo`` has its program off the search path."""
    program = Path(sys.argv[0])
    if program.name != "nestvec" or shutil.which("nestvec"):
        return command
    return command.replace("nestvec", shown_path(program), 1)


def fail(message: str, *, code: int = BAD_INPUT) -> NoReturn:
    """End with one line on standard error."""
    warn(message)
    sys.exit(code)


def warn(message: str) -> None:
    """Print one line on standard error, above a progress bar if there is one."""
    # Bare text: a file name may hold what rich would take for markup.
    _errors.print(f"nestvec: {' '.join(printable(message).split())}", markup=False)


def log(line: str) -> None:
    """Print a line of a long run's log on standard error, above a progress bar if there is one."""
    _errors.print(printable(line), markup=False)


class Warnings(logging.Handler):
    """Shows what the library warns about."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record as one line."""
        warn(record.getMessage())


def width() -> int:
    """Return how wide lines may be: the terminal's width, at most 80."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))


def error_console() -> Console:
    """Return the console that writes to standard error."""
    return _errors


def draws_bars() -> bool:
    """Tell whether standard error is a terminal that can draw progress bars."""
    # Not is_interactive alone: FORCE_COLOR makes it true for a pipe as well.
    return _errors.is_interactive and _errors.file.isatty()


@contextmanager
def going_on_later(count_kept: Callable[[], int], total: int) -> Iterator[None]:
    """End on Ctrl-C with how many of the documents are kept for the same command to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        kept = count_kept()
        if kept == 0:
            raise
        said = f"interrupted; {kept:,} of {total:,} documents kept, the same command goes on"
        fail(said, code=INTERRUPTED)


def load_torch() -> None:
    """Load PyTorch; Ctrl-C waits meanwhile, of which its C++ would abort the whole process."""
    with block_interrupts():
        require("torch", extra="train")


def shown_path(path: Path | str) -> str:
    """Write a path as short as it can be typed from here, quoted where a shell needs it."""
    path = Path(path)
    with suppress(ValueError):  # it lies elsewhere
        path = path.resolve().relative_to(Path.cwd())
    return shlex.quote(str(path))


def check_output(path: Path, *, folder: bool = False) -> None:
    """Refuse, before long work, an output that could not be written after it.

    Raises:
        DataError: If a folder stands where a file is to be written or the other way round, or
            nothing may be written there.
    """
    if path.exists() and path.is_dir() != folder:
        kinds = ("a file", "a folder") if folder else ("a folder", "a file")
        raise DataError(path, f"is {kinds[0]}: name {kinds[1]} to write")
    parent = next(each for each in path.absolute().parents if each.exists())
    if not parent.is_dir():
        raise DataError(path, f"cannot be written: {parent} is a file")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise DataError(path, f"cannot be written: no permission in {parent}")
