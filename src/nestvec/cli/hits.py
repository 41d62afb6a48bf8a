"""Write what a search found as aligned lines: score, title, where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from nestvec.cli.console import printable

ShownHit = tuple[float, str, str]
"""Score, title, where."""

_GAP = 2
_LEAST = 20  # narrower than this, a name says nothing
_DOTTED = re.compile(r"[^\s.]+(\.[^\s.]+)+")


def hit_lines(hits: Sequence[ShownHit], *, width: int) -> Iterator[str]:
    """Write hits in columns, each line at most ``width`` cells wide.

    A column that is too long gives way: of a dotted name and of a path the last parts are kept,
    of any other text the first words.
    """
    scores = [f"{score:6.2f}" for score, _, _ in hits]
    titles = [printable(title) for _, title, _ in hits]
    places = [printable(where) for _, _, where in hits]
    room = max(2 * _LEAST, width - len("  0.71") - 2 * _GAP)
    for_title = max(room // 2, room - _longest(places))
    titles = [shorten(title, for_title) for title in titles]
    column = _longest(titles)
    for score, title, place in zip(scores, titles, places, strict=True):
        parts = (score, set_cell_size(title, column), shorten(place, room - column))
        yield (" " * _GAP).join(parts).rstrip()


def _longest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def shorten(text: str, cells: int) -> str:
    """Cut a text to a number of cells at a joint of its own, with a sign that it was cut.

    >>> shorten("multiprocessing.process.BaseProcess.start", 26), shorten("lib/a/csv.py:80", 12)
    ('…process.BaseProcess.start', '…/csv.py:80')
    """
    if cell_len(text) <= cells:
        return text
    joint = "/" if "/" in text and " " not in text else "." if _DOTTED.fullmatch(text) else " "
    if joint == " ":
        return _first(text, cells)
    return _last(text, joint, cells)


def _first(text: str, cells: int) -> str:
    cut = set_cell_size(text, cells - 1).rstrip()
    words = cut.rpartition(" ")[0]
    return (words if cell_len(words) > cells // 2 else cut) + "…"


def _last(text: str, joint: str, cells: int) -> str:
    mark = "…" if joint == "." else "…" + joint
    parts = text.split(joint)
    for start in range(1, len(parts)):
        kept = mark + joint.join(parts[start:])
        if cell_len(kept) <= cells:
            return kept
    # Even the last part is too long: its end says more than its beginning (``name.py:80``).
    end = parts[-1]
    while cell_len(end) > cells - 1:
        end = end[1:]
    return "…" + end
