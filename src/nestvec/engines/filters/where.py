"""Reads the text of a metadata filter into a ``Condition``. What that means is said there.

    filter     = all , { "or" , all } ;
    all        = one , { "and" , one } ;
    one        = "not" , one | "(" , filter , ")" | test ;
    test       = field , ( operator , value
                         | [ "not" ] , "in" , "(" , value , { "," , value } , ")"
                         | "exists" ) ;
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" ;
    value      = text | number | "true" | "false" ;
    text       = "'" , characters , "'" | '"' , characters , '"' ;
    number     = [ "-" ] , digits , [ "." , digits ] , [ ( "e" | "E" ) , [ "+" | "-" ] , digits ] ;
    field      = ( letter | "_" ) , { letter | digit | "_" | "-" | "." } | "`" , characters , "`" ;

Keywords are read in any case; a field of such a name stands in backquotes. Letters are those of any
script. Within quotes any character may stand; the quote itself is doubled or comes after a
backslash, and a backslash is written twice.

A text has at most 10,000 characters and is nested at most 50 deep. Nothing here is evaluated.
"""

from __future__ import annotations

import re
import sys
from typing import Literal, NamedTuple, NoReturn

from nestvec.engines.filters.condition import (
    KEYWORDS,
    OPERATORS,
    And,
    Comparison,
    Condition,
    Exists,
    In,
    Not,
    Operator,
    Or,
    Value,
    is_field_part,
    is_finite,
)
from nestvec.errors import InvalidArgument

_SIGNS = ("!=", "<=", ">=", "=", "<", ">", "(", ")", ",")  # the longer first
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TRUTHS = {"true": True, "false": False}
_SHOWN = 20  # characters of what was found, in a message
MAX_LENGTH = 10_000
MAX_DEPTH = 50
_A_TEST = "a field and what it has to be, such as year >= 2020"
_A_TEST_OF = "=, !=, <, <=, >, >=, in (...), not in (...) or exists, such as year >= 2020"
_A_VALUE = "a number or a text in quotes, such as 2020 or 'de'"
_A_LIST = "a list in parentheses, such as lang in ('de', 'en')"
_AN_END = "and, or, or the end, such as year >= 2020 and lang = 'de'"


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


class Where:
    """A reader of one text; ``Where.parse`` is what to call."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens_of(text)
        self._place = 0
        self._depth = 0

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a filter.

        >>> str(Where.parse("lang IN ('de','en') and not(year<2020)"))
        "lang in ('de', 'en') and not year < 2020"

        Raises:
            InvalidArgument: If the text is not a filter, too long or nested too deep.
        """
        if len(text) > MAX_LENGTH:
            problem = f"filter of {len(text):,} characters > {MAX_LENGTH:,}: for a long list of"
            raise InvalidArgument(f"{problem} values, make an In(field, values) in Python")
        reader = cls(text)
        condition = reader._filter()
        if reader._next.kind != "end":
            reader._refuse(_AN_END)
        return condition

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self, *words: str) -> str | None:
        """Go past the next keyword or sign if it is one of these, and return it."""
        token = self._next
        if token.kind != "sign" or token.value not in words:
            return None
        self._place += 1
        return str(token.value)

    def _need(self, word: str, expected: str) -> None:
        if not self._take(word):
            self._refuse(expected)

    def _refuse(self, expected: str) -> NoReturn:
        raise fault(self._next.column, self._next.shown, expected)

    def _filter(self) -> Condition:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Condition:
        column = self._next.column
        opened = self._take("not", "(")
        if not opened:
            return self._test()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"nested {self._depth} deep at column {column} > {MAX_DEPTH}"
            raise InvalidArgument(f"filter {problem}: leave out parentheses that nothing needs")
        if opened == "not":
            condition: Condition = Not(self._one())
        else:
            condition = self._filter()
            self._need(")", f") for the ( at column {column}, such as (year >= 2020)")
        self._depth -= 1
        return condition

    def _test(self) -> Condition:
        if self._next.kind != "field":
            self._refuse(_A_TEST)
        field = str(self._next.value)
        self._place += 1
        if self._take("exists"):
            return Exists(field)
        if self._take("in"):
            return In(field, self._values())
        if self._take("not"):
            self._need("in", "in, such as lang not in ('de', 'en')")
            return In(field, self._values(), negated=True)
        return Comparison(field, self._operator(), self._value())

    def _operator(self) -> Operator:
        for operator in OPERATORS:
            if self._take(operator):
                break
        else:
            self._refuse(_A_TEST_OF)
        return operator

    def _values(self) -> tuple[Value, ...]:
        self._need("(", _A_LIST)
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._need(")", f", or ) after a value: {_A_LIST}")
        return tuple(values)

    def _value(self) -> Value:
        if self._next.kind != "value":
            self._refuse(_A_VALUE)
        value = self._next.value
        self._place += 1
        return value
