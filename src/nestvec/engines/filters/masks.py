"""Compile a filter to a mask over columns, for engines that scan rows in memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import iand, ior

import numpy as np

from nestvec.engines.filters.columns import Column, Mask
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


def matching(condition: Condition, columns: Mapping[str, Column], n_rows: int) -> Mask:
    """Return which rows match a condition, [n_rows].

    Args:
        condition: The condition.
        columns: Columns by field; a field that no row has may be missing.
        n_rows: The number of rows. Rows after the end of a column have no value. Values after
            ``n_rows`` are not used.

    Raises:
        TypeError: If the tree contains an unknown node.
    """
    match condition:
        case Not(part):
            return ~matching(part, columns, n_rows)
        case And(parts):
            return reduce(iand, (matching(part, columns, n_rows) for part in parts))
        case Or(parts):
            return reduce(ior, (matching(part, columns, n_rows) for part in parts))
        case FieldTest(field):
            found = _matching_field(condition, columns.get(field, Column()))[:n_rows]
            return np.append(found, np.zeros(n_rows - len(found), dtype=np.bool_))
    raise TypeError(f"{type(condition).__name__} is not a known condition")


def _matching_field(test: FieldTest, column: Column) -> Mask:
    """Return which rows of a column match, [n]."""
    match test:
        case Comparison(_, operator, value):
            return column.compare(operator, value)
        case In(_, values, negated):
            found = column.is_in(values)
            return column.exists() & ~found if negated else found
        case Has(_, value):
            return column.has(value)
        case Exists():
            return column.exists()
    raise TypeError(f"{type(test).__name__} is not a known condition")
