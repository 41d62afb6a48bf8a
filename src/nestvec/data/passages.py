"""Split a text into passages that a model can take in, at the joints of the text itself.

A passage is a piece of the text as it stands, so nothing is lost, added or rewritten; only white
space between two passages belongs to neither. Of markup, only headings are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nestvec.errors import InvalidArgument

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
PASSAGE_WORDS = 200
"""About 270 tokens of English: few models cut that, and it is still about one thing."""
# Han and kana are counted one by one: no spaces part their words. A run of more than 100 other
# characters is no word: data, or another script without spaces.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,100}}")
# The number of a list's item ends no sentence, nor does an initial.
_LAST_OF_SENTENCE = re.compile(r"""(?!(?:\d{1,3}|\w)\.\Z)\S*[.!?…。！？]["'”’»)\]*_」』）]*\Z""")
# How well a text can be cut before a word.
_WITHIN, _LINE, _SENTENCE, _PARAGRAPH = range(4)


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


class Passage(NamedTuple):
    """A piece of a text, and the number of the line that it begins in, counted from 1."""

    text: str
    line: int


def split_passages(
    text: str, *, words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> list[Passage]:
    r"""Split a text into passages, each ending at a paragraph, else a sentence, a line, a word.

    A heading stays with what follows it.

    Args:
        text: Its lines end in ``\n``.
        words: The most words of a passage; all but the last have half as many or more, and the
            last a quarter where there are several.
        overlap_words: The most words that a passage repeats of the one before; whole sentences
            where there are any. None unless asked for: the cuts fall between sentences, and what
            is repeated costs memory and stands twice among the hits.

    Returns:
        The passages in the text's order; none where it has no words.

    Raises:
        InvalidArgument: If ``words`` is below 1, or ``overlap_words`` negative or not less than
            half of it.
    """
    if words < 1:
        raise InvalidArgument(f"passage_words {words} < 1")
    shortest = max(1, words // 2)
    if not 0 <= overlap_words < shortest:
        limits = f"[0, {shortest}), half of passage_words {words}"
        raise InvalidArgument(f"overlap_words {overlap_words} is outside {limits}")
    cuts = _Cuts(text)
    passages = []
    line, counted = 1, 0
    for first, last in _ranges(cuts, words, shortest, overlap_words):
        start, end = cuts.starts[first], cuts.ends[last - 1]
        line += text.count("\n", counted, start)
        counted = start
        passages.append(Passage(text[start:end], line))
    return passages


class _Cuts:
    """Where the words of a text stand, and how well it can be cut before each."""

    def __init__(self, text: str) -> None:
        spans = [match.span() for match in _WORD.finditer(text)]
        headings = find_headings(text)
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]
        self._text = text
        self._heading_starts = {heading.start for heading in headings}
        self._heading_ends = {heading.end for heading in headings}

    def best(self, first: int, last: int) -> int:
        """Return before which word from first to last to cut; of equal ones, the last."""
        return max(range(first, last + 1), key=lambda word: (self.strength(word), word))

    def strength(self, word: int) -> int:
        """Tell how well the text can be cut before a word that is not the first."""
        end, start = self.ends[word - 1], self.starts[word]
        if end in self._heading_ends:  # what follows a heading belongs to it
            return _WITHIN
        gap = self._text[end:start]
        if start in self._heading_starts or gap.count("\n") > 1:
            return _PARAGRAPH
        if _LAST_OF_SENTENCE.match(self._text, self.starts[word - 1], end):
            return _SENTENCE
        return _LINE if "\n" in gap else _WITHIN


def _ranges(
    cuts: _Cuts, longest: int, shortest: int, overlap_words: int
) -> Iterator[tuple[int, int]]:
    """Yield the first word of each passage, and the one after its last."""
    first, n = 0, len(cuts.starts)
    while n - first > longest:
        latest = min(first + longest, n - longest // 4)  # so that no scrap is left for the end
        cut = cuts.best(first + shortest, latest)
        yield first, cut
        repeated = range(cut - overlap_words, cut)
        first = next(
            (word for word in repeated if cuts.strength(word) >= _SENTENCE), repeated.start
        )
    if n > first:
        yield first, n
