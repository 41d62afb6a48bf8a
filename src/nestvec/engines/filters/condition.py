"""A metadata filter as a tree of conditions, which knows nothing of any engine.

Each engine compiles the tree to what it searches by: to masks over columns, SQL, or a filter
expression. A compiler must refuse a node that it does not know, never ignore it. What each
condition means, in every engine:

- Types are strict: ``year = '2020'`` does not match the number 2020. Strings and numbers differ
  (``!=`` holds), and neither is below or above the other. Integers and floats compare as the
  numbers that they are, exactly; true and false are 1 and 0. Strings compare by code point.
- A row without the field matches no comparison and no list, so not ``!=`` and ``not in`` either.
- ``not`` turns any condition round: ``not year = 2020`` does match rows without a year.
- NaN, where a row holds it, differs from every number, and is neither below nor above one.

The text is canonical, and ``where`` reads an equal tree from it, unless that is too long or nested
too deep for it: conditions made in Python may hold lists of a million values.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

from nestvec.errors import InvalidArgument

Value = str | int | float
Order = Literal["<", "<=", ">", ">="]
Operator = Literal["=", "!=", Order]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
KEYWORDS = frozenset({"and", "or", "not", "in", "exists", "true", "false"})


class Condition(ABC):
    """Any node of the tree."""

    @property
    @abstractmethod
    def fields(self) -> frozenset[str]:
        """The fields whose columns are needed."""

    @abstractmethod
    def __str__(self) -> str:
        """Write the text form."""


@dataclass(frozen=True)
class FieldTest(Condition):
    """What looks at one field."""

    field: str

    @property
    def fields(self) -> frozenset[str]:
        """The field."""
        return frozenset({self.field})


@dataclass(frozen=True)
class Comparison(FieldTest):
    """``year >= 2020``: the row has the field, and its value stands so to this one."""

    operator: Operator
    value: Value

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if self.operator not in OPERATORS:
            raise InvalidArgument(f"operator {self.operator!r} is not one of {' '.join(OPERATORS)}")
        _check(self.value)

    def __str__(self) -> str:
        """Write the text form."""
        return f"{_field_text(self.field)} {self.operator} {_value_text(self.value)}"


@dataclass(frozen=True)
class In(FieldTest):
    """``lang in ('de', 'en')``: the row has the field, and its value equals one of these.

    Negated, ``lang not in ('de', 'en')``: the row has the field, and its value equals none.
    """

    values: tuple[Value, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        """Check each value against its limit."""
        if not self.values:
            raise InvalidArgument(f"no values for {_field_text(self.field)} in (...): give one")
        for value in self.values:
            _check(value)

    def __str__(self) -> str:
        """Write the text form."""
        values = ", ".join(map(_value_text, self.values))
        return f"{_field_text(self.field)} {'not in' if self.negated else 'in'} ({values})"


@dataclass(frozen=True)
class Exists(FieldTest):
    """``year exists``: the row has the field, whatever its value."""

    def __str__(self) -> str:
        """Write the text form."""
        return f"{_field_text(self.field)} exists"


@dataclass(frozen=True)
class Not(Condition):
    """``not year = 2020``: the row does not match, be it that it has no year."""

    part: Condition

    @property
    def fields(self) -> frozenset[str]:
        """Those of its part."""
        return self.part.fields

    def __str__(self) -> str:
        """Write the text form."""
        return f"not {_grouped(self.part, And, Or)}"


@dataclass(frozen=True)
class And(Condition):
    """``lang = 'de' and year exists``: the row matches each part."""

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Check that there is something to join."""
        _check_parts("and", self.parts)

    @property
    def fields(self) -> frozenset[str]:
        """Those of its parts."""
        return frozenset().union(*(part.fields for part in self.parts))

    def __str__(self) -> str:
        """Write the text form."""
        return " and ".join(_grouped(part, And, Or) for part in self.parts)


@dataclass(frozen=True)
class Or(Condition):
    """``lang = 'de' or lang = 'en'``: the row matches at least one part."""

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Check that there is something to join."""
        _check_parts("or", self.parts)

    @property
    def fields(self) -> frozenset[str]:
        """Those of its parts."""
        return frozenset().union(*(part.fields for part in self.parts))

    def __str__(self) -> str:
        """Write the text form."""
        return " or ".join(_grouped(part, Or) for part in self.parts)


def is_finite(number: float) -> bool:
    """Tell whether it is a number within the range of floats."""
    return abs(number) <= sys.float_info.max


def is_field_part(character: str) -> bool:
    """Tell whether a field's name may go on with this where it has no quotes."""
    return character in "-." or f"_{character}".isidentifier()


def _check(value: object) -> None:
    if not isinstance(value, str | int | float):
        problem = f"value of type {type(value).__name__}: give a str, an int or a float"
        raise InvalidArgument(problem)
    if not isinstance(value, str) and not is_finite(value):
        shown = value if isinstance(value, float) else "an integer"
        raise InvalidArgument(f"{shown} is not a number within ±{sys.float_info.max:.3e}")


def _check_parts(word: str, parts: tuple[Condition, ...]) -> None:
    if len(parts) < 2:
        raise InvalidArgument(f"{len(parts)} < 2 conditions to join by '{word}'")


def _field_text(name: str) -> str:
    plain = name[:1].isidentifier() and all(map(is_field_part, name))
    return name if plain and name.lower() not in KEYWORDS else _quoted(name, "`")


def _value_text(value: Value) -> str:
    if isinstance(value, str):
        return _quoted(value, "'")
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value) if isinstance(value, float) else int(value))


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, quote * 2) + quote


def _grouped(part: Condition, *kinds: type[Condition]) -> str:
    return f"({part})" if isinstance(part, kinds) else str(part)
