"""Convert the metadata of documents and queries to the values that an index stores.

The same conversion applies to JSON, CSV, Parquet, HTTP and Python:

- Strings, numbers, booleans, and lists of these are stored unchanged.
- Dates become ISO 8601 strings: ``2026-03-01``, ``2026-03-01T09:30:00``. A time with a time zone is
  converted to UTC and ends with ``+00:00``. The order of the strings is then that of time.
- None means that the field is missing.
- NaN and infinite numbers are also missing. Objects and vectors are left out. ``MetadataReader``
  counts these values and logs one warning for each kind.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Literal
from uuid import UUID

import numpy as np

from nestvec.errors import InvalidArgument
from nestvec.types import Metadata, MetadataValue, Scalar
from nestvec.wording import count_text

SHORTEST_VECTOR = 32
"""A list of at least this many floats is a vector, not metadata."""

Problem = Literal["object", "not finite", "vector", "item"]
_STORABLE = "Use strings, numbers, booleans, dates, or lists of these."
_REASONS: Mapping[Problem, str] = {
    "object": f"left out {{values}} of other types, such as {{example}}. {_STORABLE}",
    "not finite": "treated {values} as missing (NaN or infinite), such as {example}",
    "vector": f"left out {{values}} (a list of {SHORTEST_VECTOR} or more floats is a vector), "
    "such as {example}",
    "item": "left out null, NaN or infinite items of lists in {values}, such as {example}",
}
_logger = logging.getLogger(__name__)


class Unstorable(Exception):
    """A value that cannot be stored, and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def stored_value(value: object) -> tuple[MetadataValue | None, Problem | None]:
    """Return the stored form of a value, and the problem if a part of the value is left out.

    The form is None if the field is missing, or if the whole value is left out.
    """
    if isinstance(value, str) or type(value) is int:  # the most frequent types first
        return value, None
    try:
        if isinstance(value, np.ndarray):
            return _stored_list(value.tolist() if value.ndim == 1 else [value])
        if isinstance(value, set | frozenset):
            return _stored_list(sorted(value, key=repr))  # the order of a set is random
        if isinstance(value, list | tuple):
            return _stored_list(value)
        return _scalar(value), None
    except Unstorable as unstorable:
        return None, unstorable.problem


@dataclass
class MetadataReader:
    """Converts the metadata of many documents, and counts the values that are left out.

    Attributes:
        strict: Whether a value whose type cannot be stored raises an error.
        counts: The number of values with each problem.
        examples: The first value with each problem.
    """

    strict: bool = False
    counts: dict[Problem, int] = field(default_factory=dict)
    examples: dict[Problem, str] = field(default_factory=dict)

    def read(self, id_: str, metadata: object) -> Metadata:
        """Return the stored form of the metadata of a document or a query.

        Raises:
            InvalidArgument: If the metadata are not a mapping, the name of a field is not a string,
                or, if ``strict``, a value has a type that cannot be stored.
        """
        if not isinstance(metadata, Mapping):
            problem = f"metadata of {id_!r} has type {type(metadata).__name__}."
            raise InvalidArgument(f"{problem} Pass a dict.")
        values: dict[str, MetadataValue] = {}
        for name, value in metadata.items():
            if not isinstance(name, str):
                problem = f"metadata of {id_!r}: the field name {name!r} is not a string."
                raise InvalidArgument(f"{problem} Use a string.")
            stored, left_out = stored_value(value)
            if left_out is not None:
                self._count(left_out, id_, name, value)
            if stored is not None:
                values[name] = stored
        return values

    def warn(self, source: object, *, logged: set[str] | None = None) -> None:
        """Log one warning for each problem.

        Args:
            source: Where the metadata come from.
            logged: Warnings that were logged before, which are not repeated. New ones are added.
        """
        known = set[str]() if logged is None else logged
        for problem, count in self.counts.items():
            values, example = count_text(count, "metadata value"), self.examples[problem]
            message = f"{source}: {_REASONS[problem].format(values=values, example=example)}"
            if message not in known:
                known.add(message)
                _logger.warning("%s", message)

    def _count(self, problem: Problem, id_: str, name: str, value: object) -> None:
        kind = type(value).__name__
        if self.strict and problem == "object":
            listed = " with items of other types" if isinstance(value, list | tuple) else ""
            what = f"metadata of {id_!r}: the value of {name!r} has type {kind}{listed}."
            raise InvalidArgument(f"{what} {_STORABLE}")
        self.counts[problem] = self.counts.get(problem, 0) + 1
        self.examples.setdefault(problem, f"{name!r} ({kind}) of {id_!r}")


def iso_text(value: np.datetime64) -> str | None:
    """Return a NumPy date or time as an ISO 8601 string in the form of Python; None for NaT."""
    if np.isnat(value):
        return None
    unit = np.datetime_data(value.dtype)[0]
    if unit in ("Y", "M", "W", "D"):
        return str(value.astype("datetime64[D]"))
    exact = value.astype("datetime64[us]") if unit in ("h", "m", "s", "ms") else value
    whole, _, fraction = str(exact).partition(".")
    fraction = fraction.rstrip("0")
    if not fraction:
        return whole
    return f"{whole}.{fraction.ljust(6 if len(fraction) <= 6 else 9, '0')}"


def _stored_list(values: Iterable[object]) -> tuple[list[Scalar], Problem | None]:
    """Return the stored form of a list without its missing items.

    Raises:
        Unstorable: If the list is a vector, or an item has another type.
    """
    items = list(values)
    if len(items) >= SHORTEST_VECTOR and all(isinstance(item, float) for item in items):
        raise Unstorable("vector")
    stored = [scalar for scalar in map(_item, items) if scalar is not None]
    return stored, None if len(stored) == len(items) else "item"


def _item(value: object) -> Scalar | None:
    try:
        return _scalar(value)
    except Unstorable as unstorable:
        if unstorable.problem == "object":
            raise
        return None


def _scalar(value: object) -> Scalar | None:
    """Return the stored form of one value; None if it is missing.

    Raises:
        Unstorable: If the value is not finite, or has another type.
    """
    if isinstance(value, np.datetime64):
        return iso_text(value)
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case None | str() | bool() | int():
            return value
        case float() | Decimal():
            return _finite(float(value))
        case date() | time():
            return _iso(value)
        case UUID():
            return str(value)
    if type(value).__name__ == "NAType":  # pandas.NA, without an import of pandas
        return None
    raise Unstorable("object")


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise Unstorable("not finite")
    return number


def _iso(value: date | time) -> str | None:
    if value != value:  # NaT of pandas
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        with suppress(OverflowError):  # the first and the last day that Python can represent
            value = value.astimezone(UTC)
    return value.isoformat()
