"""Metadata as strings, for engines whose filters compare only strings exactly.

A document has *terms*, which say what its fields equal, contain and are, and *keys* with *ordered
values*, whose order is that of the values. Both follow the meaning of ``condition``: a string and a
number have different terms, integers and floats are compared by exact value, ``true`` is 1.

A term is a letter for its meaning, the length of the field, the field and the value, so that no two
meanings have the same term.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nestvec.engines.filters.condition import Value
from nestvec.engines.filters.fields import Kinds
from nestvec.types import MetadataValue

_LONGEST = 64  # characters of a value in a term; a longer one is replaced by its SHA-256
_EXPONENT_BIAS = 500_000
_KIND_NAMES = {
    Kinds.STRING: "string",
    Kinds.NUMBER: "number",
    Kinds.BOOLEAN: "boolean",
    Kinds.LIST: "list",
}
KINDS = tuple(_KIND_NAMES)
"""The kinds that terms distinguish."""
_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "list"}
_TYPES[tuple] = "list"


class Terms(NamedTuple):
    """The terms of a document.

    Attributes:
        terms: One term for each statement that a filter can test.
        keys: One key for each field that can be ordered.
        ordered: The ordered value of each key.
    """

    terms: list[str]
    keys: list[str]
    ordered: list[str]

    @classmethod
    def of(cls, metadata: Mapping[str, MetadataValue]) -> Terms:
        """Return the terms of the metadata of a document."""
        found = cls([], [], [])
        for field, value in metadata.items():
            found.terms.append(exists_term(field))
            found.terms.extend(_kind_terms(field, value))
            if isinstance(value, list | tuple):
                items = (item_term(field, item) for item in value if not _is_nan(item))
                found.terms.extend(dict.fromkeys(items))
            elif isinstance(value, str | int | float) and not _is_nan(value):
                found.terms.append(value_term(field, value))
                found.keys.append(order_key(field, value))
                found.ordered.append(ordered_value(value))
        return found


def exists_term(field: str) -> str:
    """Return the term of documents that have a field."""
    return _term("e", field)


def value_term(field: str, value: Value) -> str:
    """Return the term of documents whose field equals a value."""
    return _term("s" if isinstance(value, str) else "n", field, _equal(value))


def item_term(field: str, value: Value) -> str:
    """Return the term of documents whose field is a list that contains a value."""
    return _term("S" if isinstance(value, str) else "N", field, _equal(value))


def kind_term(field: str, kind: Kinds) -> str:
    """Return the term of documents whose field has a value of a kind."""
    return _term("k", field, _KIND_NAMES[kind])


def item_kind_term(field: str, kind: Kinds) -> str:
    """Return the term of documents whose field is a list that contains an item of a kind."""
    return _term("i", field, _KIND_NAMES[kind])


def field_of(term: str) -> str | None:
    """Return the field of a term that ``exists_term`` made; None for other terms."""
    return term.partition(":")[2] if term.startswith("e") else None


def order_key(field: str, value: Value) -> str:
    """Return the key of the values of a field that have an order with a value."""
    return ("s" if isinstance(value, str) else "n") + field


def ordered_value(value: Value) -> str:
    """Return a string whose order by code point is that of the values of the same key.

    A number is written as its sign, its binary exponent and its exact digits, base 16. The digits
    of a negative number are complemented.
    """
    if isinstance(value, str):
        return value
    if value == 0:
        return "2"
    if isinstance(value, float) and math.isinf(value):
        return "4" if value > 0 else "0"
    numerator, denominator = abs(value).as_integer_ratio()
    bits = numerator.bit_length()
    exponent = bits - denominator.bit_length() + _EXPONENT_BIAS
    digits = f"{numerator << -bits % 4:x}".rstrip("0")
    if value > 0:
        return f"3{exponent:07d}{digits}"
    complement = "".join(f"{15 - int(digit, 16):x}" for digit in digits)
    return f"1{9_999_999 - exponent:07d}{complement}~"  # larger than any digit


def _term(letter: str, field: str, value: str = "") -> str:
    return f"{letter}{len(field)}:{field}{value}"


def _equal(value: Value) -> str:
    text = ordered_value(value)
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest}{len(text)}"  # longer than any value that is written out


def _kind_terms(field: str, value: object) -> Iterator[str]:
    kind = _TYPES.get(type(value)) or _slow_kind(value)
    if kind is not None:
        yield _term("k", field, kind)
    if isinstance(value, list | tuple):
        for each in {_TYPES.get(type(item)) or _slow_kind(item) for item in value}:
            if each is not None:
                yield _term("i", field, each)


def _slow_kind(value: object) -> str | None:
    """Return the kind of a value of a derived type."""
    return _KIND_NAMES.get(Kinds.of(value))


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
