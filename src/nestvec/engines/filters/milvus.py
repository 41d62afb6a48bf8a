"""Compile a filter to an expression of Milvus over tokens of metadata.

Milvus versions differ in what a missing JSON key compares to, and whether ``not`` includes such
rows. Here every term is true or false: it tests a token of a list that each row has, or compares a
JSON key only if a token says that the key exists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from nestvec.engines.filters.condition import (
    And,
    Comparison,
    Condition,
    FieldTest,
    Not,
    Or,
    Value,
    value_text,
)
from nestvec.engines.filters.tokens import (
    SEPARATOR,
    Tokens,
    exists_token,
    order_token,
    tested_tokens,
    value_code,
)
from nestvec.errors import InvalidArgument
from nestvec.types import Metadata

TOKENS, ORDERED = "tokens", "ordered"
"""The fields of a collection: a list of tokens, and a JSON object of codes."""
_LONGEST_CODE = 1_000  # characters of a code in ORDERED; a longer code is truncated
_LONGEST_KEY = 200


def encoded(metadata: Metadata) -> dict[str, Any]:
    """Return the part of a row that filters test."""
    tokens = Tokens.of(metadata)
    codes = {_key(token): value_code(value) or "" for token, value in tokens.ordered.items()}
    return {
        TOKENS: [*tokens.fields, *tokens.values, *tokens.ordered],
        ORDERED: {key: code[:_LONGEST_CODE] for key, code in codes.items()},
    }


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
        case Comparison(field, "<" | "<=" | ">" | ">=" as operator, value):
            return _ordered(field, operator, value)
    tokens, negated = tested_tokens(test)
    found = has_tokens(tokens)
    return f"({has_tokens([exists_token(test.field)])} and (not {found}))" if negated else found


def _ordered(field: str, operator: str, value: Value) -> str:
    code, token = value_code(value) or "", order_token(field, value)
    if len(code) >= _LONGEST_CODE:
        problem = f"filter: {value_text(value)[:40]}… is too long for {operator} in Milvus."
        raise InvalidArgument(f"{problem} Compare with at most 300 characters.")
    return f'({has_tokens([token])} and {ORDERED}["{_key(token)}"] {operator} "{code}")'


def _key(token: str) -> str:
    """Return the JSON key of an order token: letters, digits and underscores."""
    key = token.replace(SEPARATOR, "_")
    if len(key) <= _LONGEST_KEY and key.replace("_", "").isalnum():
        return key
    return f"h_{hashlib.sha256(token.encode()).hexdigest()}"
