"""Progress of long work: a bar on a terminal, plain lines in a pipe or a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Protocol

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nestvec.cli import console
from nestvec.types import StepProgress

FIRST_LINE_S, NEXT_LINES_S = 10.0, 30.0
"""Plain lines: seconds from the start of a step to its first line, and between later lines."""
SHORT_S = 3.0
"""Plain lines: a step that ends sooner prints no line."""
_TICK_S = 1.0


class _Shown(StepProgress, Protocol):
    """Progress that is visible until it is closed."""

    def close(self, *, finished: bool) -> None:
        """End the last step; ``finished`` is False after an error or an interrupt."""
        ...


@contextmanager
def progress(label: str, *, unit: str = "steps", prefix: bool = False) -> Iterator[StepProgress]:
    """Show how far the work of the block is, on standard error.

    Args:
        label: Name of the work, until the block begins a step with a name.
        unit: What is counted, in the plural.
        prefix: Show the label also before the names of steps.
    """
    bar = console.draws_bars()
    shown: _Shown = (Bar if bar else PlainLines)(label, unit, prefix=prefix)
    finished = False
    try:
        yield shown
        finished = True
    finally:
        shown.close(finished=finished)


@dataclass
class _Step:
    """One step of the work.

    Attributes:
        name: Name that is shown.
        unit: What is counted, in the plural.
        start: Time when the step began, in seconds.
        next_line: Time from when the next line is due, in seconds.
        done: How much is done.
        total: How much there is; None until it is known.
        grows: The total grew, so the time left cannot be estimated.
        first: Time and ``done`` of the first report: work that was done before does not count in
            the rate.
        last: Time of the last report.
        named: The work began this step by name; the first step has only the label of the work.
    """

    name: str
    unit: str
    start: float
    next_line: float
    done: int = 0
    total: int | None = None
    grows: bool = False
    first: tuple[float, int] | None = None
    last: float = 0.0
    named: bool = False

    def update(self, done: int, total: int, now: float) -> None:
        """Set what is done of how much."""
        self.grows = self.grows or (self.total is not None and total > self.total)
        self.done, self.total, self.last = done, total, now
        if self.first is None:
            self.first = now, done

    @property
    def rate(self) -> float | None:
        """How many are done in a second; None until two reports differ."""
        if self.first is None:
            return None
        seconds, count = self.last - self.first[0], self.done - self.first[1]
        return count / seconds if seconds > 0 and count > 0 else None

    def line(self, now: float) -> str:
        """Describe the state, such as ``encode corpus: 120 of 400 texts, 40/s, 7 s left``."""
        if self.total is None:
            return f"{self.name}: running for {duration_text(now - self.start)}"
        of_total = "" if self.grows else f" of {self.total:,}"
        parts = [f"{self.done:,}{of_total} {self.unit}"]
        if self.rate is not None:
            parts.append(f"{rate_text(self.rate)}/s")
        if self.done >= self.total and not self.grows:
            parts.append("finishing")
        elif self.rate is not None and not self.grows:
            parts.append(f"{duration_text((self.total - self.done) / self.rate)} left")
        return f"{self.name}: {', '.join(parts)}"

    def last_line(self, now: float) -> str:
        """Describe the finished step."""
        what = f"{self.done:,} {self.unit}" if self.done else "done"
        return f"{self.name}: {what} in {duration_text(now - self.start)}"


class PlainLines:
    """Progress as whole lines: one when a long step ends, and one from time to time before."""

    def __init__(
        self,
        label: str,
        unit: str,
        *,
        prefix: bool = False,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        ticks: bool = True,
    ) -> None:
        """Begin a step with the name ``label``.

        Args:
            label: As in ``progress``.
            unit: As in ``progress``.
            prefix: As in ``progress``.
            write: Prints a line; None for standard error.
            clock: Returns seconds.
            ticks: Print due lines also when the work reports nothing, from a thread.
        """
        self._label, self._unit, self._prefix = label, unit, prefix
        self._write, self._clock = write or console.log, clock
        self._lock, self._closed = Lock(), Event()
        self._step = self._new_step(label, unit)
        if ticks:
            Thread(target=self._tick_until_closed, daemon=True).start()

    def begin(self, name: str, unit: str = "steps") -> None:
        """End the current step and begin another."""
        with self._lock:
            self._end_step()
            self._step = self._new_step(_title(self._label, name, prefix=self._prefix), unit)
            self._step.named = True

    def __call__(self, done: int, total: int) -> None:
        """Report progress of the current step; a lower count begins a step of the same name."""
        with self._lock:
            if done < self._step.done:
                self._end_step()
                self._step = self._new_step(self._step.name, self._step.unit)
            self._step.update(done, total, self._clock())
            self._write_if_due()

    def tick(self) -> None:
        """Print a line if one is due."""
        with self._lock:
            self._write_if_due()

    def close(self, *, finished: bool) -> None:
        """End the last step."""
        self._closed.set()
        with self._lock:
            if finished:
                self._end_step()

    def _new_step(self, name: str, unit: str) -> _Step:
        now = self._clock()
        return _Step(name, unit, start=now, next_line=now + FIRST_LINE_S)

    def _end_step(self) -> None:
        now, step = self._clock(), self._step
        if now - step.start >= SHORT_S and (step.named or step.total is not None):
            self._write(step.last_line(now))

    def _write_if_due(self) -> None:
        now = self._clock()
        if now >= self._step.next_line:
            self._step.next_line = now + NEXT_LINES_S
            self._write(self._step.line(now))

    def _tick_until_closed(self) -> None:
        while not self._closed.wait(_TICK_S):
            self.tick()


class Bar:
    """Progress as a bar with the time left, which disappears at the end."""

    def __init__(self, label: str, unit: str, *, prefix: bool = False) -> None:
        """Show a bar; arguments as in ``progress``."""
        self._label, self._prefix = label, prefix
        self._rate = _Rate(unit)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),  # all columns together fit into 80
            TaskProgressColumn(),
            self._rate,
            TimeRemainingColumn(compact=True),
            console=console.error_console(),
            transient=True,
        )
        self._task = self._progress.add_task(label, total=None)
        self._done = 0
        self._progress.start()

    def begin(self, name: str, unit: str = "steps") -> None:
        """Show another step, from its beginning."""
        self._rate.unit, self._done = unit, 0
        title = _title(self._label, name, prefix=self._prefix)
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Report progress of the current step; a lower count begins a step of the same name."""
        if done < self._done:  # another kind of work, with another speed
            self._progress.reset(self._task, total=total)
        self._done = done
        self._progress.update(self._task, completed=done, total=total)

    def close(self, *, finished: bool) -> None:
        """Remove the bar."""
        self._progress.stop()


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Write the rate, once it is known."""
        rate = f"{rate_text(task.speed)} {self.unit}/s" if task.speed else ""
        return Text(rate, style="progress.data.speed")


def _title(label: str, name: str, *, prefix: bool) -> str:
    if label.endswith(name):  # "2/6 train", train
        return label
    return f"{label}, {name}" if prefix else name


def rate_text(rate: float) -> str:
    """Write a rate with two significant digits or more.

    >>> rate_text(1234.5), rate_text(41.2), rate_text(2.44), rate_text(0.0312)
    ('1,234', '41', '2.4', '0.031')
    """
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration_text(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours.

    >>> duration_text(74.2), duration_text(200), duration_text(754), duration_text(9000)
    ('74 s', '3 min 20 s', '13 min', '2 h 30 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
