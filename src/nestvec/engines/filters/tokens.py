"""Metadata as tokens: short ASCII texts, for engines whose filters lack strict types.

Most filter languages compare a string with a number, or treat a missing field as a value. Tokens
avoid such comparisons: a document stores one token for each field, value and item, and a filter
tests whether a document has a token. Codes of values also have the order of the values, so that a
comparison of strings compares numbers exactly.

    year = 2020             "v|year|n3..."      the field has this single value
    tags = ["a"]            "i|tags|sa"         the list of the field has this item
    both                    "x|year"            the document has the field
    year = 2020             "o|year|n"          ``ordered`` has the code of the field, a number
    year = 2020             "k|year|n"          the field has a number
    tags = ["a"]            "j|tags|s"          the list has a string
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from nestvec.engines.filters.condition import Value
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.types import Metadata

SEPARATOR = "|"
LONGEST_FIELD = 200
"""Longest code of a field; a longer one is replaced by its hash."""
LONGEST_VALUE = 700
"""Longest code of a value in a token; a longer one is replaced by its hash."""
LONGEST_ORDERED = 1_000
"""Stored characters of a code for ``<``, ``<=``, ``>`` and ``>=``."""
LONGEST_TOKEN = 1_024
_BIAS = 1 << 31  # of binary exponents
_DIGITS = str.maketrans("0123456789abcdef", "fedcba9876543210")
_END = "~"  # larger than every digit
_KINDS = {"s": Kinds.STRING, "n": Kinds.NUMBER, "b": Kinds.BOOLEAN, "l": Kinds.LIST}
_ESCAPES = ((0x2F, "!"), (0x39, ""), (0x40, ""), (0x5A, ""), (0x60, "_"), (0x7A, ""), (0xFF, "~"))


def text_code(text: str) -> str:
    """Return ASCII text with the order of code points of a text, without quotes and separators.

    >>> text_code("a b")
    'a!20b'
    """
    return "".join(_BYTES[byte] for byte in text.encode("utf-8", "surrogatepass"))


def code_text(code: str) -> str:
    """Return the text of a code that ``text_code`` returned."""
    result, position = bytearray(), 0
    while position < len(code):
        if code[position] in "!_~":
            result.append(int(code[position + 1 : position + 3], 16))
            position += 3
        else:
            result.append(ord(code[position]))
            position += 1
    return result.decode("utf-8", "surrogatepass")


def value_code(value: object) -> str | None:
    """Return the code of a string or a number; equal values have equal codes.

    Codes of strings begin with "s", those of numbers and booleans with "n". None for NaN, which
    equals nothing, and for other types.
    """
    if isinstance(value, str):
        return "s" + text_code(value)
    if isinstance(value, int | float) and not _is_nan(value):
        return "n" + _number_code(value)
    return None


def field_code(field: str) -> str:
    """Return the code of a field in a token."""
    return _shortened(text_code(field), LONGEST_FIELD)


def ordered_key(field: str) -> str:
    """Return the key of a field in ``ordered_of``: letters, digits and underscores."""
    if field.isascii() and field.replace("_", "a").isalnum() and len(field) <= LONGEST_FIELD:
        return f"p_{field}"
    return f"h_{hashlib.sha256(field.encode('utf-8', 'surrogatepass')).hexdigest()}"


def value_token(field: str, value: Value, *, item: bool = False) -> str:
    """Return the token of a field with a single value, or with a list that has an item."""
    code = _shortened(value_code(value) or "", LONGEST_VALUE)
    return SEPARATOR.join(("i" if item else "v", field_code(field), code))


def exists_token(field: str) -> str:
    """Return the token of a document that has a field."""
    return SEPARATOR.join(("x", field_code(field)))


def ordered_token(field: str, kind: str) -> str:
    """Return the token of a document whose ``ordered_of`` has a field: kind "s" or "n"."""
    return SEPARATOR.join(("o", field_code(field), kind))


def kind_token(field: str, kind: str, *, item: bool = False) -> str:
    """Return the token of a field that has a value, or an item, of a kind: s, n, b or l."""
    return SEPARATOR.join(("j" if item else "k", field_code(field), kind))


def ordered_of(metadata: Metadata) -> dict[str, str]:
    """Return the beginning of the code of each single value, by ``ordered_key``."""
    codes = {ordered_key(field): value_code(value) for field, value in metadata.items()}
    return {key: code[:LONGEST_ORDERED] for key, code in codes.items() if code is not None}


def tokens_of(metadata: Metadata) -> list[str]:
    """Return all tokens of a document, each once."""
    found: dict[str, None] = {}
    for field, value in metadata.items():
        found[exists_token(field)] = None
        items = value if isinstance(value, list | tuple) else (value,)
        is_list = items is value
        if is_list:
            found[kind_token(field, "l")] = None
        for item in items:
            found[kind_token(field, _kind(item), item=is_list)] = None
            code = value_code(item)
            if code is not None:
                found[value_token(field, item, item=is_list)] = None
                if not is_list:
                    found[ordered_token(field, code[0])] = None
    return list(found)


def kinds_of(field: str, tokens: Mapping[str, object]) -> FieldKinds:
    """Return the kinds of a field according to tokens of documents, as the keys of a mapping."""
    values, items = Kinds.NONE, Kinds.NONE
    for letter, kind in _KINDS.items():
        values |= kind if kind_token(field, letter) in tokens else Kinds.NONE
        items |= kind if kind_token(field, letter, item=True) in tokens else Kinds.NONE
    return FieldKinds(values, items)


def kind_tokens(field: str) -> list[str]:
    """Return the tokens that ``kinds_of`` reads."""
    return [kind_token(field, kind, item=item) for kind in _KINDS for item in (False, True)]


def field_of(token: str) -> str | None:
    """Return the field of an ``exists_token``; None for other tokens."""
    kind, _, code = token.partition(SEPARATOR)
    if kind != "x":
        return None
    return code if code.startswith("#") else code_text(code)


def _is_nan(value: float) -> bool:
    return isinstance(value, float) and math.isnan(value)  # an integer may be too large


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "s"
    return "b" if isinstance(value, bool) else "n"


def _shortened(code: str, longest: int) -> str:
    """Return a code, or "#", which no code contains, and its hash."""
    if len(code) <= longest:
        return code
    return f"#{hashlib.sha256(code.encode()).hexdigest()}"


def _number_code(value: float) -> str:
    """Return digits with the order of all numbers: sign, binary exponent, fraction."""
    if value == 0:
        return "2"
    if value in (math.inf, -math.inf):
        return "4" if value > 0 else "0"
    numerator, denominator = abs(value).as_integer_ratio()
    exponent = numerator.bit_length() - denominator.bit_length() + 1
    width = -(-numerator.bit_length() // 4)
    fraction = f"{numerator << (-numerator.bit_length() % 4):0{width}x}".rstrip("0")
    digits = f"{exponent + _BIAS:08x}{fraction}"
    return f"3{digits}" if value > 0 else f"1{digits.translate(_DIGITS)}{_END}"


def _byte_code(byte: int) -> str:
    for last, escape in _ESCAPES:
        if byte <= last:
            return f"{escape}{byte:02x}" if escape else chr(byte)
    raise ValueError(byte)


_BYTES = [_byte_code(byte) for byte in range(256)]
