"""Tokens of metadata, and filters compiled to expressions over tokens."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.engines.filters.milvus import compile_condition
from nestvec.engines.filters.tokens import (
    LONGEST_TOKEN,
    code_text,
    exists_token,
    field_of,
    kinds_of,
    ordered_key,
    ordered_of,
    text_code,
    tokens_of,
    value_code,
    value_token,
)
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument

NUMBERS = [0, 1, -1, 2**53, 2**53 + 1, 2.0**53, 5e-324, -5e-324, 1e308, -1e308, 2**2000, -(2**2000)]
NUMBERS += [1.5, 1.25, 1.0625, -1.5, -1.25, -1.0625, math.inf, -math.inf, True, False, 0.1, -0.0]
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


def test_nan_has_no_code_and_a_field_with_nan_exists():
    tokens = tokens_of({"n": math.nan})
    assert value_code(math.nan) is None
    assert exists_token("n") in tokens
    assert ordered_of({"n": math.nan}) == {}
    assert not [token for token in tokens if token.startswith(("v|", "o|"))]


def test_a_string_and_a_number_never_share_a_token():
    assert value_token("n", "17") != value_token("n", 17) == value_token("n", 17.0)
    assert value_token("n", 1) == value_token("n", True)
    assert value_token("n", "a", item=True) != value_token("n", "a")


def test_long_fields_and_values_fit_into_a_token():
    metadata = {"f" * 5_000: "ü" * 5_000, "list": ["x" * 5_000, "x" * 5_001]}
    tokens = tokens_of(metadata)
    assert max(map(len, tokens)) <= LONGEST_TOKEN
    assert len({token for token in tokens if token.startswith("i|list|")}) == 2
    assert all(key.replace("_", "a").isalnum() for key in ordered_of(metadata))


def test_kinds_and_fields_are_read_from_tokens():
    tokens = dict.fromkeys(tokens_of({"a b|ü": [1, True], "s": "x"}))
    assert kinds_of("a b|ü", tokens) == FieldKinds(Kinds.LIST, Kinds.NUMBER | Kinds.BOOLEAN)
    assert kinds_of("s", tokens) == FieldKinds(Kinds.STRING)
    assert {field_of(token) for token in tokens} == {"a b|ü", "s", None}


def test_field_names_that_are_not_identifiers_have_other_keys():
    assert ordered_key("year") == "p_year"
    assert len({ordered_key(name) for name in ("a b", "a_b", "a.b", "ab", "h_ab", "ä")}) == 6


def test_a_filter_becomes_an_expression_that_quotes_nothing():
    expression = compile_condition(Where.parse("a != 'x\" or true' and not b >= 2"))
    assert expression == (
        '((array_contains(tokens, "x|a") and (not array_contains(tokens, '
        '"v|a|sx!22!20or!20true"))) and (not (array_contains(tokens, "o|b|n") and '
        'ordered["p_b"] >= "n3800000028")))'
    )


def test_an_order_by_a_long_string_is_refused():
    with pytest.raises(InvalidArgument, match="too long for < in Milvus"):
        compile_condition(Where.parse(f"a < '{'x' * 1_000}'"))
    compile_condition(Where.parse(f"a = '{'x' * 1_000}'"))
