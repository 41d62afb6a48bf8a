"""Compile a filter to a filter of Qdrant, in the form of its REST API, over encoded metadata.

Qdrant's own conditions on payload values do not have the strict types of ``condition``: they do not
order strings, and compare integers as floats. A point therefore has encoded metadata, see
``tokens``: ``fields`` and ``values`` are indexed lists of texts, and ``order`` has the floats of
values that are compared by order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nestvec.engines.filters import number_tokens as tokens
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
from nestvec.engines.filters.fields import Kinds
from nestvec.errors import InvalidArgument
from nestvec.types import Metadata

Filter = dict[str, Any]
"""A filter or a condition of Qdrant's REST API."""
FIELDS, VALUES, ORDER = "fields", "values", "order"
"""Keys of the payload."""
_NOT_A_NUMBER = float("nan")


def encoded(metadata: Metadata) -> dict[str, Any]:
    """Return the part of a payload that filters test."""
    order = {}
    for name, value in metadata.items():
        if isinstance(value, str | int | float):
            for position, number in enumerate(tokens.ordered(value)):
                order[_key(name, value, position)] = number
    return {FIELDS: tokens.fields(metadata), VALUES: tokens.values(metadata), ORDER: order}


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


def has_field(*texts: str) -> Filter:
    """Return the condition that a point has a field, or one kind of values of it."""
    return _any(FIELDS, list(texts))


def ordered_keys(condition: Filter) -> Iterator[str]:
    """Yield the keys of the payload that a filter compares by order."""
    if "range" in condition:
        yield condition["key"]
    for parts in ("must", "should", "must_not"):
        for part in condition.get(parts, ()):
            yield from ordered_keys(part)


def _test(test: FieldTest) -> Filter:
    match test:
        case Exists(name):
            return has_field(tokens.field(name))
        case Has(name, value):
            return _any(VALUES, [tokens.equal(name, value), tokens.item(name, value)])
        case In(name, values, negated):
            return _in(name, values, negated=negated)
        case Comparison(name, "=" | "!=" as operator, value):
            return _in(name, (value,), negated=operator == "!=")
        case Comparison(name, operator, value):
            return _ordered(name, operator, value)
    raise TypeError(f"{type(test).__name__} is not a known condition")


def _in(name: str, values: tuple[Value, ...], *, negated: bool) -> Filter:
    found = _any(VALUES, [tokens.equal(name, value) for value in values])
    if not negated:
        return found
    return {"must": [has_field(tokens.field(name))], "must_not": [found]}


def _ordered(name: str, operator: str, value: Value) -> Filter:
    """Return a comparison: ``<`` is true if ``>=`` is false and the value has the same kind."""
    if isinstance(value, str) and len(value.encode("utf-8", "surrogatepass")) > (
        tokens.LONGEST_ORDERED
    ):
        problem = f"filter: {value_text(value)[:40]}… is too long to be compared with {operator}."
        remedy = f"Use a string of at most {tokens.LONGEST_ORDERED} bytes of UTF-8."
        raise InvalidArgument(f"{problem} {remedy}")
    if operator in (">", ">="):
        return _above(name, value, strict=operator == ">")
    kinds = (Kinds.STRING,) if isinstance(value, str) else (Kinds.NUMBER, Kinds.BOOLEAN)
    return {
        "must": [has_field(*(tokens.kind(name, each) for each in kinds))],
        "must_not": [
            _above(name, value, strict=operator == "<="),
            _any(VALUES, [tokens.equal(name, _NOT_A_NUMBER)]),
        ],
    }


def _above(name: str, value: Value, *, strict: bool) -> Filter:
    """Return the condition that the floats of a field are larger than those of a value."""
    numbers = tokens.ordered(value)
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


def _any(key: str, texts: list[str]) -> Filter:
    return {"key": key, "match": {"any": texts}}


def _range(key: str, **limits: float) -> Filter:
    return {"key": key, "range": limits}
