"""Format hits of a search as aligned columns: score, title, place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from nestvec.cli.console import printable

ShownHit = tuple[float, str, str]
"""Score, title and place."""

_GAP = 2
_LEAST = 20  # narrower names are unreadable
_DOTTED = re.compile(r"[^\s.]+(\.[^\s.]+)+")


def hit_lines(hits: Sequence[ShownHit], *, width: int) -> Iterator[str]:
    """Yield hits as lines in columns, each at most ``width`` cells wide.

    Long titles and places are shortened: dotted names and paths to their last parts, other texts
    to their first words.
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
    """Shorten a text to a number of cells between words or parts, marked by an ellipsis.

    >>> shorten("multiprocessing.process.BaseProcess.start", 26), shorten("lib/a/csv.py:80", 12)
    ('…process.BaseProcess.start', '…/csv.py:80')
    """
    if cell_len(text) <= cells:
        return text
    separator = "/" if "/" in text and " " not in text else "." if _DOTTED.fullmatch(text) else " "
    if separator == " ":
        return _first(text, cells)
    return _last(text, separator, cells)


def _first(text: str, cells: int) -> str:
    cut = set_cell_size(text, cells - 1).rstrip()
    words = cut.rpartition(" ")[0]
    return (words if cell_len(words) > cells // 2 else cut) + "…"


def _last(text: str, separator: str, cells: int) -> str:
    mark = "…" if separator == "." else "…" + separator
    parts = text.split(separator)
    for start in range(1, len(parts)):
        kept = mark + separator.join(parts[start:])
        if cell_len(kept) <= cells:
            return kept
    # Even the last part is too long. Its end is more useful than its beginning (``name.py:80``).
    end = parts[-1]
    while cell_len(end) > cells - 1:
        end = end[1:]
    return "…" + end
