"""The fields of a filter are checked against those of the documents, for all engines."""

import time

import pytest

from nestvec.engines.filters.condition import Condition, Exists, In, Not
from nestvec.engines.filters.fields import FieldKinds, Kinds, check_fields
from nestvec.engines.filters.where import Where
from nestvec.errors import InvalidArgument

VALUES = {
    "year": [2020, 2021.5],
    "lang": ["de"],
    "flag": [True],
    "mixed": [1, "a"],
    "tags": [["a", "b"], []],
    "sizes": [[1, 2.5]],
    "any": [["a", 1, True], "a"],
    "empty": [[]],
    "odd name": [1],
}


def kinds_of(values):
    values_kinds = items = Kinds.NONE
    for value in values:
        one = FieldKinds.of(value)
        values_kinds, items = values_kinds | one.values, items | one.items
    return FieldKinds(values_kinds, items)


FOUND = {field: kinds_of(values) for field, values in VALUES.items()}


def check(condition):
    condition = condition if isinstance(condition, Condition) else Where.parse(condition)
    found = {field: FOUND.get(field, FieldKinds(Kinds.NONE)) for field in condition.fields}
    check_fields(condition, found, lambda: VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "year >= 2020 and lang = 'de'",
        "year = true",  # true equals 1
        "flag = 1 or flag < true",
        "mixed = 'a' or mixed > 3",
        "mixed in ('a', 1)",
        "tags has 'a' and not tags has 'z'",
        "lang has 'de'",
        "sizes has 1 or any has true or any has 'a'",
        "any = 'a'",
        "empty has 'a' and empty has 1",
        "empty exists or tags exists or year exists",
        "`odd name` = 1",
    ],
)
def test_comparisons_with_a_type_of_the_field_are_accepted(text):
    check(text)


NUMBERS = "Compare year with a number, such as 2020."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("year = '2020'", f"year contains numbers, and '2020' is a string. {NUMBERS}"),
        (
            "lang > 5",
            "lang contains strings, and 5 is a number. Compare lang with a string in quotes",
        ),
        ("lang = true", "lang contains strings, and true is a boolean."),
        (
            "flag = 'true'",
            "flag contains booleans, and 'true' is a string. Compare flag with true or",
        ),
        ("year in (2020, '2021')", f"year contains numbers, and '2021' is a string. {NUMBERS}"),
        ("year not in ('2021')", "year contains numbers, and '2021' is a string."),
        ("year has 'x'", "year contains numbers, and 'x' is a string."),
        ("tags = 'a'", "tags contains lists, and 'a' is a single value. To compare the items"),
        ("tags != 'a'", "of a list, write tags has 'a'."),
        ("any = 1", "any contains lists, and 1 is a single value."),
        ("tags has 1", "tags contains strings, and 1 is a number."),
        ("sizes has 'a'", "sizes contains numbers, and 'a' is a string."),
        ("empty = 1", "empty contains lists, and 1 is a single value."),
        ("lang = 'de' and not (year = 'x' or lang = 'en')", "year contains numbers, and 'x'"),
        ("`odd name` = 'x'", "`odd name` contains numbers"),
        ("nowhere = 1", "no document has the field nowhere. The fields are: any, empty, flag,"),
        ("lang = 'de' or not `no where` exists", "no document has the field `no where`. The"),
    ],
)
def test_a_comparison_that_no_document_can_match_is_refused_in_one_line(text, message):
    with pytest.raises(InvalidArgument) as caught:
        check(text)
    assert str(caught.value).startswith("filter: ")
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


def test_long_names_and_values_are_shortened():
    with pytest.raises(InvalidArgument) as caught:
        check("year = '" + "x\n" * 4_000 + "'")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_a_list_of_a_million_values_is_checked_quickly():
    start = time.perf_counter()
    check(In("year", tuple(range(1_000_000))))
    assert time.perf_counter() - start < 2
    with pytest.raises(InvalidArgument, match="and 'x' is a string"):
        check(In("year", (*range(1_000), "x", "y")))


def test_an_unknown_node_is_an_error():
    class Never(Condition):
        fields = frozenset()

        def __str__(self):
            return "never"

    with pytest.raises(TypeError, match="Never is not a known condition"):
        check_fields(Not(Never()), {}, list)
    check(Exists("year"))
