"""Split a text into passages at paragraphs and sentences.

Passages are unchanged parts of the text; only white space between two passages is dropped.
Headings of Markdown and reStructuredText are recognized, other markup is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from nestvec.errors import InvalidArgument

# Front matter and code blocks match so that they are skipped. Headings have at most 200 characters.
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
"""About 270 English tokens: short enough for most models, and usually about one topic."""
# Each Han or kana character counts as a word, because spaces do not separate words. A run of more
# than 100 other characters is data or another script without spaces, and is split.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,100}}")
# List numbers ("1.") and initials ("A.") do not end a sentence.
_LAST_OF_SENTENCE = re.compile(r"""(?!(?:\d{1,3}|\w)\.\Z)\S*[.!?…。！？]["'”’»)\]*_」』）]*\Z""")
# How suitable a position is for a split, ascending.
_WITHIN, _LINE, _SENTENCE, _PARAGRAPH = range(4)


class Heading(NamedTuple):
    """A title, and its start and end in the text, including marks and underline."""

    title: str
    start: int
    end: int


def find_headings(text: str) -> list[Heading]:
    r"""Return the headings of a text, in order.

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
        opened = title.rstrip("#")  # closing marks follow a space, unlike in "C#"
        return opened.rstrip() if opened.endswith((" ", "\t")) else title
    if piece["title"]:
        title = piece["title"].rstrip()
        # A shorter row of other signs separates paragraphs.
        long_enough = piece["mark"] in "=-" or len(piece["under"]) >= len(title)
        return title if long_enough else ""
    return ""


class Passage(NamedTuple):
    """A passage, and the number of its first line, from 1."""

    text: str
    line: int


def split_passages(
    text: str, *, words: int = PASSAGE_WORDS, overlap_words: int = 0
) -> list[Passage]:
    r"""Split a text into passages at paragraphs, else at sentences, lines or words.

    A heading stays with the text that follows it.

    Args:
        text: The text; its lines end in ``\n``.
        words: Most words of a passage. All passages except the last have at least half as many;
            if there are several, the last has at least a quarter.
        overlap_words: Most words that a passage repeats of the previous passage, in whole
            sentences if possible. The default is 0: splits are between sentences, and repeated
            text costs memory and produces duplicate hits.

    Returns:
        The passages, in order; none if the text has no words.

    Raises:
        InvalidArgument: If ``words`` is below 1, or ``overlap_words`` is negative or not less
            than half of ``words``.
    """
    if words < 1:
        raise InvalidArgument(f"passage_words={words} is below 1. Choose a value of at least 1.")
    shortest = max(1, words // 2)
    if not 0 <= overlap_words < shortest:
        raise InvalidArgument(
            f"overlap_words={overlap_words} is outside [0, {shortest}). "
            f"It must be less than half of passage_words={words}."
        )
    splits = _Splits(text)
    passages = []
    line, counted = 1, 0
    for first, last in _ranges(splits, words, shortest, overlap_words):
        start, end = splits.starts[first], splits.ends[last - 1]
        line += text.count("\n", counted, start)
        counted = start
        passages.append(Passage(text[start:end], line))
    return passages


class _Splits:
    """Positions of the words of a text, and how suitable each is for a split."""

    def __init__(self, text: str) -> None:
        spans = [match.span() for match in _WORD.finditer(text)]
        headings = find_headings(text)
        self.starts = [start for start, _ in spans]
        self.ends = [end for _, end in spans]
        self._text = text
        self._heading_starts = {heading.start for heading in headings}
        self._heading_ends = {heading.end for heading in headings}

    def best(self, first: int, last: int) -> int:
        """Return the best word, from first to last, to split before; of equal ones the last."""
        return max(range(first, last + 1), key=lambda word: (self.strength(word), word))

    def strength(self, word: int) -> int:
        """Return how suitable a split before a word is, for any word except the first."""
        end, start = self.ends[word - 1], self.starts[word]
        if end in self._heading_ends:  # do not separate a heading from its text
            return _WITHIN
        gap = self._text[end:start]
        if start in self._heading_starts or gap.count("\n") > 1:
            return _PARAGRAPH
        if _LAST_OF_SENTENCE.match(self._text, self.starts[word - 1], end):
            return _SENTENCE
        return _LINE if "\n" in gap else _WITHIN


def _ranges(
    splits: _Splits, longest: int, shortest: int, overlap_words: int
) -> Iterator[tuple[int, int]]:
    """Yield the first word of each passage, and the word after its last."""
    first, n = 0, len(splits.starts)
    while n - first > longest:
        latest = min(first + longest, n - longest // 4)  # so that the last passage is not tiny
        end = splits.best(first + shortest, latest)
        yield first, end
        repeated = range(end - overlap_words, end)
        first = next(
            (word for word in repeated if splits.strength(word) >= _SENTENCE), repeated.start
        )
    if n > first:
        yield first, n
