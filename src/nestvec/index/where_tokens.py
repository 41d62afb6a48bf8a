"""Cuts the text of a metadata filter into fields, values, keywords and signs.

One pass without going back, so that no text takes long. Their order is ``where``'s business.
"""

from __future__ import annotations

import re
import sys
from typing import Literal, NamedTuple

from nestvec.errors import InvalidArgument
from nestvec.index.columns import Value
from nestvec.index.condition import KEYWORDS, is_field_part, is_finite

_SIGNS = ("!=", "<=", ">=", "=", "<", ">", "(", ")", ",")  # the longer first
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TRUTHS = {"true": True, "false": False}
_SHOWN = 20  # characters of what was found, in a message


class Token(NamedTuple):
    """A piece of the text.

    Attributes:
        kind: Keywords in small letters are signs, too.
        value: The field's name, the value or the sign.
        column: Of its first character, from 1.
        shown: How a message tells of it.
    """

    kind: Literal["field", "value", "sign", "end"]
    value: Value
    column: int
    shown: str


def fault(column: int, found: str, expected: str) -> InvalidArgument:
    """Make the error for what cannot be read."""
    return InvalidArgument(f"filter, column {column}: found {found}, expected {expected}")


def tokens_of(text: str) -> list[Token]:
    """Cut a text; the last token says that it ends.

    Raises:
        InvalidArgument: If something in it belongs to no token.
    """
    tokens, start = [], _next_start(text, 0)
    while start < len(text):
        token, end = _token(text, start)
        tokens.append(token)
        start = _next_start(text, end)
    tokens.append(Token("end", "", len(text) + 1, "the end"))
    return tokens


def _next_start(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def _token(text: str, start: int) -> tuple[Token, int]:
    """Return the token that begins at ``start``, and where it ends."""
    first = text[start]
    if first in "'\"`":
        content, end = _quoted(text, start)
        return _make("field" if first == "`" else "value", content, text, start, end)
    if number := _NUMBER.match(text, start):
        return _number(text, start, number.end())
    if first.isidentifier():
        return _word(text, start)
    for sign in _SIGNS:
        if text.startswith(sign, start):
            return _make("sign", sign, text, start, start + len(sign))
    expected = "a field, a value, ( or ), such as year >= 2020 or `odd name` = 'de'"
    raise fault(start + 1, _shown(first), expected)


def _make(
    kind: Literal["field", "value", "sign"], value: Value, text: str, start: int, end: int
) -> tuple[Token, int]:
    return Token(kind, value, start + 1, _shown(text[start:end])), end


def _shown(piece: str) -> str:
    """Quote a piece on one line, whatever it holds; a long one's beginning."""
    return repr(piece if len(piece) <= _SHOWN else piece[:_SHOWN] + "…")


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Return what stands within the quotes, and where they end."""
    quote, place, content = text[start], start + 1, []
    while place < len(text):
        character, pair = text[place], text[place : place + 2]
        if character == "\\" and pair[1:] not in ("\\", "'", '"', "`"):
            raise fault(place + 1, _shown(pair), r"\\ for a backslash, such as 'C:\\files'")
        if character == "\\" or pair == quote * 2:
            content.append(pair[1])
            place += 2
        elif character == quote:
            return "".join(content), place + 1
        else:
            content.append(character)
            place += 1
    expected = f"{quote} at its end; such as {quote}de{quote}"
    raise fault(start + 1, f"the unfinished {_shown(text[start:])}", expected)


def _number(text: str, start: int, end: int) -> tuple[Token, int]:
    if end < len(text) and is_field_part(text[end]):
        expected = "a number such as 2020, -1.5 or 1e5, a text such as '7a' or a field such as `7a`"
        raise fault(start + 1, _shown(text[start : end + 1]), expected)
    piece = text[start:end]
    try:
        value: float = int(piece)
    except ValueError:  # also where it has more digits than Python reads: far beyond all floats
        value = float(piece)
    if not is_finite(value):
        expected = f"a number within ±{sys.float_info.max:.3e}, such as 1e5"
        raise fault(start + 1, _shown(piece), expected)
    return _make("value", value, text, start, end)


def _word(text: str, start: int) -> tuple[Token, int]:
    end = start
    while end < len(text) and is_field_part(text[end]):
        end += 1
    word, lower = text[start:end], text[start:end].lower()
    if lower in _TRUTHS:
        return _make("value", _TRUTHS[lower], text, start, end)
    if lower in KEYWORDS:
        return _make("sign", lower, text, start, end)
    return _make("field", word, text, start, end)
