"""Parse the text form of a metadata filter into a ``Condition``.

``condition`` defines the meaning of each condition. The grammar:

    filter     = all , { "or" , all } ;
    all        = one , { "and" , one } ;
    one        = "not" , one | "(" , filter , ")" | test ;
    test       = field , ( operator , value
                         | [ "not" ] , "in" , "(" , value , { "," , value } , ")"
                         | "has" , value
                         | "exists" ) ;
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" ;
    value      = string | number | "true" | "false" ;
    string     = "'" , characters , "'" | '"' , characters , '"' ;
    number     = [ "-" ] , digits , [ "." , digits ] , [ ( "e" | "E" ) , [ "+" | "-" ] , digits ] ;
    field      = ( letter | "_" ) , { letter | digit | "_" | "-" | "." } | "`" , characters , "`" ;

Keywords are case-insensitive. A field that has the name of a keyword is written in backquotes. A
letter is a letter of any script. Quotes may enclose any characters; the quote itself is doubled or
escaped by a backslash, and a backslash is written twice.

A filter has at most 10,000 characters and at most 50 levels of nesting. No filter is evaluated as
code.
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
    Has,
    In,
    Not,
    Operator,
    Or,
    Value,
    is_field_part,
    is_finite,
)
from nestvec.errors import InvalidArgument

_SYMBOLS = ("!=", "<=", ">=", "=", "<", ">", "(", ")", ",")  # longer symbols first
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}
_MAX_SHOWN = 20  # characters of the text that a message quotes
MAX_LENGTH = 10_000
MAX_DEPTH = 50
_EXPECTED_CONDITION = "a condition on a field, such as year >= 2020"
_EXPECTED_OPERATOR = (
    "=, !=, <, <=, >, >=, in (...), not in (...), has or exists, such as year >= 2020"
)
_EXPECTED_VALUE = "a number or a string in quotes, such as 2020 or 'de'"
_EXPECTED_LIST = "a list in parentheses, such as lang in ('de', 'en')"
_EXPECTED_END = "and, or, or the end, such as year >= 2020 and lang = 'de'"


class Token(NamedTuple):
    """A token of the text.

    Attributes:
        kind: The kind of the token; keywords are symbols.
        value: The field's name, the value, the symbol, or the keyword in lower case.
        column: The column of its first character, from 1.
        shown: The form of the token in error messages.
    """

    kind: Literal["field", "value", "symbol", "end"]
    value: Value
    column: int
    shown: str


def syntax_error(column: int, found: str, expected: str) -> InvalidArgument:
    """Return the error for a text that does not follow the grammar."""
    return InvalidArgument(f"filter, column {column}: found {found}, expected {expected}")


def tokenize(text: str) -> list[Token]:
    """Split a text into tokens. The last token marks the end of the text.

    Raises:
        InvalidArgument: If a character does not belong to a token.
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
    """Return the token that begins at ``start``, and the position of its end."""
    first = text[start]
    if first in "'\"`":
        content, end = _quoted(text, start)
        return _make("field" if first == "`" else "value", content, text, start, end)
    if number := _NUMBER.match(text, start):
        return _number(text, start, number.end())
    if first.isidentifier():
        return _word(text, start)
    for symbol in _SYMBOLS:
        if text.startswith(symbol, start):
            return _make("symbol", symbol, text, start, start + len(symbol))
    expected = "a field, a value, ( or ), such as year >= 2020 or `odd name` = 'de'"
    raise syntax_error(start + 1, _shown(first), expected)


def _make(
    kind: Literal["field", "value", "symbol"], value: Value, text: str, start: int, end: int
) -> tuple[Token, int]:
    return Token(kind, value, start + 1, _shown(text[start:end])), end


def _shown(piece: str) -> str:
    """Return the beginning of a piece of text for a message: quoted, and on one line."""
    return repr(piece if len(piece) <= _MAX_SHOWN else piece[:_MAX_SHOWN] + "…")


def _quoted(text: str, start: int) -> tuple[str, int]:
    """Return the text between quotes, and the position after the closing quote."""
    quote, position, content = text[start], start + 1, []
    while position < len(text):
        character, pair = text[position], text[position : position + 2]
        if character == "\\" and pair[1:] not in ("\\", "'", '"', "`"):
            expected = r"\\ for a backslash, such as 'C:\\files'"
            raise syntax_error(position + 1, _shown(pair), expected)
        if character == "\\" or pair == quote * 2:
            content.append(pair[1])
            position += 2
        elif character == quote:
            return "".join(content), position + 1
        else:
            content.append(character)
            position += 1
    expected = f"a closing {quote}, such as {quote}de{quote}"
    raise syntax_error(start + 1, f"the unfinished {_shown(text[start:])}", expected)


def _number(text: str, start: int, end: int) -> tuple[Token, int]:
    if end < len(text) and is_field_part(text[end]):
        expected = (
            "a number such as 2020, -1.5 or 1e5, a string such as '7a', or a field such as `7a`"
        )
        raise syntax_error(start + 1, _shown(text[start : end + 1]), expected)
    piece = text[start:end]
    try:
        value: float = int(piece)
    except ValueError:  # not an integer, or more digits than Python converts (not finite below)
        value = float(piece)
    if not is_finite(value):
        expected = f"a number within ±{sys.float_info.max:.3e}, such as 1e5"
        raise syntax_error(start + 1, _shown(piece), expected)
    return _make("value", value, text, start, end)


def _word(text: str, start: int) -> tuple[Token, int]:
    end = start
    while end < len(text) and is_field_part(text[end]):
        end += 1
    word, lower = text[start:end], text[start:end].lower()
    if lower in _BOOLEANS:
        return _make("value", _BOOLEANS[lower], text, start, end)
    if lower in KEYWORDS:
        return _make("symbol", lower, text, start, end)
    return _make("field", word, text, start, end)


class Where:
    """A recursive-descent parser of one text. Call ``Where.parse``."""

    def __init__(self, text: str) -> None:
        self._tokens = tokenize(text)
        self._position = 0
        self._depth = 0

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse the text of a filter.

        >>> str(Where.parse("lang IN ('de','en') and not(year<2020)"))
        "lang in ('de', 'en') and not year < 2020"

        Raises:
            InvalidArgument: If the text does not follow the grammar, is too long, or has too many
                levels of nesting.
        """
        if len(text) > MAX_LENGTH:
            problem = f"the filter has {len(text):,} characters, more than {MAX_LENGTH:,}."
            remedy = "For a long list of values, pass an In(field, values) in Python."
            raise InvalidArgument(f"{problem} {remedy}")
        parser = cls(text)
        condition = parser._filter()
        if parser._next.kind != "end":
            parser._fail(_EXPECTED_END)
        return condition

    @property
    def _next(self) -> Token:
        return self._tokens[self._position]

    def _accept(self, *symbols: str) -> str | None:
        """Move past the next symbol if it is one of ``symbols``, and return it."""
        token = self._next
        if token.kind != "symbol" or token.value not in symbols:
            return None
        self._position += 1
        return str(token.value)

    def _expect(self, symbol: str, expected: str) -> None:
        if not self._accept(symbol):
            self._fail(expected)

    def _fail(self, expected: str) -> NoReturn:
        raise syntax_error(self._next.column, self._next.shown, expected)

    def _filter(self) -> Condition:
        parts = [self._all()]
        while self._accept("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._accept("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Condition:
        column = self._next.column
        opened = self._accept("not", "(")
        if not opened:
            return self._test()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"the filter has more than {MAX_DEPTH} levels of nesting at column {column}."
            raise InvalidArgument(f"{problem} Remove parentheses that are not needed.")
        if opened == "not":
            condition: Condition = Not(self._one())
        else:
            condition = self._filter()
            self._expect(")", f") for the ( at column {column}, such as (year >= 2020)")
        self._depth -= 1
        return condition

    def _test(self) -> Condition:
        if self._next.kind != "field":
            self._fail(_EXPECTED_CONDITION)
        field = str(self._next.value)
        self._position += 1
        if self._accept("exists"):
            return Exists(field)
        if self._accept("has"):
            return Has(field, self._value())
        if self._accept("in"):
            return In(field, self._values())
        if self._accept("not"):
            self._expect("in", "in, such as lang not in ('de', 'en')")
            return In(field, self._values(), negated=True)
        return Comparison(field, self._operator(), self._value())

    def _operator(self) -> Operator:
        for operator in OPERATORS:
            if self._accept(operator):
                break
        else:
            self._fail(_EXPECTED_OPERATOR)
        return operator

    def _values(self) -> tuple[Value, ...]:
        self._expect("(", _EXPECTED_LIST)
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect(")", f", or ) after a value: {_EXPECTED_LIST}")
        return tuple(values)

    def _value(self) -> Value:
        if self._next.kind != "value":
            self._fail(_EXPECTED_VALUE)
        value = self._next.value
        self._position += 1
        return value
