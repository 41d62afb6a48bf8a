"""What every command shares: how errors end, and how long work shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nestvec.errors import InvalidArgument
from nestvec.types import OnProgress

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str, *, code: int = BAD_INPUT) -> NoReturn:
    """End with one line on standard error."""
    # Bare text: a file name may hold what rich would take for markup.
    _errors.print(f"nestvec: {' '.join(message.split())}", markup=False)
    sys.exit(code)


@contextmanager
def progress(label: str) -> Iterator[OnProgress]:
    """Show a bar on a terminal while the block runs; stay quiet in a pipe."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = Progress(*columns, console=_errors, transient=True, disable=not _errors.is_terminal)
    with shown:
        task = shown.add_task(label, total=1)

        def on_progress(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield on_progress


def parse_ints(text: str | None, *, option: str) -> tuple[int, ...] | None:
    """Read ``512,256,64``.

    Raises:
        InvalidArgument: If a part is not a whole number.
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidArgument(f"{option} {text!r}: write whole numbers as 512,256,64") from error


def parse_words(text: str | None) -> tuple[str, ...]:
    """Read ``int8,binary``."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def shown_path(path: Path) -> str:
    """Write a path as short as it can be typed from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
