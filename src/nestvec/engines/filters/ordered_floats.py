"""Values as sequences of floats that have the order of the values, for engines that compare floats.

Two values of one kind compare as their sequences do, position by position.

    "2026-03-01"        58113236553332.0, 53865951402624.0

The floats are integers below 1e15, because Qdrant Edge 0.9 reads other floats of a payload with an
error of one unit in the last place.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator

from nestvec.engines.filters.condition import Value

LONGEST_ORDERED = 95
"""The longest string that a filter can compare by order, in bytes of UTF-8."""
_WIDTH, _BASE = 6, 257  # bytes in one float; a byte is 1 to 256, and 0 is the end of the string
_SEQUENCES = (LONGEST_ORDERED + 1) // _WIDTH
_LARGEST = sys.float_info.max


def ordered_floats(value: Value) -> list[float]:
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
