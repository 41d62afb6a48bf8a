"""Tokens of metadata: exact order and equality of values, fields and kinds."""

import itertools
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.engines.filters.tokens import (
    LONGEST_TOKEN,
    Tokens,
    exists_token,
    field_of,
    kind_tokens,
    kinds_of,
    order_token,
    text_code,
    value_code,
    value_token,
)
from nestvec.sources.ids import code_text

NUMBERS = [0, 1, -1, 2**53, 2**53 + 1, 2.0**53, 5e-324, -5e-324, 1e308, -1e308, 2**2000, -(2**2000)]
NUMBERS += [1.5, 1.25, 1.0625, -1.5, -1.25, -1.0625, math.inf, -math.inf, True, False, 0.1, -0.0]
NUMBERS += [10**300, -(10**300), 1e16, 1e16 + 2, sys.float_info.max, -sys.float_info.max, 0.1 + 0.2]
NUMBERS += [1 / 3, 0.3, 3, 7, 15, 16, 17, 255, 256, -255, -256, -16]
TEXTS = ["", "a", "ab", "a b", "a\0", "é", "e\u0301", "日本", "👋", "~", "|", "`", "_", "Z", "z"]
TEXTS += ["[", "'", '"', "\\", "!", "/", "0", ":", "@", "{"]


@pytest.mark.parametrize("one", NUMBERS)
def test_codes_of_numbers_have_the_order_of_the_numbers(one):
    for other in NUMBERS:
        assert (one < other) == (value_code(one) < value_code(other)), other
        assert (one == other) == (value_code(one) == value_code(other)), other


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_codes_of_any_numbers_have_their_order(one, other):
    assert (one < other) == (value_code(one) < value_code(other))
    assert (one == other) == (value_code(one) == value_code(other))


@given(st.text() | st.sampled_from(TEXTS), st.text() | st.sampled_from(TEXTS))
def test_codes_of_texts_have_the_order_of_code_points(one, other):
    assert (one < other) == (text_code(one) < text_code(other))
    assert code_text(text_code(one)) == one


@given(st.text())
def test_codes_of_texts_need_no_quoting(text):
    assert text_code(text).isascii()
    assert not set("\"'\\|#% \n") & set(text_code(text))


def test_half_of_a_surrogate_pair_has_a_code():
    assert code_text(text_code("a\ud800")) == "a\ud800"
    assert value_token("\ud800", "\udfff").isascii()


def test_nan_has_no_code_and_a_field_with_nan_exists():
    tokens = Tokens.of({"n": math.nan, "list": [math.nan, 1]})
    assert value_code(math.nan) is None
    assert exists_token("n") in tokens.fields
    assert tokens.ordered == {}
    assert tokens.values == [value_token("list", 1, item=True)]


def test_no_two_meanings_have_the_same_token():
    names = ["a", "a|b", "|", "", "#", "as", "b", "f" * 5_000, "f" * 5_001]
    values = ["", "a", "1", 1, 0, "|a", "x" * 63, "x" * 64, "x" * 65, "long" * 100, "é", "\0", "#"]
    tokens = [exists_token(name) for name in names]
    for name in names:
        tokens += [order_token(name, 1), order_token(name, "1")]
        tokens += [*kind_tokens(name), *kind_tokens(name, item=True)]
    for name, value, item in itertools.product(names, values, [False, True]):
        tokens.append(value_token(name, value, item=item))
    assert len(tokens) == len(set(tokens))
    assert max(map(len, tokens)) <= LONGEST_TOKEN


def test_equal_numbers_of_other_types_have_the_same_token():
    assert value_token("n", "17") != value_token("n", 17) == value_token("n", 17.0)
    assert value_token("n", 1) == value_token("n", True)
    assert value_token("n", 0) == value_token("n", False) == value_token("n", -0.0)


def test_each_token_of_a_document_is_stored_once():
    tokens = Tokens.of({"a b": [1, True, 1.0, "x", "x"], "y": 1})
    fields = "x|a!20b k|a!20b|l j|a!20b|n j|a!20b|b j|a!20b|s x|y k|y|n"
    assert tokens.fields == fields.split()
    assert tokens.values == ["i|a!20b|n3800000018", "i|a!20b|sx", "v|y|n3800000018"]
    assert tokens.ordered == {"o|y|n": 1}


def test_kinds_and_fields_are_read_from_tokens():
    tokens = Tokens.of({"a b|ü": [1, True], "s": "x", "empty": []}).fields
    assert kinds_of("a b|ü", tokens.__contains__) == FieldKinds(
        Kinds.LIST, Kinds.NUMBER | Kinds.BOOLEAN
    )
    assert kinds_of("s", tokens.__contains__) == FieldKinds(Kinds.STRING)
    assert kinds_of("empty", tokens.__contains__) == FieldKinds(Kinds.LIST)
    assert kinds_of("other", tokens.__contains__) == FieldKinds(Kinds.NONE)
    assert {field_of(token) for token in tokens} == {"a b|ü", "s", "empty", None}


def test_the_name_of_a_very_long_field_is_read_in_part():
    assert field_of(exists_token("f" * 900)) == "f" * 900
    assert field_of(exists_token("日" * 100)) == "日" * 100
    assert field_of(exists_token("日" * 101)) == "日" * 41 + "…"
