"""Compile a filter to an SQL condition on the columns of a table that other programs wrote.

``engines.filters.postgresql`` compiles conditions on the metadata of an index, a column of JSON
objects. Here each field is a column of its own type, and the condition is what a user would write,
so that the database uses the same indexes. The values become parameters of the statement.
"""

from __future__ import annotations

from collections.abc import Collection
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
)
from nestvec.engines.filters.postgresql import Compiled
from nestvec.errors import InvalidArgument
from nestvec.sources.postgresql import quoted


def compile_columns(condition: Condition, columns: Collection[str]) -> Compiled:
    """Return the SQL of a condition, with one ``%s`` per parameter.

    A row in which a column is NULL does not have the field, as in all filters of nestvec.

    Args:
        condition: The condition.
        columns: The names of the columns of the table.

    Raises:
        InvalidArgument: If a field is not a column.
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            text, values = compile_columns(part, columns)
            return f"({text} IS NOT TRUE)", values
        case And(parts):
            return _joined(" AND ", parts, columns)
        case Or(parts):
            return _joined(" OR ", parts, columns)
        case FieldTest(field):
            if field not in columns:
                listed = ", ".join(sorted(columns))
                problem = f"filter: the table has no column {field} (its columns: {listed})."
                raise InvalidArgument(f"{problem} Use the name of a column.")
            return _test(condition)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def _test(test: FieldTest) -> Compiled:
    column = quoted(test.field)
    match test:
        case Exists():
            return f"({column} IS NOT NULL)", []
        case Has(_, value):
            return f"(%s = ANY({column}))", [value]
        case In(_, values, negated):
            listed: list[Any] = list(values)
            word = "NOT IN" if negated else "IN"
            return f"({column} {word} ({', '.join(['%s'] * len(listed))}))", listed
        case Comparison(_, operator, value):
            symbol = "<>" if operator == "!=" else operator
            return f"({column} {symbol} %s)", [value]
    raise TypeError(f"{type(test).__name__} is not a known condition")


def _joined(word: str, parts: tuple[Condition, ...], columns: Collection[str]) -> Compiled:
    compiled = [compile_columns(part, columns) for part in parts]
    text = word.join(text for text, _ in compiled)
    return f"({text})", [value for _, values in compiled for value in values]
