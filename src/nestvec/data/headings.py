"""Find the headings of Markdown, reStructuredText and plain text.

A heading is marked with ``#``, or is underlined and begins a paragraph. Lines in code blocks and in
front matter are none; headings in HTML are not looked for.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Front matter and code blocks are matched only to be passed over. A longer line is no heading.
_PIECES = re.compile(
    r"""
    \A---[ \t]*\n (?s:.*?) ^---[ \t]*$
    | ^[ ]{0,3}(?P<fence>```|~~~) (?s:.*?) (?:^[ ]{0,3}(?P=fence)|\Z)
    | ^[ ]{0,3}\#{1,6}[ \t]+(?P<marked>\S.{0,199})$
    | ^(?<![^\n]\n)(?:(?P<over>[=\-~^"'*+#]{3,})[ \t]*\n)?
      [ ]?(?P<title>[\w:`("'\[].{0,199})\n(?P<under>(?P<mark>[=\-~^"'*+#])(?P=mark){2,})[ \t]*$
    """,
    re.MULTILINE | re.VERBOSE,
)


class Heading(NamedTuple):
    """A title, and where it begins and ends in the text, its marks and underline included."""

    title: str
    start: int
    end: int


def find_headings(text: str) -> list[Heading]:
    r"""Return the headings of a text in their order.

    >>> [heading.title for heading in find_headings("# One #\n\nTwo\n---\n")]
    ['One', 'Two']
    """
    headings = []
    for piece in _PIECES.finditer(text):
        title = _title(piece)
        if title:
            found = piece.group()
            start = piece.end() - len(found.lstrip())
            headings.append(Heading(title, start, start + len(found.strip())))
    return headings


def _title(piece: re.Match[str]) -> str:
    if piece["marked"]:
        title = piece["marked"].rstrip()
        opened = title.rstrip("#")  # closing marks are a word of their own: not those of "C#"
        return opened.rstrip() if opened.endswith((" ", "\t")) else title
    if piece["title"]:
        title = piece["title"].rstrip()
        # Any other row of signs that is shorter than the line above parts it from the next.
        long_enough = piece["mark"] in "=-" or len(piece["under"]) >= len(title)
        return title if long_enough else ""
    return ""
