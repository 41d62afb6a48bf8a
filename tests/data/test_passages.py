"""Passages hold all of a text and no more, keep their limits, and end at the joints of the text."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestvec.data.passages import find_headings, split_passages
from nestvec.errors import InvalidArgument

PIECES = [
    "word",
    "End.",
    "漢",
    "字。",
    "\n",
    "\n\n",
    " ",
    "# Heading\n",
    "1.",
    "x" * 250,
    "\u2028",
    "…”",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=120).map(" ".join) | st.text(max_size=300)


def bare(text):
    return "".join(text.split())


def cut(text, **limits):
    return [passage.text for passage in split_passages(text, **limits)]


def numbered(n):
    return " ".join(f"w{number}" for number in range(n))


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, limit=st.integers(1, 40))
def test_passages_joined_are_the_text(text, limit):
    passages = split_passages(text, words=limit)
    assert bare("".join(passage.text for passage in passages)) == bare(text)
    place = 0
    for passage in passages:  # pieces of the text itself, in order
        start = text.index(passage.text, place)
        assert not text[place:start].strip()
        assert passage.line == text.count("\n", 0, start) + 1
        place = start + len(passage.text)


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    limit=st.integers(1, 40),
    overlap=st.integers(0, 19),
)
def test_limits_hold_whatever_the_paragraphs(lengths, limit, overlap):
    text = "\n\n".join(numbered(length) + "." for length in lengths)
    overlap = min(overlap, max(1, limit // 2) - 1)
    sizes = [len(each.split()) for each in cut(text, words=limit, overlap_words=overlap)]
    assert max(sizes) <= limit
    assert len(sizes) == 1 or min(sizes) >= limit // 4
    assert min(sizes[:-1], default=limit) >= limit // 2


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 300), limit=st.integers(4, 60), overlap=st.integers(0, 29))
def test_an_overlap_repeats_the_end_of_the_passage_before(n, limit, overlap):
    overlap = min(overlap, limit // 2 - 1)
    passages = [each.split() for each in cut(numbered(n), words=limit, overlap_words=overlap)]
    joined = passages[0]
    for before, after in pairwise(passages):
        assert before[len(before) - overlap :] == after[:overlap]
        joined = joined + after[overlap:]
    assert " ".join(joined) == numbered(n)


def test_a_text_within_the_limit_is_one_passage_and_an_empty_one_none():
    assert split_passages(" \n\n one two\nthree \n", words=3) == [("one two\nthree", 3)]
    assert split_passages("\n \t\n") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A paragraph's end before a later sentence's, that before a line's, that before a word's.
        ("a b c d\n\ne ff. g h i j k", ["a b c d", "e ff. g h i j k"]),
        ("a b c dd. e\nf g h i j k", ["a b c dd.", "e\nf g h i j k"]),
        ("a b c d\ne f g h i j k", ["a b c d", "e f g h i j k"]),
        ("a b c d e f g h i j k", ["a b c d e f g h", "i j k"]),
        # Of equal ones the last that fits.
        ("a b c dd. e ff. g h i j k.", ["a b c dd. e ff.", "g h i j k."]),
        # Too early: the passage would be less than half.
        ("a b.\n\nc d e f g h i j k", ["a b.\n\nc d e f g h", "i j k"]),
        # Closing marks belong to the sentence; numbers of items and initials end none.
        ('a b c d "e!" f g h i j k', ['a b c d "e!"', "f g h i j k"]),
        ("a b c d\n1. e f g h i j k", ["a b c d", "1. e f g h i j k"]),
        ("a b c dd. e J. f g h i j", ["a b c dd.", "e J. f g h i j"]),
        # A heading begins a passage, with or without a blank line, and never ends one.
        ("a b c d e\n# F\n\ng h i j k", ["a b c d e", "# F\n\ng h i j k"]),
        ("a b c d e\n\nF\n---\ng h i j k", ["a b c d e", "F\n---\ng h i j k"]),
        ("a b c dd. e\n\n# F\n\n# G\n\nh i j k", ["a b c dd. e", "# F\n\n# G\n\nh i j k"]),
    ],
)
def test_cuts_fall_at_the_best_joint(text, expected):
    assert cut(text, words=8) == expected


def test_scripts_without_spaces_are_split_after_their_sentences():
    assert cut("これは文です。次の文です。", words=8) == ["これは文です。", "次の文です。"]
    assert [len(part) for part in cut("ก" * 450, words=2)] == [200, 200, 50]


def test_an_overlap_begins_with_a_sentence_where_there_is_one():
    text = "a b c dd. e ff. g h i j k."
    assert cut(text, words=8, overlap_words=3) == ["a b c dd. e ff.", "e ff. g h i j k."]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"words": 0}, r"passage_words=0 is below 1"),
        ({"overlap_words": -1}, r"overlap_words=-1 is outside \[0, 100\)"),
        (
            {"words": 10, "overlap_words": 5},
            r"overlap_words=5 is outside \[0, 5\)",
        ),
    ],
)
def test_impossible_limits_raise(limits, message):
    with pytest.raises(InvalidArgument, match=message):
        split_passages("x", **limits)


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("# One\ntext\n## Two ##\n#Three\n", ["One", "Two"]),
        ("# C#\n", ["C#"]),
        ("One\n===\n\nTwo words\n---\n", ["One", "Two words"]),
        ("*****\nTitle\n*****\n\n:mod:`x` y\n==========\n", ["Title", ":mod:`x` y"]),
        ("a long line\n****\n", []),  # parts it from what follows
        ("the end of\na paragraph\n-----------\n", []),
        ("```\n# no\n```\n# yes\n~~~\n# no\n", ["yes"]),
        ("---\ntitle: no\nlayout: no\n---\n# yes\n", ["yes"]),
        ("text\n\n---\n\ntext\n", []),
        ("# " + "x" * 300, []),
        ("   # indented\n", ["indented"]),
        ("    # code\n", []),
    ],
)
def test_headings_are_found_where_they_are(text, titles):
    assert [heading.title for heading in find_headings(text)] == titles


def test_a_heading_spans_its_marks():
    text = "x\n\n====\n One\n====\n\ny\n  ## Two  \nz"
    spans = [text[heading.start : heading.end] for heading in find_headings(text)]
    assert spans == ["====\n One\n====", "## Two"]
