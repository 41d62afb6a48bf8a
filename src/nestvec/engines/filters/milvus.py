"""Compile a filter to an expression of Milvus over tokens of metadata.

Milvus versions differ in what a missing JSON key compares to, and whether ``not`` includes such
rows. Here every term is true or false: it tests a token of a list that each row has, or compares a
JSON key only if a token says that the key exists.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

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
from nestvec.engines.filters.tokens import (
    LONGEST_ORDERED,
    exists_token,
    ordered_key,
    ordered_token,
    value_code,
    value_token,
)
from nestvec.errors import InvalidArgument

TOKENS, ORDERED = "tokens", "ordered"
"""The fields of a collection: a list of tokens, and a JSON object of codes."""


def compile_condition(condition: Condition) -> str:
    """Return the expression of a condition.

    Raises:
        InvalidArgument: If ``<``, ``<=``, ``>`` or ``>=`` compares with a very long string.
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            return f"(not {compile_condition(part)})"
        case And(parts):
            return "(" + " and ".join(compile_condition(part) for part in parts) + ")"
        case Or(parts):
            return "(" + " or ".join(compile_condition(part) for part in parts) + ")"
        case FieldTest():
            return _test(condition)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def has_tokens(tokens: Sequence[str]) -> str:
    """Return the expression of rows that have at least one of some tokens."""
    if len(tokens) == 1:
        return f"array_contains({TOKENS}, {json.dumps(tokens[0])})"
    return f"array_contains_any({TOKENS}, {json.dumps(list(tokens))})"


def _test(test: FieldTest) -> str:
    match test:
        case Exists(field):
            return has_tokens([exists_token(field)])
        case Has(field, value):
            items = [value_token(field, value, item=item) for item in (False, True)]
            return has_tokens(items)
        case In(field, values, negated):
            return _in(field, values, negated=negated)
        case Comparison(field, "=" | "!=" as operator, value):
            return _in(field, (value,), negated=operator == "!=")
        case Comparison(field, operator, value):
            return _ordered(field, operator, value)
    raise TypeError(f"{type(test).__name__} is not a known condition")


def _in(field: str, values: tuple[Value, ...], *, negated: bool) -> str:
    equal = has_tokens(list(dict.fromkeys(value_token(field, value) for value in values)))
    return f"({has_tokens([exists_token(field)])} and (not {equal}))" if negated else equal


def _ordered(field: str, operator: str, value: Value) -> str:
    code = value_code(value)
    if code is None or len(code) >= LONGEST_ORDERED:  # longer codes are stored truncated
        problem = f"filter: {value_text(value)[:40]}… is too long for {operator} in Milvus."
        raise InvalidArgument(f"{problem} Compare with at most 300 characters.")
    known = has_tokens([ordered_token(field, code[0])])
    return f'({known} and {ORDERED}["{ordered_key(field)}"] {operator} "{code}")'
