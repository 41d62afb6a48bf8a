"""Which rows a condition matches, compared with plain Python; and its text form."""

import dataclasses
import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.engines.filters.columns import Column
from nestvec.engines.filters.condition import (
    OPERATORS,
    And,
    Comparison,
    Condition,
    Exists,
    FieldTest,
    Has,
    In,
    Not,
    Or,
)
from nestvec.engines.filters.masks import matching
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument

ROWS = [
    {"year": 2020, "lang": "de"},
    {"year": 2020.0, "lang": "en"},
    {"year": "2020"},
    {"year": 2021, "lang": "de", "open": True, "tags": ["new", "sale"]},
    {"tags": "new"},
    {},
]
PYTHON = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

ODD_FIELDS = st.sampled_from(["a", "not", "ä-1", "two words", "`", "\\", ""]) | st.text(max_size=3)
ODD_VALUES = st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False)
ODD_VALUES |= st.integers(-(2**70), 2**70) | st.booleans() | st.sampled_from(["it's", '"', "\\"])
FIELDS = st.sampled_from(["a", "b", "nowhere"])  # few, so that rows and trees meet
VALUES = st.sampled_from([0, 1, True, 1.5, 2**53, 2**53 + 1, 2.0**53, "", "a", "b", "1"])
HELD = VALUES | st.sampled_from([None, math.nan, math.inf, 10**400]) | st.lists(VALUES, max_size=3)
TABLES = st.lists(st.dictionaries(st.sampled_from(["a", "b"]), HELD), max_size=8)


def trees(fields, values):
    tests = (
        st.builds(Comparison, fields, st.sampled_from(OPERATORS), values)
        | st.builds(In, fields, st.lists(values, min_size=1, max_size=3).map(tuple), st.booleans())
        | st.builds(Has, fields, values)
        | st.builds(Exists, fields)
    )

    def joined(parts):
        some = st.lists(parts, min_size=2, max_size=3).map(tuple)
        return st.builds(Not, parts) | st.builds(And, some) | st.builds(Or, some)

    return st.recursive(tests, joined, max_leaves=8)


def columns_of(rows):
    """Build columns as an index does, from the first to the last row that has the field."""
    columns = {}
    for number, row in enumerate(rows):
        for field, value in row.items():
            columns[field] = columns.get(field, Column()).extend(number, [value])
    return columns


def is_true(condition, row):
    """Evaluate a condition for one row with Python's operators."""
    match condition:
        case And(parts):
            return all(is_true(part, row) for part in parts)
        case Or(parts):
            return any(is_true(part, row) for part in parts)
        case Not(part):
            return not is_true(part, row)
    held = row.get(condition.field)
    return held is not None and is_true_of(condition, held)


def is_true_of(condition, held):
    match condition:
        case Exists():
            return True
        case Has(_, value):
            return value in held if isinstance(held, list) else held == value
        case In(_, values, negated):
            return (held in values) != negated
        case Comparison(_, "=" | "!=" as how, value):
            return (held == value) == (how == "=")
        case Comparison(_, how, value):
            return kind(held) == kind(value) and PYTHON[how](held, value)


def kind(value):
    return "number" if isinstance(value, int | float) else type(value)


def rows_of(text):
    return np.flatnonzero(matching(Where.parse(text), columns_of(ROWS), len(ROWS))).tolist()


@given(trees(FIELDS, VALUES), TABLES)
def test_a_condition_matches_the_same_rows_as_python(tree, rows):
    found = matching(tree, columns_of(rows), len(rows))
    assert found.dtype == np.bool_
    assert found.tolist() == [is_true(tree, row) for row in rows]


@given(trees(ODD_FIELDS, ODD_VALUES))
def test_parsing_the_text_of_a_condition_returns_an_equal_condition(tree):
    assert Where.parse(str(tree)) == tree
    assert str(Where.parse(str(tree))) == str(tree)


@given(trees(FIELDS, VALUES), TABLES, st.integers(0, 4))
def test_later_rows_do_not_change_the_mask(tree, rows, n_rows):
    n_rows = min(n_rows, len(rows))
    found = matching(tree, columns_of(rows), n_rows)
    assert found.tolist() == [is_true(tree, row) for row in rows[:n_rows]]


@given(trees(FIELDS, VALUES), TABLES)
def test_only_the_fields_of_a_condition_are_needed(tree, rows):
    columns = columns_of(rows)
    needed = {field: column for field, column in columns.items() if field in tree.fields}
    found = matching(tree, needed, len(rows))
    assert found.tolist() == matching(tree, columns, len(rows)).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("year = 2020", [0, 1]),
        ("year = '2020'", [2]),
        ("year != 2020", [2, 3]),
        ("not year = 2020", [2, 3, 4, 5]),
        ("year > 2019.5", [0, 1, 3]),
        ("year >= '2'", [2]),
        ("year in (2020, '2020')", [0, 1, 2]),
        ("year not in (2020, 2021)", [2]),
        ("not year in (2020, 2021)", [2, 4, 5]),
        ("lang not in ('en')", [0, 3]),
        ("lang exists", [0, 1, 3]),
        ("not lang exists", [2, 4, 5]),
        ("open = true", [3]),
        ("open = 1", [3]),
        ("open = 'true'", []),
        ("tags has 'new'", [3, 4]),
        ("tags has 'sale'", [3]),
        ("tags has 'sal'", []),
        ("not tags has 'new'", [0, 1, 2, 5]),
        ("tags = 'new'", [4]),  # a list is not equal to a string
        ("tags != 'new'", [3]),
        ("tags >= 'a'", [4]),
        ("tags in ('new', 'sale')", [4]),
        ("tags not in ('new')", [3]),
        ("tags exists", [3, 4]),
        ("year has 2020", [0, 1]),
        ("lang = 'en' or lang = 'de' and year = 2021", [1, 3]),
        ("(lang = 'en' or lang = 'de') and year = 2021", [3]),
        ("not lang = 'de' and year exists", [1, 2]),
        ("nowhere = 1 or nowhere != 1", []),
        ("not nowhere = 1", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_which_rows_a_filter_matches(text, rows):
    assert rows_of(text) == rows


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (Comparison("year", ">=", 2020), "year >= 2020"),
        (Comparison("größe", "=", 1.5), "größe = 1.5"),
        (Comparison("a b", "=", "it's"), "`a b` = 'it''s'"),
        (Comparison("`", "=", "\\"), "```` = '\\\\'"),
        (Comparison("In", "!=", True), "`In` != true"),
        (Comparison("a", "=", 1e22), "a = 1e+22"),
        (Comparison("a", "=", np.float64(0.5)), "a = 0.5"),
        (Comparison("1a", "=", ""), "`1a` = ''"),
        (In("a", (1, "x", -0.5)), "a in (1, 'x', -0.5)"),
        (Has("tags", "it's"), "tags has 'it''s'"),
        (Has("has", 1), "`has` has 1"),
        (In("a", (1,), negated=True), "a not in (1)"),
        (Not(Not(Exists("a"))), "not not a exists"),
        (Not(And((Exists("a"), Exists("b")))), "not (a exists and b exists)"),
        (Or((And((Exists("a"), Exists("b"))), Exists("c"))), "a exists and b exists or c exists"),
        (And((Or((Exists("a"), Exists("b"))), Exists("c"))), "(a exists or b exists) and c exists"),
        (
            And((Exists("a"), And((Exists("b"), Exists("c"))))),
            "a exists and (b exists and c exists)",
        ),
    ],
)
def test_the_text_of_a_tree(tree, text):
    assert str(tree) == text
    assert Where.parse(text) == tree


def test_the_fields_of_a_tree():
    tree = Where.parse("a = 1 and (b in (2) or not `c d` exists) and a != 3")
    assert tree.fields == {"a", "b", "c d"}


def test_a_condition_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Exists("a").field = "b"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_numbers_outside_the_range_of_floats_are_refused(value):
    with pytest.raises(InvalidArgument, match=r"Use a value within ±1\.798e\+308"):
        Comparison("a", "=", value)
    with pytest.raises(InvalidArgument, match="outside the range of floats"):
        In("a", (1, value))
    with pytest.raises(InvalidArgument, match="outside the range of floats"):
        Has("a", value)


@pytest.mark.parametrize("value", [None, [1], np.int64(1), b"a"])
def test_values_of_other_types_are_refused(value):
    with pytest.raises(InvalidArgument, match="Pass a str, an int or a float"):
        Comparison("a", "=", value)


def test_conditions_without_a_text_form_are_refused():
    with pytest.raises(InvalidArgument, match="operator '==' is unknown"):
        Comparison("a", "==", 1)
    with pytest.raises(InvalidArgument, match=r"the list of values for a is empty"):
        In("a", ())
    with pytest.raises(InvalidArgument, match="'and' joins 1 conditions"):
        And((Exists("a"),))
    with pytest.raises(InvalidArgument, match="'or' joins 0 conditions"):
        Or(())


def test_an_unknown_node_is_refused():
    class Near(FieldTest):
        def __str__(self):
            return f"near {self.field}"

    class Never(Condition):
        fields = frozenset()

        def __str__(self):
            return "never"

    for unknown in (Near("year"), Never(), Not(Never()), And((Exists("year"), Near("year")))):
        with pytest.raises(TypeError, match="is not a known condition"):
            matching(unknown, columns_of(ROWS), len(ROWS))
