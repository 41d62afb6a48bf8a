"""Metadata as strings: the order of values, and terms that no two meanings share."""

import itertools
import math
import sys

import numpy as np
import pytest

from nestvec.engines.filters.terms import (
    Terms,
    exists_term,
    field_of,
    item_term,
    ordered_value,
    value_term,
)

NUMBERS = [0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**62, 10**300, -(10**300), 0.1, 0.5, 1.5]
NUMBERS += [5e-324, -5e-324, 1e16, 1e16 + 2, sys.float_info.max, -sys.float_info.max, 0.3, 1 / 3]
NUMBERS += [math.inf, -math.inf, 3, 7, 15, 16, 17, 255, 256, -255, -256, -16, 0.1 + 0.2]


def test_the_order_of_the_strings_is_that_of_the_numbers():
    drawn = np.random.default_rng(0).standard_normal(100) * 10.0 ** np.arange(-50, 50)
    for one, other in itertools.product([*NUMBERS, *drawn.tolist()], repeat=2):
        first, second = ordered_value(one), ordered_value(other)
        assert (first < second, first == second) == (one < other, one == other), (one, other)


def test_equal_numbers_of_other_types_have_equal_strings():
    assert ordered_value(True) == ordered_value(1) == ordered_value(1.0)
    assert ordered_value(False) == ordered_value(0) == ordered_value(-0.0)
    assert ordered_value(2**53) == ordered_value(float(2**53))


def test_no_two_meanings_have_the_same_term():
    names = ["a", "a1:b", "1:a", "", ":", "as", "b"]
    values = ["", "a", "1", 1, 0, "1:a", "x" * 64, "x" * 65, "x" * 66, "long" * 100, "é", "\0"]
    terms = [exists_term(name) for name in names]
    for name, value in itertools.product(names, values):
        terms += [value_term(name, value), item_term(name, value)]
    assert len(terms) == len(set(terms))
    assert max(map(len, terms)) < 100
    assert [field_of(exists_term(name)) for name in names] == names
    assert field_of(value_term("a", 1)) is None


def test_nan_exists_and_equals_nothing():
    found = Terms.of({"x": math.nan, "list": [math.nan, 1]})
    assert exists_term("x") in found.terms
    assert found.keys == found.ordered == []
    numbers = {term for term in found.terms if term[0] in "nN"}
    assert numbers == {item_term("list", 1)}


@pytest.mark.parametrize("value", ["", "x" * 64, "x" * 1_000])
def test_a_string_is_ordered_by_its_whole_text(value):
    assert ordered_value(value) == value
