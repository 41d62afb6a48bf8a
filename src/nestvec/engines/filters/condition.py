"""A metadata filter as a tree of conditions, independent of any engine.

Each engine compiles the tree to its own form, such as masks over columns, SQL or a filter
expression. A compiler raises ``InvalidArgument`` if its engine cannot express a condition exactly,
and ``TypeError`` if it does not know a node. It must not ignore or approximate a condition.

The conditions have the same meaning in every engine:

- Types are strict: ``year = '2020'`` does not match the number 2020. A string and a number are
  never equal, so ``!=`` is true, and ``<``, ``<=``, ``>`` and ``>=`` are false. The same applies to
  a list of a row and any single value.
- Integers and floats are compared by exact value. ``true`` equals 1 and ``false`` equals 0.
- Strings are compared by code point. Dates are ISO 8601 strings, so their order is that of time.
- ``has`` compares the items of a list. A single value is compared as a list of one item.
- A row without the field matches no comparison and no list, not even ``!=`` and ``not in``.
- ``not`` negates any condition: ``not year = 2020`` matches rows without a year.
- NaN in a row is not equal to any number, and is neither smaller nor larger.

``fields`` defines which conditions are refused: those on a field that no document of the index
has, and those that compare a field with a type that the field never has.

``str(condition)`` is canonical: ``Where.parse`` reads an equal tree from it. The parser limits the
length and the depth of the text. Conditions built in Python have no such limits, so that a list
can contain a million values.
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
KEYWORDS = frozenset({"and", "or", "not", "in", "has", "exists", "true", "false"})


class Condition(ABC):
    """A node of the tree."""

    @property
    @abstractmethod
    def fields(self) -> frozenset[str]:
        """The fields that the condition uses."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the text form."""


@dataclass(frozen=True)
class FieldTest(Condition):
    """A condition on one field."""

    field: str

    @property
    def fields(self) -> frozenset[str]:
        """The field of the condition."""
        return frozenset({self.field})


@dataclass(frozen=True)
class Comparison(FieldTest):
    """``year >= 2020``: the row has the field, and the comparison with its value is true."""

    operator: Operator
    value: Value

    def __post_init__(self) -> None:
        """Check the operator and the value."""
        if self.operator not in OPERATORS:
            known = " ".join(OPERATORS)
            raise InvalidArgument(f"operator {self.operator!r} is unknown. Use one of {known}.")
        _check(self.value)

    def __str__(self) -> str:
        """Return the text form."""
        return f"{field_text(self.field)} {self.operator} {value_text(self.value)}"


@dataclass(frozen=True)
class In(FieldTest):
    """``lang in ('de', 'en')``: the row has the field, and its value is in the list.

    If ``negated``, ``lang not in ('de', 'en')``: the row has the field, and its value is not in
    the list.
    """

    values: tuple[Value, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.values:
            problem = f"the list of values for {field_text(self.field)} is empty."
            raise InvalidArgument(f"{problem} Pass at least one value.")
        for value in self.values:
            _check(value)

    def __str__(self) -> str:
        """Return the text form."""
        values = ", ".join(map(value_text, self.values))
        return f"{field_text(self.field)} {'not in' if self.negated else 'in'} ({values})"


@dataclass(frozen=True)
class Has(FieldTest):
    """``tags has 'new'``: the row has a list with this item, or has this single value."""

    value: Value

    def __post_init__(self) -> None:
        """Check the value."""
        _check(self.value)

    def __str__(self) -> str:
        """Return the text form."""
        return f"{field_text(self.field)} has {value_text(self.value)}"


@dataclass(frozen=True)
class Exists(FieldTest):
    """``year exists``: the row has the field, with any value."""

    def __str__(self) -> str:
        """Return the text form."""
        return f"{field_text(self.field)} exists"


@dataclass(frozen=True)
class Not(Condition):
    """``not year = 2020``: the row does not match the part; it may lack the field."""

    part: Condition

    @property
    def fields(self) -> frozenset[str]:
        """The fields of the part."""
        return self.part.fields

    def __str__(self) -> str:
        """Return the text form."""
        return f"not {_grouped(self.part, And, Or)}"


@dataclass(frozen=True)
class And(Condition):
    """``lang = 'de' and year exists``: the row matches every part."""

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Check the number of parts."""
        _check_parts("and", self.parts)

    @property
    def fields(self) -> frozenset[str]:
        """The fields of all parts."""
        return frozenset().union(*(part.fields for part in self.parts))

    def __str__(self) -> str:
        """Return the text form."""
        return " and ".join(_grouped(part, And, Or) for part in self.parts)


@dataclass(frozen=True)
class Or(Condition):
    """``lang = 'de' or lang = 'en'``: the row matches at least one part."""

    parts: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Check the number of parts."""
        _check_parts("or", self.parts)

    @property
    def fields(self) -> frozenset[str]:
        """The fields of all parts."""
        return frozenset().union(*(part.fields for part in self.parts))

    def __str__(self) -> str:
        """Return the text form."""
        return " or ".join(_grouped(part, Or) for part in self.parts)


def is_finite(number: float) -> bool:
    """Return whether a number is finite as a float; also for integers of any size."""
    return abs(number) <= sys.float_info.max


def is_field_part(character: str) -> bool:
    """Return whether a field name without quotes may contain a character after its first."""
    return character in "-." or f"_{character}".isidentifier()


def field_text(name: str) -> str:
    """Return the text form of a field."""
    plain = name[:1].isidentifier() and all(map(is_field_part, name))
    return name if plain and name.lower() not in KEYWORDS else _quoted(name, "`")


def value_text(value: Value) -> str:
    """Return the text form of a value."""
    if isinstance(value, str):
        return _quoted(value, "'")
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value) if isinstance(value, float) else int(value))


def _check(value: object) -> None:
    if not isinstance(value, str | int | float):
        problem = f"a value has type {type(value).__name__}."
        raise InvalidArgument(f"{problem} Pass a str, an int or a float.")
    if not isinstance(value, str) and not is_finite(value):
        shown = value if isinstance(value, float) else "an integer"
        problem = f"{shown} is outside the range of floats."
        raise InvalidArgument(f"{problem} Use a value within ±{sys.float_info.max:.3e}.")


def _check_parts(word: str, parts: tuple[Condition, ...]) -> None:
    if len(parts) < 2:
        raise InvalidArgument(f"'{word}' joins {len(parts)} conditions. Pass at least 2.")


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, quote * 2) + quote


def _grouped(part: Condition, *kinds: type[Condition]) -> str:
    return f"({part})" if isinstance(part, kinds) else str(part)
