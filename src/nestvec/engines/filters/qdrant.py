"""Compile a filter to a filter of Qdrant, in the form of its REST API, over encoded metadata.

Qdrant's own conditions on payload values do not have the strict types of ``condition``: they do not
order strings, and compare integers as floats. A point therefore has encoded metadata: ``fields``
and ``values`` are indexed lists of ``Tokens``, and ``order`` has the ``ordered_floats`` of values
that are compared by order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nestvec.engines.filters.condition import (
    And,
    Comparison,
    Condition,
    Exists,
    FieldTest,
    Not,
    Or,
    Value,
    value_text,
)
from nestvec.engines.filters.ordered_floats import LONGEST_ORDERED, ordered_floats
from nestvec.engines.filters.tokens import Tokens, exists_token, order_token, tested_tokens
from nestvec.errors import InvalidArgument
from nestvec.types import Metadata

Filter = dict[str, Any]
"""A filter or a condition of Qdrant's REST API."""
FIELDS, VALUES, ORDER = "fields", "values", "order"
"""Keys of the payload."""


def encoded(metadata: Metadata) -> dict[str, Any]:
    """Return the part of a payload that filters test."""
    order = {
        _key(name, value, position): number
        for name, value in metadata.items()
        if isinstance(value, str | int | float)
        for position, number in enumerate(ordered_floats(value))
    }
    tokens = Tokens.of(metadata)
    return {FIELDS: [*tokens.fields, *tokens.ordered], VALUES: tokens.values, ORDER: order}


def compile_condition(condition: Condition) -> Filter:
    """Return the filter of a condition.

    Raises:
        InvalidArgument: If a string is too long to be compared by order.
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            return {"must_not": [compile_condition(part)]}
        case And(parts):
            return {"must": [compile_condition(part) for part in parts]}
        case Or(parts):
            return {"should": [compile_condition(part) for part in parts]}
        case FieldTest():
            return _test(condition)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def has_field(token: str) -> Filter:
    """Return the condition that a point has a token of a field."""
    return _any(FIELDS, [token])


def ordered_keys(condition: Filter) -> Iterator[str]:
    """Yield the keys of the payload that a filter compares by order."""
    if "range" in condition:
        yield condition["key"]
    for parts in ("must", "should", "must_not"):
        for part in condition.get(parts, ()):
            yield from ordered_keys(part)


def _test(test: FieldTest) -> Filter:
    match test:
        case Comparison(name, "<" | "<=" | ">" | ">=" as operator, value):
            return _ordered(name, operator, value)
        case Exists(name):
            return has_field(exists_token(name))
    tokens, negated = tested_tokens(test)
    found = _any(VALUES, tokens)
    if not negated:
        return found
    return {"must": [has_field(exists_token(test.field))], "must_not": [found]}


def _ordered(name: str, operator: str, value: Value) -> Filter:
    """Return a comparison: ``<`` is true if ``>=`` is false and the value has the same kind."""
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > LONGEST_ORDERED:
        problem = f"filter: {value_text(value)[:40]}… is too long to be compared with {operator}."
        remedy = f"Use a string of at most {LONGEST_ORDERED} bytes of UTF-8."
        raise InvalidArgument(f"{problem} {remedy}")
    if operator in (">", ">="):
        return _above(name, value, strict=operator == ">")
    return {
        "must": [has_field(order_token(name, value))],
        "must_not": [_above(name, value, strict=operator == "<=")],
    }


def _above(name: str, value: Value, *, strict: bool) -> Filter:
    """Return the condition that the floats of a field are larger than those of a value."""
    numbers = ordered_floats(value)
    keys = [f"{ORDER}.{_key(name, value, position)}" for position in range(len(numbers) + 1)]
    same: list[Filter] = []
    alternatives: list[Filter] = []
    for key, number in zip(keys, numbers, strict=False):
        alternatives.append({"must": [*same, _range(key, gt=number)]})
        same.append(_range(key, gte=number, lte=number))
    if not strict:
        alternatives.append({"must": same})
    elif not isinstance(value, str):  # a string has its end at the last position
        alternatives.append({"must": [*same, _range(keys[-1], gt=0.0)]})
    return {"should": alternatives}


def _key(name: str, value: Value, position: int) -> str:
    """Return the key of one float; every character of it can be part of a path of Qdrant."""
    kind = "s" if isinstance(value, str) else "n"
    return f"{kind}{position}_{name.encode('utf-8', 'surrogatepass').hex()}"


def _any(key: str, tokens: Sequence[str]) -> Filter:
    return {"key": key, "match": {"any": tokens}}


def _range(key: str, **limits: float) -> Filter:
    return {"key": key, "range": limits}
