"""Compile a filter to an SQL condition of DataFusion, the query engine of Lance.

The condition tests columns of ``Tokens``: lists of strings that are never NULL. ``order_values``
has the value of each order token in ``order_keys``. No expression is NULL, so that ``not`` is
exact. Conditions on ``tokens`` can use an index of labels.
"""

from __future__ import annotations

from collections.abc import Iterable

from nestvec.engines.filters.condition import And, Comparison, Condition, FieldTest, Not, Or, Value
from nestvec.engines.filters.tokens import exists_token, order_token, tested_tokens, value_code
from nestvec.errors import InvalidArgument

TOKENS, KEYS, ORDERED = "tokens", "order_keys", "order_values"
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


def has_any(tokens: Iterable[str]) -> str:
    """Return the condition that a document has one of some tokens."""
    return f"array_has_any({TOKENS}, [{', '.join(map(literal, tokens))}])"


def ordered_text(value: Value) -> str:
    """Return a string with the order of a value; a string is not escaped, to save space."""
    return value if isinstance(value, str) else value_code(value) or ""


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
        case Comparison(field, "<" | "<=" | ">" | ">=" as operator, value):
            position = f"array_position({KEYS}, {literal(order_token(field, value))})"
            found = f"array_element({ORDERED}, CAST({position} AS BIGINT))"
            return f"coalesce({found} {operator} {literal(ordered_text(value))}, false)"
    tokens, negated = tested_tokens(test)
    found = has_any(tokens)
    return f"({has_any([exists_token(test.field)])} AND NOT {found})" if negated else found


def _joined(word: str, parts: list[str]) -> str:
    """Join conditions in groups, so that no expression is as deep as there are parts."""
    while len(parts) > 1:
        groups = (parts[start : start + _GROUP] for start in range(0, len(parts), _GROUP))
        parts = [f"({f' {word} '.join(group)})" for group in groups]
    return parts[0]
