"""Compile a filter to an SQL condition of PostgreSQL on a ``jsonb`` column, with parameters.

The values of the filter become parameters of the statement; its text contains only fixed SQL and
the column. No expression is NULL, so that ``not`` is exact. ``=``, ``in``, ``has`` and ``exists``
can use a GIN index on the column.
"""

from __future__ import annotations

import json
from typing import Any

from nestvec.engines.filters.condition import (
    And,
    Comparison,
    Condition,
    Exists,
    FieldTest,
    Has,
    In,
    Not,
    Or,
    Value,
    value_text,
)
from nestvec.errors import InvalidArgument

_MOST_ALTERNATIVES = 50  # of one condition, as separate terms
Compiled = tuple[str, list[Any]]
"""SQL text with one ``%s`` per parameter, and the parameters."""


def compile_condition(condition: Condition, column: str) -> Compiled:
    """Return the SQL of a condition.

    Args:
        condition: The condition.
        column: The quoted name of a ``jsonb`` column that is never NULL.

    Raises:
        InvalidArgument: If a text contains a character that PostgreSQL cannot store.
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            text, values = compile_condition(part, column)
            return f"(NOT {text})", values
        case And(parts):
            return _joined(" AND ", parts, column)
        case Or(parts):
            return _joined(" OR ", parts, column)
        case FieldTest():
            return _test(condition, column)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def _test(test: FieldTest, column: str) -> Compiled:
    match test:
        case Exists(field):
            return f"({column} ? %s)", [_storable(field)]
        case Has(field, value):
            items = _equal(field, (value,), in_list=True)
            return _contains(_equal(field, (value,)) + items, column)
        case In(field, values, negated):
            return _in(field, values, column, negated=negated)
        case Comparison(field, "=" | "!=" as operator, value):
            return _in(field, (value,), column, negated=operator == "!=")
        case Comparison(field, operator, value):
            return _ordered(field, operator, value, column)
    raise TypeError(f"{type(test).__name__} is not a known condition")


def _ordered(field: str, operator: str, value: Value, column: str) -> Compiled:
    name = _storable(field)
    if isinstance(value, str):
        text = f"""(CASE jsonb_typeof({column} -> %s)
            WHEN 'string' THEN ({column} ->> %s) COLLATE "C" {operator} %s ELSE false END)"""
        return text, [name, name, _storable(value)]
    number = value_text(int(value) if isinstance(value, bool) else value)
    text = f"""(CASE jsonb_typeof({column} -> %s)
        WHEN 'number' THEN ({column} -> %s)::numeric {operator} %s::numeric
        WHEN 'boolean' THEN ({column} -> %s)::boolean::int::numeric {operator} %s::numeric
        ELSE false END)"""
    return text, [name, name, number, name, number]


def _joined(word: str, parts: tuple[Condition, ...], column: str) -> Compiled:
    compiled = [compile_condition(part, column) for part in parts]
    text = word.join(text for text, _ in compiled)
    return f"({text})", [value for _, values in compiled for value in values]


def _in(field: str, values: tuple[Value, ...], column: str, *, negated: bool) -> Compiled:
    text, objects = _contains(_equal(field, values), column)
    return (
        (f"({column} ? %s AND NOT {text})", [_storable(field), *objects])
        if negated
        else (
            text,
            objects,
        )
    )


def _contains(objects: list[str], column: str) -> Compiled:
    """Return the condition that a row contains one of some JSON objects."""
    if len(objects) > _MOST_ALTERNATIVES:  # a GIN index does not support ANY
        return f"({column} @> ANY(%s::jsonb[]))", [objects]
    text = " OR ".join([f"{column} @> %s::jsonb"] * len(objects))
    return f"({text})", list(objects)


def _equal(field: str, values: tuple[Value, ...], *, in_list: bool = False) -> list[str]:
    """Return JSON objects; one of them is contained in a row whose field equals a value."""
    objects = []
    for value in values:
        for each in _same(value):
            item = json.dumps(_storable(each) if isinstance(each, str) else each)
            name = json.dumps(_storable(field))
            objects.append(f"{{{name}: [{item}]}}" if in_list else f"{{{name}: {item}}}")
    return objects


def _same(value: Value) -> tuple[Value, ...]:
    """Return the values that equal a value: true equals 1, and false equals 0."""
    if isinstance(value, str) or value not in (0, 1):
        return (value,)
    return int(value), bool(value)


def _storable(text: str) -> str:
    if "\0" in text:
        problem = "the filter contains the character U+0000, which PostgreSQL cannot store."
        raise InvalidArgument(f"{problem} Remove the character.")
    return text
