"""Compile a filter to an SQL condition on the columns of a table that other programs wrote.

``engines.filters`` compiles conditions on the metadata of an index. Here each field is a column of
its own type, and the condition is what a user would write, so that the database uses the same
indexes. A row in which a column is NULL does not have the field, as in all filters of nestvec.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

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
from nestvec.engines.filters.datafusion import literal
from nestvec.engines.filters.postgresql import Compiled
from nestvec.errors import InvalidArgument
from nestvec.sources.postgresql import quoted


class _Dialect(NamedTuple):
    """How a database writes conditions.

    Attributes:
        column: Returns a quoted name.
        value: Returns the SQL of a value, and its parameters.
        has: The SQL of a list that contains an item, with the places ``column`` and ``value``.
    """

    column: Callable[[str], str]
    value: Callable[[Value], Compiled]
    has: str


_POSTGRESQL = _Dialect(quoted, lambda value: ("%s", [value]), "({value} = ANY({column}))")
_LANCE = _Dialect(
    lambda name: "`" + name.replace("`", "``") + "`",
    lambda value: (literal(value) if isinstance(value, str) else value_text(value), []),
    "array_has({column}, {value})",
)


def compile_columns(condition: Condition, columns: Collection[str]) -> Compiled:
    """Return the SQL of PostgreSQL of a condition, with one ``%s`` per parameter.

    Args:
        condition: The condition.
        columns: The names of the columns of the table.

    Raises:
        InvalidArgument: If a field is not a column.
        TypeError: If the tree contains an unknown node.
    """
    return _compile(condition, columns, _POSTGRESQL)


def compile_lance(condition: Condition, columns: Collection[str]) -> str:
    """Return the SQL of Lance of a condition; arguments and errors as in ``compile_columns``."""
    return _compile(condition, columns, _LANCE)[0]


def _compile(condition: Condition, columns: Collection[str], dialect: _Dialect) -> Compiled:
    match condition:
        case Not(part):
            text, values = _compile(part, columns, dialect)
            return f"({text} IS NOT TRUE)", values
        case And(parts) | Or(parts):
            compiled = [_compile(part, columns, dialect) for part in parts]
            text = (" AND " if isinstance(condition, And) else " OR ").join(
                text for text, _ in compiled
            )
            return f"({text})", [value for _, values in compiled for value in values]
        case FieldTest(field):
            if field not in columns:
                listed = ", ".join(sorted(columns))
                problem = f"filter: the table has no column {field} (its columns: {listed})."
                raise InvalidArgument(f"{problem} Use the name of a column.")
            return _test(condition, dialect)
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def _test(test: FieldTest, dialect: _Dialect) -> Compiled:
    column = dialect.column(test.field)
    match test:
        case Exists():
            return f"({column} IS NOT NULL)", []
        case Has(_, value):
            text, values = dialect.value(value)
            return dialect.has.format(column=column, value=text), values
        case In(_, listed, negated):
            compiled = [dialect.value(value) for value in listed]
            texts = ", ".join(text for text, _ in compiled)
            values = [value for _, each in compiled for value in each]
            return f"({column} {'NOT IN' if negated else 'IN'} ({texts}))", values
        case Comparison(_, operator, value):
            text, values = dialect.value(value)
            return f"({column} {'<>' if operator == '!=' else operator} {text})", values
    raise TypeError(f"{type(test).__name__} is not a known condition")
