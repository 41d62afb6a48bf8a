"""Progress on standard error: a bar on a terminal, whole lines in a pipe."""

import re
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from nestvec.cli import console, progress
from nestvec.cli.progress import PlainLines
from nestvec.types import begin_step


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines():
    return []


def plain(clock, lines, **options):
    options = {"unit": "texts", **options}
    return PlainLines("work", **options, write=lines.append, clock=clock, ticks=False)


def test_a_line_comes_after_10_s_and_then_every_30_s(clock, lines):
    shown = plain(clock, lines)
    shown.begin("encode corpus", "texts")
    for second in range(0, 101, 5):
        clock.now = second
        shown(410 * second, 42_517)
    assert lines == [
        f"encode corpus: {410 * second:,} of 42,517 texts, 410/s, {left} s left"
        for second, left in ((10, 94), (40, 64), (70, 34), (100, 4))
    ]
    clock.now = 104
    shown(42_517, 42_517)
    shown.close(finished=True)
    assert lines[4:] == ["encode corpus: 42,517 texts in 104 s"]


def test_a_line_is_due_also_when_nothing_is_reported(clock, lines):
    shown = plain(clock, lines)
    shown.begin("encode corpus", "texts")
    for clock.now in range(60):
        shown.tick()
    assert lines == ["encode corpus: running for 10 s", "encode corpus: running for 40 s"]


def test_each_step_has_its_own_rate_and_end(clock, lines):
    shown = plain(clock, lines)
    for name, seconds in (("encode corpus", 20), ("measure", 8), ("baselines", 1)):
        begin_step(shown, name)
        for number in range(1, seconds + 1):
            clock.now += 1
            shown(number, seconds)
    shown.close(finished=True)
    assert lines == [
        "encode corpus: 10 of 20 steps, 1/s, 10 s left",
        "encode corpus: 20 steps in 20 s",
        "measure: 8 steps in 8 s",
    ]


def test_what_was_done_before_does_not_count_in_the_rate(clock, lines):
    shown = plain(clock, lines)
    shown(9_000, 10_000)  # read from the cache at once
    for clock.now in range(1, 11):
        shown(9_000 + 10 * clock.now, 10_000)
    assert lines == ["work: 9,100 of 10,000 texts, 10/s, 90 s left"]


def test_a_total_that_grows_is_not_shown(clock, lines):
    shown = plain(clock, lines, unit="documents")
    for clock.now in range(1, 11):
        shown(100 * clock.now, 100 * clock.now)
    assert lines == ["work: 1,000 documents, 100/s"]


def test_a_lower_count_begins_a_step_of_the_same_name(clock, lines):
    shown = plain(clock, lines, unit="steps")
    for start in (0, 5):
        for number in range(1, 6):
            clock.now = start + number
            shown(number, 5)
    shown.close(finished=True)
    assert lines == ["work: 5 steps in 6 s", "work: 5 steps in 4 s"]


def test_an_error_ends_a_step_without_a_line(clock, lines):
    shown = plain(clock, lines)
    clock.now = 9
    shown(1, 2)
    shown.close(finished=False)
    assert lines == []


def test_the_label_can_stand_before_the_name(clock, lines):
    shown = plain(clock, lines, prefix=True)
    shown.begin("encode corpus", "texts")
    clock.now = 5
    shown(7, 7)
    shown.close(finished=True)
    assert lines == ["work, encode corpus: 7 texts in 5 s"]


def screen(monkeypatch, *, is_terminal):
    seen = StringIO()
    seen.isatty = lambda: is_terminal
    # A terminal for rich in both cases, as FORCE_COLOR makes a pipe one.
    made = Console(file=seen, force_terminal=True, highlight=False, width=80)
    monkeypatch.setattr(console, "_errors", made)
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0)
    monkeypatch.setattr(progress, "SHORT_S", 0)
    return seen


def work():
    with progress.progress("work", unit="documents") as on_progress:
        for name in ("encode corpus", "measure"):
            begin_step(on_progress, name, "documents")
            for done in range(0, 1001, 250):
                on_progress(done, 1000)


def test_a_terminal_shows_a_bar(monkeypatch):
    seen = screen(monkeypatch, is_terminal=True)
    work()
    assert "\x1b" in seen.getvalue()
    assert "documents/s" in seen.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_breaks_long_lines_between_words(monkeypatch, is_terminal):
    seen = screen(monkeypatch, is_terminal=is_terminal)
    monkeypatch.setenv("COLUMNS", "40")
    text = "1,000 texts to send, about 21,000 tokens, 4 requests; price unknown"
    console.log(text)
    lines = seen.getvalue().splitlines()
    if is_terminal:
        assert max(map(len, lines)) <= 40
        assert " ".join(line.strip() for line in lines) == text
    else:
        assert lines == [text]


def test_a_pipe_gets_lines_without_control_codes(monkeypatch):
    seen = screen(monkeypatch, is_terminal=False)
    work()
    assert not set("\x1b\r") & set(seen.getvalue())
    assert seen.getvalue().splitlines() == [
        "encode corpus: 0 of 1,000 documents",
        "encode corpus: 1,000 documents in 0 s",
        "measure: 0 of 1,000 documents",
        "measure: 1,000 documents in 0 s",
    ]


def test_evaluate_in_a_pipe_prints_each_step(place):
    code = (
        "import sys\n"
        "from nestvec.cli import main, progress\n"
        "progress.FIRST_LINE_S = progress.NEXT_LINES_S = progress.SHORT_S = 0\n"
        "sys.argv = ['nestvec', 'evaluate', 'model', 'data', '--out', 'new.json']\n"
        "main.run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, timeout=120, check=True
    )
    assert not set(b"\x1b\r") & set(done.stderr)
    lines = done.stderr.decode().splitlines()
    assert "encode corpus: 60 of 60 texts, finishing" in lines
    assert any(line.startswith("encode corpus: 60 texts in ") for line in lines)
    pattern = re.compile(
        r"(encode (corpus|queries)|measure): ([\d,]+ of [\d,]+ (texts|steps)(, [\d,.]+/s)?"
        r"(, .* left|, finishing)?|[\d,]+ (texts|steps) in \d+ s|running for \d+ s)"
    )
    for line in lines:
        assert pattern.fullmatch(line), line
    assert lines[-1].startswith("measure: ")
