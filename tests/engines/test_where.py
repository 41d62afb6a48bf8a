"""The parser of filters: valid texts, and errors of one line for all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestvec.engines.filters.condition import And, Comparison, Exists, Has, In, Not, Or
from nestvec.engines.filters.where import MAX_DEPTH, MAX_LENGTH, Where
from nestvec.errors import InvalidArgument

INJECTION = "'; drop table documents; --"


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("year=2020", Comparison("year", "=", 2020)),
        ("\n year \t!=\u00a02020 ", Comparison("year", "!=", 2020)),
        ("year<-5", Comparison("year", "<", -5)),
        ("year<=1e5", Comparison("year", "<=", 100_000.0)),
        ("year>1.5E-3", Comparison("year", ">", 0.0015)),
        ("year>=007", Comparison("year", ">=", 7)),
        ("n = 9007199254740993", Comparison("n", "=", 2**53 + 1)),
        ("a-b.c_1 = 1", Comparison("a-b.c_1", "=", 1)),
        ("_id = 1", Comparison("_id", "=", 1)),
        ("größe = 1", Comparison("größe", "=", 1)),
        ("年 = 1", Comparison("年", "=", 1)),
        ("नाम = 1", Comparison("नाम", "=", 1)),
        ("Android = 1", Comparison("Android", "=", 1)),
        ("not-in = 1", Comparison("not-in", "=", 1)),
        ("`and` = 1", Comparison("and", "=", 1)),
        ("`a``b\\`c` = 1", Comparison("a`b`c", "=", 1)),
        ("`` = ''", Comparison("", "=", "")),
        ("a = TRUE or a = False", Or((Comparison("a", "=", 1), Comparison("a", "=", 0)))),
        ("a = 'it''s'", Comparison("a", "=", "it's")),
        (r"a = 'it\'s'", Comparison("a", "=", "it's")),
        ('a = "it\'s ""so"""', Comparison("a", "=", 'it\'s "so"')),
        (r"a = 'C:\\new'", Comparison("a", "=", r"C:\new")),
        ("a = ''''", Comparison("a", "=", "'")),
        ("a = 'and or not'", Comparison("a", "=", "and or not")),
        ("a='1'and b='2'", And((Comparison("a", "=", "1"), Comparison("b", "=", "2")))),
        ("a IN(1,'x' , -2.5)", In("a", (1, "x", -2.5))),
        ("a Not In ('x')", In("a", ("x",), negated=True)),
        ("not a in (1)", Not(In("a", (1,)))),
        ("a EXISTS", Exists("a")),
        ("tags has 'x'", Has("tags", "x")),
        ("tags HAS 2", Has("tags", 2)),
        ("`has` has true", Has("has", True)),
        ("hash = 1", Comparison("hash", "=", 1)),
        ("(((a exists)))", Exists("a")),
        ("not(a exists)", Not(Exists("a"))),
    ],
)
def test_valid_filters_are_parsed(text, tree):
    assert Where.parse(text) == tree


def test_and_binds_closer_than_or_and_not_closest():
    a, b, c = Exists("a"), Exists("b"), Exists("c")
    assert Where.parse("a exists or b exists and c exists") == Or((a, And((b, c))))
    assert Where.parse("not a exists and b exists") == And((Not(a), b))
    assert Where.parse("a exists and b exists and c exists") == And((a, b, c))
    assert Where.parse("(a exists and b exists) and c exists") == And((And((a, b)), c))


def test_true_and_false_are_parsed_as_booleans():
    assert Where.parse("a = true").value is True
    assert Where.parse("a = 1").value is not True


@given(st.text(max_size=30))
def test_any_text_is_a_value_and_a_field_within_quotes(text):
    assert Where.parse(f"a = {quoted(text)}") == Comparison("a", "=", text)
    backquoted = "`" + text.replace("\\", "\\\\").replace("`", "``") + "`"
    assert Where.parse(f"{backquoted} exists") == Exists(text)


@pytest.mark.parametrize(
    "text", [INJECTION, "\0", "a\0b", "\ud800", "👩‍🚀", "\u202e", "a\nb", "%s{0}"]
)
def test_unusual_texts_are_plain_values(text):
    assert Where.parse(f"a = {quoted(text)}") == Comparison("a", "=", text)


@pytest.mark.parametrize(
    ("text", "column", "found", "expected"),
    [
        ("", 1, "the end", "a field"),
        ("   ", 4, "the end", "a field"),
        ("year", 5, "the end", "=, !=,"),
        ("year == 2020", 7, "'='", "a number or a string in quotes"),
        ("year is 2020", 6, "'is'", "exists, such as year"),
        ("year =", 7, "the end", "a number or a string in quotes"),
        ("lang = de", 8, "'de'", "'de'"),
        ("lang = `de`", 8, "'`de`'", "a string in quotes"),
        ("'lang' = 'de'", 1, "\"'lang'\"", "a field"),
        ("2020 = year", 1, "'2020'", "a field"),
        ("and = 1", 1, "'and'", "a field"),
        ("a = 1 b = 2", 7, "'b'", "and, or, or the end"),
        ("a = 1)", 6, "')'", "and, or, or the end"),
        ("a = 1; b", 6, "';'", "such as year"),
        ("(a = 1", 7, "the end", ") for the ( at column 1"),
        ("()", 2, "')'", "a field"),
        ("a = 1 and", 10, "the end", "a field"),
        ("not", 4, "the end", "a field"),
        ("a in 1", 6, "'1'", "a list in parentheses"),
        ("a in ()", 7, "')'", "a number or a string"),
        ("a in (1, )", 10, "')'", "a number or a string"),
        ("a in (1 2)", 9, "'2'", ", or )"),
        ("a has", 6, "the end", "a number or a string"),
        ("a has ('x')", 7, "'('", "a number or a string"),
        ("a not has 'x'", 7, "'has'", "in, such as"),
        ("has = 1", 1, "'has'", "a field"),
        ("a not exists", 7, "'exists'", "in, such as"),
        ("a = 'it", 5, "the unfinished", "a closing '"),
        ("a = 'it''", 5, "the unfinished", "a closing '"),
        ("`a = 1", 1, "the unfinished", "a closing `"),
        (r"a = 'C:\new'", 8, r"'\\n'", r"\\ for a backslash"),
        ("a = 'x\\", 7, r"'\\'", r"\\ for a backslash"),
        ("day = 2020-01-01", 7, "'2020-'", "a string such as '7a'"),
        ("7a = 1", 1, "'7a'", "a field such as `7a`"),
        ("a = 1or b = 2", 5, "'1o'", "a number such as"),
        ("a = 1e999", 5, "'1e999'", "a number within ±1.798e+308"),
        ("a = nan", 5, "'nan'", "a number or a string"),
        ("a = .5", 5, "'.'", "such as"),
        ("a = +5", 5, "'+'", "such as"),
        ("a ≥ 5", 3, "'≥'", "such as"),
        ("a\0 = 1", 2, r"'\x00'", "such as"),
        ("\ud800 = 1", 1, r"'\ud800'", "such as"),
        ("\u202ea = 1", 1, r"'\u202e'", "such as"),
        ("😀 = 1", 1, "'😀'", "`odd name`"),
        ("a = ١", 5, "'١'", "such as"),
    ],
)
def test_a_syntax_error_names_its_column(text, column, found, expected):
    with pytest.raises(InvalidArgument) as caught:
        Where.parse(text)
    message = str(caught.value)
    assert message.startswith(f"filter, column {column}: found {found}")
    assert expected in message.partition("expected")[2]
    assert "such as" in message
    assert message.isprintable()
    message.encode()


@given(st.text(st.sampled_from("ab1'\"`\\()=<>!,.-\0\n \ud800") | st.characters(), max_size=40))
def test_any_text_is_parsed_or_refused_in_one_short_line(text):
    try:
        Where.parse(text)
    except InvalidArgument as error:
        assert str(error).isprintable()
        assert len(str(error)) < 250


WORDS = ["a", "`b`", "1", "'x'", "in", "has", "not", "and", "or", "exists", "=", "<", "(", ")", ","]


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join))
def test_any_words_are_parsed_or_refused(text):
    try:
        tree = Where.parse(text)
    except InvalidArgument:
        return
    assert Where.parse(str(tree)) == tree


@pytest.mark.parametrize(
    "text",
    [
        "a = 1 or " * 1_200_000 + "a = 1",
        "(" * 10_001,
        "a = " + quoted("x" * 10_000_000),
    ],
)
def test_a_text_that_is_too_long_is_refused(text):
    with pytest.raises(InvalidArgument, match=r"more than 10,000\. .* In\(field, values\)"):
        Where.parse(text)


def test_the_longest_text_is_parsed():
    value = "x" * (MAX_LENGTH - len("a = ''"))
    assert Where.parse(f"a = '{value}'") == Comparison("a", "=", value)
    with pytest.raises(InvalidArgument, match=r"has 10,001 characters, more than"):
        Where.parse(f"a = '{value}x'")


@pytest.mark.parametrize("opening", ["(", "not ", "(not ", "not("])
def test_deep_nesting_is_refused(opening):
    with pytest.raises(InvalidArgument, match=r"50 levels of nesting at column \d+\. Remove"):
        Where.parse(opening * 2000)


def test_the_deepest_nesting_is_parsed():
    tree = Where.parse("(" * MAX_DEPTH + "a = 1" + ")" * MAX_DEPTH)
    assert tree == Comparison("a", "=", 1)
    nots = Where.parse("not " * MAX_DEPTH + "a = 1")
    assert Where.parse(str(nots)) == nots
    with pytest.raises(InvalidArgument, match="more than 50 levels of nesting at column 201"):
        Where.parse("not " * (MAX_DEPTH + 1) + "a = 1")


def test_adjacent_parentheses_are_not_nested():
    assert len(Where.parse(" or ".join(["(a = 1)"] * 500)).parts) == 500


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_beyond_floats_is_refused(digits):
    with pytest.raises(InvalidArgument, match=r"column 5: found '9+…', expected a number within"):
        Where.parse("a = " + "9" * digits)
