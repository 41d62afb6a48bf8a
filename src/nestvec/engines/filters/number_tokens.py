"""Encode metadata as texts and numbers that an engine with simple filters can compare exactly.

``fields`` and ``values`` are lists of texts, for an engine that can test whether a list contains a
text. ``ordered`` is a sequence of floats, for an engine that compares floats: two values of one
kind compare as their sequences do, position by position.

    {"lang": "de"}      fields: "lang", "lang":string       values: "lang"="de"
    {"tags": ["a"]}     fields: "tags", "tags":list, "tags"[]:string       values: "tags"[]="a"
    "2026-03-01"        ordered: 58113236553332.0, 53865951402624.0

The floats are integers below 1e15, because Qdrant Edge 0.9 reads other floats of a payload with an
error of one unit in the last place.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
from collections.abc import Iterator

from nestvec.engines.filters.condition import Value
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.types import Metadata

KIND_NAMES = {
    Kinds.STRING: "string",
    Kinds.NUMBER: "number",
    Kinds.BOOLEAN: "boolean",
    Kinds.LIST: "list",
}
LONGEST_ORDERED = 95
"""The longest string that a filter can compare by order, in bytes of UTF-8."""
_WIDTH, _BASE = 6, 257  # bytes in one float; a byte is 1 to 256, and 0 is the end of the string
_SEQUENCES = (LONGEST_ORDERED + 1) // _WIDTH
_LONG = 200  # characters of a text that is replaced by its hash
_LARGEST = sys.float_info.max


def field(name: str) -> str:
    """Return the text that every row with a field has."""
    return json.dumps(name)


def field_name(text: str) -> str | None:
    """Return the name of a field from the text of ``field``; None for another text."""
    name = json.loads(text) if text.endswith('"') else None
    return name if isinstance(name, str) else None


def kind(name: str, value_kind: Kinds) -> str:
    """Return the text of the rows whose field has one kind of value."""
    return f"{field(name)}:{KIND_NAMES[value_kind]}"


def item_kind(name: str, value_kind: Kinds) -> str:
    """Return the text of the rows whose field is a list with one kind of item."""
    return f"{field(name)}[]:{KIND_NAMES[value_kind]}"


def equal(name: str, value: Value) -> str:
    """Return the text of the rows whose field equals a value."""
    return f"{field(name)}={_value(value)}"


def item(name: str, value: Value) -> str:
    """Return the text of the rows whose field is a list with an item."""
    return f"{field(name)}[]={_value(value)}"


def fields(metadata: Metadata) -> list[str]:
    """Return the texts of the fields of a row, and of their kinds."""
    texts: dict[str, None] = {}
    for name, value in metadata.items():
        kinds = FieldKinds.of(value)
        texts[field(name)] = None
        texts |= dict.fromkeys(kind(name, each) for each in kinds.values)
        texts |= dict.fromkeys(item_kind(name, each) for each in kinds.items)
    return list(texts)


def values(metadata: Metadata) -> list[str]:
    """Return the texts of the values of a row, and of the items of its lists."""
    texts: dict[str, None] = {}
    for name, value in metadata.items():
        if isinstance(value, str | int | float):
            texts[equal(name, value)] = None
        else:
            texts |= dict.fromkeys(item(name, each) for each in value)
    return list(texts)


def ordered(value: Value) -> list[float]:
    """Return a sequence of floats whose order is that of the values of one kind.

    A sequence is smaller than another if it is so at the first position where both differ. A
    missing position is smaller than every number. NaN has no sequence. A string that is longer
    than ``LONGEST_ORDERED`` is truncated.
    """
    if isinstance(value, str):
        return list(_ordered_text(value))
    if isinstance(value, float) and math.isnan(value):
        return []
    if value > _LARGEST:
        return [*_bits(_LARGEST), 1.0]
    if value < -_LARGEST:
        return []
    return list(_ordered_number(value))


def _ordered_text(value: str) -> Iterator[float]:
    data = value.encode("utf-8", "surrogatepass")[: _SEQUENCES * _WIDTH]
    for start in range(0, min(len(data) + 1, _SEQUENCES * _WIDTH), _WIDTH):
        number = 0
        for position in range(start, start + _WIDTH):
            number = number * _BASE + (data[position] + 1 if position < len(data) else 0)
        yield float(number)


def _ordered_number(value: int | float) -> Iterator[float]:
    """Yield the largest float up to a number, then that of the rest, until nothing is left."""
    if isinstance(value, float):
        yield from _bits(value)
        return
    rest, first = int(value), True
    while first or rest:
        part = float(rest)
        if int(part) > rest:
            part = math.nextafter(part, -math.inf)
        yield from _bits(part)
        rest, first = rest - int(part), False


def _bits(value: float) -> tuple[float, float]:
    """Return the upper and the lower half of a float's bits, changed so that they are ordered."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))  # -0.0 equals 0.0
    bits = bits ^ (2**64 - 1) if bits >> 63 else bits | 1 << 63
    return float(bits >> 32), float(bits & (2**32 - 1))


def _value(value: Value) -> str:
    """Return a text that is equal for equal values only."""
    if isinstance(value, str):
        text = json.dumps(value)
        return text if len(text) <= _LONG else f"#{hashlib.sha256(text.encode()).hexdigest()}"
    if isinstance(value, float) and (not math.isfinite(value) or not value.is_integer()):
        return repr(float(value))
    return format(int(value), "x")
