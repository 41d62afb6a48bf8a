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
from nestvec.errors import InvalidArgument

TERMS, KEYS, ORDERED = "terms", "order_keys", "order_values"
"""The names of the columns."""
MOST_LEVELS = 16
"""The parser of Lance limits the depth of an expression."""
_GROUP = 64  # conditions that are joined without parentheses


def compile_condition(condition: Condition) -> str:
    """Return the SQL of a condition.

    Raises:
        InvalidArgument: If ``and`` and ``or`` are nested in more than ``MOST_LEVELS`` levels.
        TypeError: If the tree contains an unknown node.
    """
    return _compile(condition, negated=False, level=0)


def literal(text: str) -> str:
    """Return a string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def has_any(terms: Iterable[str]) -> str:
    """Return the condition that a document has one of some terms."""
    return f"array_has_any({TERMS}, [{', '.join(map(literal, dict.fromkeys(terms)))}])"


def _compile(condition: Condition, *, negated: bool, level: int) -> str:
    """Return the SQL of a condition or of its negation.

    Only single tests are negated: the time that DataFusion needs to plan nested negations grows
    exponentially.
    """
    if level > MOST_LEVELS:
        problem = f"filter: 'and' and 'or' are nested in more than {MOST_LEVELS} levels."
        raise InvalidArgument(f"{problem} LanceDB cannot parse that. Write fewer groups.")
    match condition:
        case Not(part):
            return _compile(part, negated=not negated, level=level)
        case And(parts) | Or(parts):
            word = "AND" if isinstance(condition, And) != negated else "OR"
            compiled = [_compile(part, negated=negated, level=level + 1) for part in parts]
            return _joined(word, compiled)
        case FieldTest():
            return f"(NOT {_test(condition)})" if negated else _test(condition)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


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
    """Join conditions in groups, so that no expression is as deep as there are parts."""
    while len(parts) > 1:
        groups = (parts[start : start + _GROUP] for start in range(0, len(parts), _GROUP))
        parts = [f"({f' {word} '.join(group)})" for group in groups]
    return parts[0]
