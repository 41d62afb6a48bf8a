"""Filters of Qdrant, evaluated by Python over encoded metadata, match the same rows as Python."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_condition import FIELDS, ODD_FIELDS, ODD_VALUES, TABLES, VALUES, is_true, trees

from nestvec.engines.filters.condition import Comparison, Condition
from nestvec.engines.filters.ordered_floats import ordered_floats
from nestvec.engines.filters.qdrant import compile_condition, encoded, ordered_keys
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument

LIMITS = {
    "gt": float.__gt__,
    "gte": float.__ge__,
    "lt": float.__lt__,
    "lte": float.__le__,
}


def matches(condition, payload):
    """Evaluate a filter as Qdrant does."""
    if "match" in condition:
        return not set(condition["match"]["any"]).isdisjoint(payload[condition["key"]])
    if "range" in condition:
        first, _, key = condition["key"].partition(".")
        number = payload[first].get(key)
        return number is not None and all(
            LIMITS[name](number, limit) for name, limit in condition["range"].items()
        )
    assert condition.keys() <= {"must", "should", "must_not"}
    return (
        all(matches(part, payload) for part in condition.get("must", ()))
        and (
            "should" not in condition or any(matches(part, payload) for part in condition["should"])
        )
        and not any(matches(part, payload) for part in condition.get("must_not", ()))
    )


def stored(row):
    """Return the payload of a row after JSON, which has neither NaN nor infinity."""
    row = {name: value for name, value in row.items() if value is not None}
    return json.loads(json.dumps(encoded(row), allow_nan=False))


@given(trees(FIELDS, VALUES), TABLES)
def test_a_filter_matches_the_same_rows_as_python(tree, rows):
    compiled = compile_condition(tree)
    for row in rows:
        assert matches(compiled, stored(row)) == is_true(tree, row)


@given(trees(ODD_FIELDS, ODD_VALUES), st.dictionaries(ODD_FIELDS, ODD_VALUES, max_size=3))
def test_unusual_fields_and_values_are_compared_exactly(tree, row):
    assert matches(compile_condition(tree), stored(row)) == is_true(tree, row)


@given(st.lists(st.integers() | st.floats(allow_nan=False), min_size=2, max_size=2))
def test_the_order_of_numbers_is_that_of_their_floats(values):
    one, two = map(ordered_floats, values)
    assert (one < two) == (values[0] < values[1])


@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_the_order_of_texts_is_that_of_their_floats(values):
    one, two = map(ordered_floats, values)
    assert (one < two) == (values[0] < values[1])


@given(ODD_VALUES)
def test_the_floats_are_whole_numbers_below_1e15(value):
    assert all(part == int(part) and 0 <= part < 1e15 for part in ordered_floats(value))


def test_large_integers_differ_from_their_neighbors():
    for value in (2**53 + 1, -(2**53) - 1, 2**70, 10**300):
        below, same, above = map(ordered_floats, (value - 1, value, value + 1))
        assert below < same < above


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("held", [1, "1", True, math.nan, -math.inf, math.inf, [1], ["1"]])
def test_an_order_compares_single_values_of_one_type(operator, held):
    for value in (2, "2", 0, ""):
        tree, row = Comparison("a", operator, value), {"a": held}
        assert matches(compile_condition(tree), stored(row)) == is_true(tree, row)


def test_the_compared_keys_are_listed():
    compiled = compile_condition(Where.parse("day > '2026-01-01' and not (n < 3 or a = 1)"))
    keys = {"order.s0_646179", "order.s1_646179", "order.n0_6e", "order.n1_6e"}
    assert set(ordered_keys(compiled)) == keys


def test_a_text_that_is_too_long_to_be_ordered_is_refused():
    compile_condition(Comparison("a", ">", "x" * 95))
    with pytest.raises(InvalidArgument, match="Use a string of at most 95 bytes") as caught:
        compile_condition(Comparison("a", ">", "ä" * 48))
    assert "\n" not in str(caught.value)


def test_an_unknown_condition_is_refused():
    with pytest.raises(TypeError, match="not a known condition"):
        compile_condition(Unknown())


class Unknown(Condition):
    """A condition that no compiler knows."""

    fields = frozenset()

    def __str__(self):
        return "?"
