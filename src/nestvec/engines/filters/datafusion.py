"""Compile a filter to an SQL condition of DataFusion, the query engine of Lance.

The condition tests the columns of ``terms.Terms``: lists of strings that are never NULL. No
expression is NULL, so that ``not`` is exact. Conditions on ``terms`` can use an index of labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
)
from nestvec.engines.filters.terms import (
    exists_term,
    item_term,
    order_key,
    ordered_value,
    value_term,
)

TERMS, KEYS, ORDERED = "terms", "order_keys", "order_values"
"""The names of the columns."""


def compile_condition(condition: Condition) -> str:
    """Return the SQL of a condition.

    Raises:
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            return f"(NOT {compile_condition(part)})"
        case And(parts):
            return _joined("AND", [compile_condition(part) for part in parts])
        case Or(parts):
            return _joined("OR", [compile_condition(part) for part in parts])
        case FieldTest():
            return _test(condition)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def literal(text: str) -> str:
    """Return a string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def has_any(terms: Iterable[str]) -> str:
    """Return the condition that a document has one of some terms."""
    return f"array_has_any({TERMS}, [{', '.join(map(literal, dict.fromkeys(terms)))}])"


def _test(test: FieldTest) -> str:
    match test:
        case Exists(field):
            return has_any([exists_term(field)])
        case Has(field, value):
            return has_any([value_term(field, value), item_term(field, value)])
        case In(field, values, negated):
            return _in(field, values, negated=negated)
        case Comparison(field, "=" | "!=" as operator, value):
            return _in(field, (value,), negated=operator == "!=")
        case Comparison(field, operator, value):
            position = f"CAST(array_position({KEYS}, {literal(order_key(field, value))}) AS BIGINT)"
            found = f"array_element({ORDERED}, {position})"
            return f"coalesce({found} {operator} {literal(ordered_value(value))}, false)"
    raise TypeError(f"{type(test).__name__} is not a known condition")


def _in(field: str, values: Sequence[Value], *, negated: bool) -> str:
    text = has_any(value_term(field, value) for value in values)
    return f"({has_any([exists_term(field)])} AND NOT {text})" if negated else text


def _joined(word: str, parts: list[str]) -> str:
    """Join conditions in pairs: the depth of the expression grows with the logarithm."""
    while len(parts) > 1:
        pairs = (parts[start : start + 2] for start in range(0, len(parts), 2))
        parts = [f"({f' {word} '.join(pair)})" if len(pair) > 1 else pair[0] for pair in pairs]
    return parts[0]
