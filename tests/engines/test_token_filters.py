"""Filters over tokens, evaluated by Python, match the same rows as Python."""

import itertools
import math
import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_condition import FIELDS, ODD_FIELDS, ODD_VALUES, TABLES, VALUES, is_true, trees

from nestvec.engines.filters import datafusion, milvus
from nestvec.engines.filters.condition import OPERATORS, Comparison, Has
from nestvec.engines.filters.tokens import Tokens
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument

SQL = re.compile(
    r"('(?:[^']|'')*')|CAST\((array_position\(\w+, '[^']*'\)) AS BIGINT\)|(AND|OR|NOT)"
)


class Element(NamedTuple):
    """An element of a list, or NULL, whose comparisons are not true."""

    text: str | None

    def __lt__(self, other):
        return self.text is not None and self.text < other

    def __le__(self, other):
        return self.text is not None and self.text <= other

    def __gt__(self, other):
        return self.text is not None and self.text > other

    def __ge__(self, other):
        return self.text is not None and self.text >= other


def as_python(found):
    literal, position, word = found.groups()
    if literal:
        return repr(literal[1:-1].replace("''", "'"))
    return position or word.lower()


def matches_sql(tree, metadata):
    """Evaluate the SQL of a condition as DataFusion does."""
    tokens = Tokens.of(metadata)
    names = {
        "tokens": [*tokens.fields, *tokens.values],
        "order_keys": list(tokens.ordered),
        "order_values": [datafusion.ordered_text(value) for value in tokens.ordered.values()],
        "array_has_any": lambda one, other: not set(one).isdisjoint(other),
        "array_position": lambda values, value: values.index(value) if value in values else None,
        "array_element": lambda values, at: Element(None if at is None else values[at]),
        "coalesce": lambda value, _: value,
        "false": False,
    }
    return eval(SQL.sub(as_python, datafusion.compile_condition(tree)), names)


def matches_milvus(tree, metadata):
    """Evaluate the expression of a condition as Milvus does; a missing key is an error."""
    names = milvus.encoded(metadata) | {
        "array_contains": lambda values, value: value in values,
        "array_contains_any": lambda one, other: not set(one).isdisjoint(other),
    }
    return eval(milvus.compile_condition(tree), names)


ENGINES = pytest.mark.parametrize("matches", [matches_sql, matches_milvus])


@ENGINES
@given(tree=trees(FIELDS, VALUES), rows=TABLES)
def test_a_filter_over_tokens_matches_the_same_rows_as_python(matches, tree, rows):
    for row in rows:
        metadata = {field: value for field, value in row.items() if value is not None}
        assert matches(tree, metadata) == is_true(tree, row)


@ENGINES
@given(tree=trees(ODD_FIELDS, ODD_VALUES), row=st.dictionaries(ODD_FIELDS, ODD_VALUES, max_size=3))
def test_unusual_fields_and_values_are_compared_exactly_over_tokens(matches, tree, row):
    assert matches(tree, row) == is_true(tree, row)


@ENGINES
@pytest.mark.parametrize(
    "pair",
    [
        ("x" * 63, "x" * 64),
        ("x" * 300 + "1", "x" * 300 + "2"),
        ("é" * 90, "é" * 90 + "e"),
        (2**1000 - 1, 2**1000),
        (math.nextafter(1e308, 0), 1e308),
    ],
    ids=lambda pair: f"{pair[0]!r:.10}",
)
def test_long_values_differ_from_their_neighbors(matches, pair):
    for operator, value, stored in itertools.product(OPERATORS, pair, pair):
        tree = Comparison("f" * 2_000, operator, value)
        assert matches(tree, {"f" * 2_000: stored}) == is_true(tree, {"f" * 2_000: stored})
    assert matches(Has("f", pair[0]), {"f": list(pair)})
    assert not matches(Has("f", pair[0]), {"f": [pair[1]]})


@ENGINES
@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("held", [1, "1", True, math.nan, -math.inf, math.inf, [1], ["1"]])
def test_an_order_over_tokens_compares_single_values_of_one_type(matches, operator, held):
    for value in (2, "2", 0, ""):
        tree, row = Comparison("a", operator, value), {"a": held}
        assert matches(tree, row) == is_true(tree, row)


@ENGINES
def test_long_strings_are_equal_only_to_themselves(matches):
    tree = Comparison("f", "=", "x" * 10_000)
    assert matches(tree, {"f": "x" * 10_000})
    assert not matches(tree, {"f": "x" * 10_001})


def test_a_filter_becomes_an_expression_that_quotes_nothing():
    expression = milvus.compile_condition(Where.parse("a != 'x\" or true' and not b >= 2"))
    assert expression == (
        '((array_contains(tokens, "x|a") and (not array_contains(tokens, '
        '"v|a|sx!22!20or!20true"))) and (not (array_contains(tokens, "o|b|n") and '
        'ordered["o_b_n"] >= "n3800000028")))'
    )


def test_json_keys_are_different_letters_digits_and_underscores():
    names = ["year", "a b", "a_b", "a.b", "ab", "h_ab", "ä", "f" * 5_000, "日" * 30]
    metadata = dict.fromkeys(names, 1) | dict.fromkeys(("s1", "s2"), "x")
    keys = milvus.encoded(metadata)[milvus.ORDERED]
    assert len(keys) == len(metadata)
    assert all(re.fullmatch(r"\w{1,200}", key, re.ASCII) for key in keys)


def test_an_order_by_a_long_string_is_refused_by_milvus():
    with pytest.raises(InvalidArgument, match="too long for < in Milvus"):
        milvus.compile_condition(Where.parse(f"a < '{'x' * 1_000}'"))
    milvus.compile_condition(Where.parse(f"a = '{'x' * 1_000}'"))


def test_a_string_is_ordered_in_sql_by_its_whole_text():
    for text in ("", "x" * 64, "x" * 1_000):
        assert datafusion.ordered_text(text) == text
