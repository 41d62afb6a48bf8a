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

from typing import NoReturn

from nestvec.errors import InvalidArgument
from nestvec.index.columns import OPERATORS, Operator, Value
from nestvec.index.condition import And, Comparison, Condition, Exists, In, Not, Or
from nestvec.index.where_tokens import Token, fault, tokens_of

MAX_LENGTH = 10_000
MAX_DEPTH = 50

_A_TEST = "a field and what it has to be, such as year >= 2020"
_A_TEST_OF = "=, !=, <, <=, >, >=, in (...), not in (...) or exists, such as year >= 2020"
_A_VALUE = "a number or a text in quotes, such as 2020 or 'de'"
_A_LIST = "a list in parentheses, such as lang in ('de', 'en')"
_AN_END = "and, or, or the end, such as year >= 2020 and lang = 'de'"


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
