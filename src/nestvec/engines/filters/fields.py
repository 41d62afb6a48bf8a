"""Check the fields of a filter against the documents of an index, for all engines.

A filter on a misspelt field, or a comparison with a type that a field never has, would match no
document, or with ``!=`` every document, and look correct. ``check_fields`` refuses both. An index
without documents has no fields; engines then accept every filter, which matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Flag, auto
from functools import reduce
from operator import or_
from typing import NamedTuple

from nestvec.engines.filters.condition import (
    And,
    Comparison,
    Condition,
    FieldTest,
    Has,
    In,
    Not,
    Or,
    Value,
    field_text,
    value_text,
)
from nestvec.errors import InvalidArgument

_MAX_LISTED = 20  # fields that a message lists
_MAX_SHOWN = 40  # characters of a name or a value in a message


class Kinds(Flag):
    """Kinds of values."""

    NONE = 0
    STRING = auto()
    NUMBER = auto()
    BOOLEAN = auto()
    LIST = auto()

    @classmethod
    def of(cls, value: object) -> Kinds:
        """Return the kind of a value; no kind for other types."""
        match value:
            case str():
                return cls.STRING
            case bool():
                return cls.BOOLEAN
            case int() | float():
                return cls.NUMBER
            case list() | tuple():
                return cls.LIST
        return cls.NONE


class FieldKinds(NamedTuple):
    """The kinds of values of one field over some documents.

    Attributes:
        values: The kinds of the values; no kind if no document has the field.
        items: The kinds of the items of all lists.
    """

    values: Kinds
    items: Kinds = Kinds.NONE

    @classmethod
    def of(cls, value: object) -> FieldKinds:
        """Return the kinds of one value."""
        items = value if isinstance(value, list | tuple) else ()
        return cls(Kinds.of(value), reduce(or_, map(Kinds.of, items), Kinds.NONE))


_COMPARABLE = {
    Kinds.STRING: Kinds.STRING,
    Kinds.NUMBER: Kinds.NUMBER | Kinds.BOOLEAN,  # true equals 1
    Kinds.BOOLEAN: Kinds.NUMBER | Kinds.BOOLEAN,
}
_NAMES = {
    Kinds.STRING: "string",
    Kinds.NUMBER: "number",
    Kinds.BOOLEAN: "boolean",
    Kinds.LIST: "list",
}
_EXAMPLES = {
    Kinds.STRING: "a string in quotes, such as 'de'",
    Kinds.NUMBER: "a number, such as 2020",
    Kinds.BOOLEAN: "true or false",
}


def check_fields(
    condition: Condition, found: Mapping[str, FieldKinds], all_fields: Callable[[], Iterable[str]]
) -> None:
    """Check that documents have the fields of a condition, with values of the compared types.

    Args:
        condition: The condition.
        found: The kinds of each field of the condition, over all documents of the index.
        all_fields: Returns the fields of all documents. The function is called only for an error.

    Raises:
        InvalidArgument: If no document has a field, or no document has a value of a compared type.
        TypeError: If the tree contains an unknown node.
    """
    for test in tests_of(condition):
        kinds = found[test.field]
        if not kinds.values:
            raise unknown_field(test.field, all_fields())
        for value in _compared(test):
            if not _is_comparable(test, value, kinds):
                raise InvalidArgument(_other_type(test, value, kinds))


def unknown_field(name: str, all_fields: Iterable[str]) -> InvalidArgument:
    """Return the error of a filter on a field that no document has; it lists the fields."""
    problem = f"filter: no document has the field {_shown(field_text(name))}."
    fields = sorted(all_fields)
    if not fields:
        return InvalidArgument(f"{problem} The documents have no metadata. Remove the filter.")
    listed = ", ".join(_shown(field_text(each)) for each in fields[:_MAX_LISTED])
    more = f" and {len(fields) - _MAX_LISTED:,} more" if len(fields) > _MAX_LISTED else ""
    return InvalidArgument(f"{problem} The fields are: {listed}{more}.")


def tests_of(condition: Condition) -> Iterator[FieldTest]:
    """Yield the conditions on single fields in a tree.

    Raises:
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            yield from tests_of(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from tests_of(part)
        case FieldTest():
            yield condition
        case _:
            raise TypeError(f"{type(condition).__name__} is not a known condition")


def _compared(test: FieldTest) -> Iterable[Value]:
    """Return the values that a test compares; of a list, one value of each type."""
    match test:
        case In(_, values):
            return {type(value): value for value in reversed(values)}.values()
        case Comparison(_, _, value) | Has(_, value):
            return (value,)
    return ()


def _is_comparable(test: FieldTest, value: Value, kinds: FieldKinds) -> bool:
    present = kinds.values
    if isinstance(test, Has):
        present |= kinds.items
        if Kinds.LIST in kinds.values and not kinds.items:
            return True  # the items of empty lists have no type
    return bool(present & _COMPARABLE[Kinds.of(value)])


def _other_type(test: FieldTest, value: Value, kinds: FieldKinds) -> str:
    name, shown = _shown(field_text(test.field)), _shown(value_text(value))
    present = kinds.values
    if isinstance(test, Has):
        present = (present | kinds.items) & ~Kinds.LIST
    elif Kinds.LIST in present:
        remedy = f"To compare the items of a list, write {name} has {shown}."
        return f"filter: {name} contains lists, and {shown} is a single value. {remedy}"
    contained = " and ".join(f"{_NAMES[kind]}s" for kind in present)
    example = " or ".join(_EXAMPLES[kind] for kind in present)
    problem = f"filter: {name} contains {contained}, and {shown} is a {_NAMES[Kinds.of(value)]}."
    return f"{problem} Compare {name} with {example}."


def _shown(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = "".join(character if character.isprintable() else "�" for character in text)
    return line if len(line) <= _MAX_SHOWN else line[:_MAX_SHOWN] + "…"
