"""Metadata as tokens: short ASCII texts, for engines whose filters lack strict types.

Most filter languages compare a string with a number, or treat a missing field as a value. Tokens
avoid such comparisons: a document stores one token for each statement about its metadata, and a
filter tests whether a document has a token. The compilers of LanceDB, Milvus and Qdrant use them.

    year = 2020             "v|year|n3..."      the field has this single value
    tags = ["a"]            "i|tags|sa"         the list of the field has this item
    both                    "x|year"            the document has the field
    year = 2020             "k|year|n"          the field has a number
    tags = ["a"]            "j|tags|s"          the list has a string
    year = 2020             "o|year|n"          the field has a number that ``<`` compares: not NaN

Codes of values also have the order of the values, so that a comparison of strings compares numbers
exactly.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nestvec.engines.filters.condition import Comparison, Exists, FieldTest, Has, In, Value
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.sources.ids import code_text
from nestvec.types import Metadata

SEPARATOR = "|"
LONGEST_TOKEN = 1_024
"""No token has more characters."""
_LONGEST_FIELD = 900  # characters of the code of a field; a longer code ends with a hash
_SHOWN = 41  # characters of a field that its shortened code begins with; messages show 40
_LONGEST_VALUE = 64  # characters of the code of a value; a hash replaces a longer code
_BIAS = 1 << 31  # of binary exponents
_DIGITS = str.maketrans("0123456789abcdef", "fedcba9876543210")
_END = "~"  # larger than every digit
_KINDS = {"s": Kinds.STRING, "n": Kinds.NUMBER, "b": Kinds.BOOLEAN, "l": Kinds.LIST}
_ESCAPES = ((0x2F, "!"), (0x39, ""), (0x40, ""), (0x5A, ""), (0x60, "_"), (0x7A, ""), (0xFF, "~"))


class Tokens(NamedTuple):
    """The tokens of a document, each once.

    Attributes:
        fields: The tokens of fields and of the kinds of their values.
        values: The tokens of single values and of items.
        ordered: The single values that ``<``, ``<=``, ``>`` and ``>=`` compare, by order token.
    """

    fields: list[str]
    values: list[str]
    ordered: dict[str, Value]

    @classmethod
    def of(cls, metadata: Metadata) -> Tokens:
        """Return the tokens of the metadata of a document."""
        found = cls([], [], {})
        for field, value in metadata.items():
            found.fields.append(exists_token(field))
            if isinstance(value, str | int | float):
                found._add("k", "v", field, (value,))
                if not _is_nan(value):
                    found.ordered[order_token(field, value)] = value
            else:
                found.fields.append(_token("k", field, "l"))
                found._add("j", "i", field, value)
        return found

    def _add(self, kind: str, equal: str, field: str, values: Sequence[Value]) -> None:
        """Add the tokens of values, whose first letters are ``kind`` and ``equal``."""
        self.fields.extend(dict.fromkeys(_token(kind, field, _kind(each)) for each in values))
        codes = dict.fromkeys(filter(None, map(value_code, values)))
        self.values.extend(_coded_token(equal, field, code) for code in codes)


def text_code(text: str) -> str:
    """Return ASCII text with the order of code points of a text, without quotes and separators.

    >>> text_code("a b")
    'a!20b'
    """
    if text.isascii() and text.isalnum():
        return text
    return text.encode("utf-8", "surrogatepass").decode("latin-1").translate(_CODES)


def value_code(value: Value) -> str | None:
    """Return the code of a string or a number; equal values have equal codes.

    Codes of strings begin with "s", those of numbers and booleans with "n". None for NaN, which
    equals nothing.
    """
    if isinstance(value, str):
        return "s" + text_code(value)
    return None if _is_nan(value) else "n" + _number_code(value)


def exists_token(field: str) -> str:
    """Return the token of a document that has a field."""
    return _token("x", field)


def value_token(field: str, value: Value, *, item: bool = False) -> str:
    """Return the token of a field with a single value, or with a list that has an item."""
    return _coded_token("i" if item else "v", field, value_code(value) or "")


def order_token(field: str, value: Value) -> str:
    """Return the token of a field with a single value that ``<`` compares with a value."""
    return _token("o", field, "s" if isinstance(value, str) else "n")


def kind_tokens(field: str, *, item: bool = False) -> dict[str, Kinds]:
    """Return the tokens of the kinds of a field's values, or of the items of its lists."""
    return {_token("j" if item else "k", field, letter): kind for letter, kind in _KINDS.items()}


def kinds_of(field: str, is_present: Callable[[str], bool]) -> FieldKinds:
    """Return the kinds of a field over some documents.

    Args:
        field: The field.
        is_present: Returns whether one of the documents has a token.
    """
    values, items = Kinds.NONE, Kinds.NONE
    for token, kind in kind_tokens(field).items():
        values |= kind if is_present(token) else Kinds.NONE
    if Kinds.LIST in values:
        for token, kind in kind_tokens(field, item=True).items():
            items |= kind if is_present(token) else Kinds.NONE
    return FieldKinds(values, items)


def field_of(token: str) -> str | None:
    """Return the field of an ``exists_token``, or the beginning of a very long field.

    Return None for other tokens.
    """
    letter, _, code = token.partition(SEPARATOR)
    if letter != "x":
        return None
    beginning, hash_mark, _ = code.partition("#")
    return code_text(beginning) + ("…" if hash_mark else "")


def tested_tokens(test: FieldTest) -> tuple[Sequence[str], bool]:
    """Return the tokens that express a test, unless the test compares by order.

    Returns:
        Tokens and whether the test is negated. A document matches if it has one of the tokens; if
        the test is negated, a document matches if it has the field and none of the tokens.

    Raises:
        TypeError: If the test is unknown.
    """
    match test:
        case Exists(field):
            return [exists_token(field)], False
        case Has(field, value):
            return [value_token(field, value, item=item) for item in (False, True)], False
        case In(field, values, negated):
            return list(dict.fromkeys(value_token(field, value) for value in values)), negated
        case Comparison(field, "=" | "!=" as operator, value):
            return [value_token(field, value)], operator == "!="
    raise TypeError(f"{type(test).__name__} is not a known condition")


def _token(letter: str, field: str, rest: str = "") -> str:
    code = text_code(field)
    if len(code) > _LONGEST_FIELD:
        code = text_code(field[:_SHOWN]) + _hashed(code)
    return f"{letter}{SEPARATOR}{code}{SEPARATOR}{rest}" if rest else f"{letter}{SEPARATOR}{code}"


def _coded_token(letter: str, field: str, code: str) -> str:
    return _token(letter, field, code if len(code) <= _LONGEST_VALUE else _hashed(code))


def _hashed(code: str) -> str:
    """Return "#", which no code contains, and a hash."""
    return f"#{hashlib.sha256(code.encode()).hexdigest()}"


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)  # an integer may be too large for isnan


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "s"
    return "b" if isinstance(value, bool) else "n"


def _number_code(value: float) -> str:
    """Return digits with the order of all numbers: sign, binary exponent, fraction."""
    if value == 0:
        return "2"
    if value in (math.inf, -math.inf):
        return "4" if value > 0 else "0"
    numerator, denominator = abs(value).as_integer_ratio()
    bits = numerator.bit_length()
    fraction = f"{numerator << -bits % 4:x}".rstrip("0")
    digits = f"{bits - denominator.bit_length() + 1 + _BIAS:08x}{fraction}"
    return f"3{digits}" if value > 0 else f"1{digits.translate(_DIGITS)}{_END}"


def _byte_code(byte: int) -> str:
    escape = next(escape for last, escape in _ESCAPES if byte <= last)
    return f"{escape}{byte:02x}" if escape else chr(byte)


_CODES = {byte: _byte_code(byte) for byte in range(256)}
