"""Columns of metadata: strict types, exact numbers, and readers of shorter columns."""

import math
import operator
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.engines.filters.columns import Column
from nestvec.engines.filters.condition import OPERATORS
from nestvec.engines.filters.fields import Kinds
from nestvec.errors import InvalidArgument

PYTHON = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EDGES = [0, -0.0, 1, True, 2**53, 2**53 + 1, 2**53 + 2, 2.0**53, -(2**53) - 1, 2**63 - 1, 2.0**63]
EDGES += [2**80 + 1, 2**80 - 1, 1.5e308, 10**308 + 1, "", "0", "1", "2020", "ä", "\ud800", "😀"]
NUMBERS = st.integers() | st.integers(2**53 - 2, 2**53 + 6) | st.floats(allow_infinity=False)
VALUES = st.sampled_from(EDGES) | NUMBERS.filter(lambda number: number == number)
VALUES |= st.text(st.sampled_from("ab\U0001f600\uffff"), max_size=2)
LISTS = st.lists(VALUES, max_size=3)
HELD = VALUES | st.sampled_from([None, math.nan, math.inf, -math.inf, 10**400, -(10**400)]) | LISTS
KIND_OF = {str: Kinds.STRING, bool: Kinds.BOOLEAN, int: Kinds.NUMBER, float: Kinds.NUMBER}


@pytest.fixture
def switch_often():
    """Switch threads every microsecond, to provoke races."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def column_of(*values):
    return Column().extend(0, values)


def holds(held, how, value):
    """Compare one row in plain Python; values of two kinds differ and have no order."""
    if held is None:
        return False
    if isinstance(held, list) or isinstance(held, str) != isinstance(value, str):
        return how == "!="
    return PYTHON[how](held, value)


def contains(held, value):
    """Search a value in one row in plain Python; a single value is a list of one item."""
    items = held if isinstance(held, list) else [held]
    return any(holds(item, "=", value) for item in items)


@given(st.lists(HELD, max_size=12), st.sampled_from(OPERATORS), VALUES)
def test_comparisons_equal_python_comparisons_of_each_row(held, how, value):
    found = column_of(*held).compare(how, value)
    assert found.dtype == np.bool_
    assert found.tolist() == [holds(each, how, value) for each in held]


@given(st.lists(HELD, max_size=12), st.lists(VALUES, max_size=6))
def test_is_in_equals_comparing_with_each_value(held, values):
    expected = [any(holds(each, "=", value) for value in values) for each in held]
    assert column_of(*held).is_in(values).tolist() == expected


@given(st.lists(HELD, max_size=12), VALUES)
def test_has_equals_a_search_in_the_list_of_each_row(held, value):
    assert column_of(*held).has(value).tolist() == [contains(each, value) for each in held]


def number_kinds_as_one(kinds):
    """Return kinds with numbers for booleans: [1] and [True] are stored as one list."""
    return kinds if Kinds.BOOLEAN not in kinds else kinds & ~Kinds.BOOLEAN | Kinds.NUMBER


@given(st.lists(st.tuples(HELD, st.booleans()), max_size=12))
def test_the_kinds_of_some_rows_are_those_of_their_values(rows):
    held = [value for value, _ in rows]
    live = np.array([chosen for _, chosen in rows], dtype=bool)
    values = items = Kinds.NONE
    for value, chosen in rows:
        if chosen and isinstance(value, list):
            values |= Kinds.LIST
            for item in value:
                items |= KIND_OF[type(item)]
        elif chosen and value is not None:
            values |= KIND_OF[type(value)]
    found = column_of(*held).kinds(live)
    assert found.values == values
    assert number_kinds_as_one(found.items) == number_kinds_as_one(items)


def test_the_kinds_of_a_shorter_column_are_not_those_of_a_longer_one():
    short = column_of("a", 1)
    longer = short.extend(2, [["x"], True])
    everything = np.ones(4, dtype=bool)
    assert short.kinds(everything) == (Kinds.STRING | Kinds.NUMBER, Kinds.NONE)
    assert longer.kinds(everything) == (
        Kinds.STRING | Kinds.NUMBER | Kinds.BOOLEAN | Kinds.LIST,
        Kinds.STRING,
    )
    assert longer.kinds(everything[:1]) == (Kinds.STRING, Kinds.NONE)


def test_two_extensions_of_one_column_have_lists_of_their_own():
    root = column_of(["a", "b"], "a").extend(2, [["c"]])  # with room
    left, right = root.extend(3, [["x", "a"]]), root.extend(3, [["y"]])
    assert left.has("a").tolist() == [True, True, False, True]
    assert right.has("a").tolist() == [True, True, False, False]
    assert right.has("y").tolist() == [False, False, False, True]
    assert root.has("x").tolist() == root.has("y").tolist() == [False] * 3


def test_items_of_other_types_do_not_match_and_the_list_exists():
    column = column_of(["a", None, {"b": 1}, [2]], [])
    assert column.exists().tolist() == [True, True]
    assert column.has("a").tolist() == [True, False]


@given(st.lists(st.lists(HELD, max_size=5), max_size=6), st.sampled_from(OPERATORS), VALUES)
def test_extending_a_column_leaves_shorter_columns_unchanged(batches, how, value):
    columns, held = [Column()], []
    for batch in batches:
        columns.append(columns[-1].extend(len(columns[-1]), batch))
    for column, batch in zip(columns, [[], *batches], strict=True):
        held += batch
        assert column.compare(how, value).tolist() == [holds(each, how, value) for each in held]
        assert column.has(value).tolist() == [contains(each, value) for each in held]
        assert column.is_in([value]).tolist() == column.compare("=", value).tolist()
        assert column.exists().tolist() == [each is not None for each in held]


def test_integers_rounded_to_the_same_float_are_compared_exactly():
    even = 2**53
    column = column_of(even, even + 1, float(even), even + 2, even + 3)
    assert column.compare("=", even + 1).tolist() == [False, True, False, False, False]
    assert column.compare("=", float(even)).tolist() == [True, False, True, False, False]
    assert column.compare("<=", even + 1).tolist() == [True, True, True, False, False]
    assert column.compare(">", even + 2).tolist() == [False, False, False, False, True]
    assert column.is_in([even]).tolist() == [True, False, True, False, False]
    assert column.is_in([even + 1, even + 2]).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("nothing", [None, {}, {"a": 1}, b"1", 1j])
def test_values_of_other_types_count_as_no_value(nothing):
    column = column_of(nothing, 1)
    assert column.exists().tolist() == [False, True]
    assert column.compare("!=", 2).tolist() == [False, True]


def test_skipped_rows_have_no_value():
    column = column_of("a").extend(3, ["b"])
    assert len(column) == 4
    assert column.exists().tolist() == [True, False, False, True]
    assert column.compare("!=", "a").tolist() == [False, False, False, True]


def test_extending_before_the_end_is_refused():
    with pytest.raises(InvalidArgument, match="first_row=1 is smaller than"):
        column_of(1, 2).extend(1, [3])


def test_two_extensions_of_one_column_are_independent():
    root = column_of("a", 1, "b").extend(3, ["c"])  # with room
    left, right = root.extend(4, ["left", 2**60 + 1]), root.extend(4, ["right", "left"])
    assert left.compare("=", "left").tolist() == [False] * 4 + [True, False]
    assert right.compare("=", "left").tolist() == [False] * 5 + [True]
    assert left.compare("=", "right").sum() == 0
    assert root.compare("!=", "a").tolist() == [False, True, True, True]
    assert right.compare(">=", "b").tolist() == [False, False, True, True, True, True]


def test_an_error_while_reading_values_changes_nothing():
    def broken():
        yield "new"
        raise OSError

    column = column_of("a", "b")
    with pytest.raises(OSError):
        column.extend(2, broken())
    longer = column.extend(2, ["c"])
    assert longer.compare(">", "a").tolist() == [False, True, True]
    assert column.is_in(["new", "c", "b"]).tolist() == [False, True]


def test_a_thread_can_read_a_column_while_another_extends_it(switch_often):
    column = longer = column_of(*map(str, range(1000)))

    def read():
        return int(column.compare(">=", "0").sum() + column.is_in(["7", "new 1"]).sum())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: {read() for _ in range(30)})
        while not reading.done():
            longer = longer.extend(len(longer), [f"new {len(longer)}"])
        assert reading.result() == {1001}
    assert longer.compare(">=", "new").sum() == len(longer) - 1000


def test_a_row_uses_12_bytes():
    n = 20_000
    numbers = [*range(n // 2), *map(float, ["nan"] * (n // 2))]
    tracemalloc.start()
    column = Column().extend(0, iter(numbers))
    taken, _ = tracemalloc.get_traced_memory()
    grown = column.extend(n, numbers)
    for number in range(100):
        grown = grown.extend(len(grown), [number])
    del column
    grown_taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 12.5 * n
    assert grown_taken < 12.5 * 1.125 * 2 * n
