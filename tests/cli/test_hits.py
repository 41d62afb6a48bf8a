"""Answers stand in columns, and what is cut keeps the part that says most."""

import pytest
from rich.cells import cell_len

from nestvec.cli.hits import hit_lines, shorten

HITS = [
    (0.712, "csv.DictReader", "lib/python3.11/csv.py:80"),
    (0.66, "pandas.io.parsers.readers.TextFileReader.read", f"{'deep/' * 12}readers.py:3015"),
    (-0.5, "a title of many words that goes on and on and never ends", "d-1"),
]


@pytest.mark.parametrize(
    ("text", "cells", "short"),
    [
        ("csv.reader", 10, "csv.reader"),
        ("pandas.io.parsers.readers.read", 14, "…readers.read"),
        ("pandas.averylongnameindeed", 10, "…ameindeed"),
        ("lib/site-packages/pandas/io.py:12", 18, "…/pandas/io.py:12"),
        ("lib/site-packages/averyverylong.py:12", 12, "…ylong.py:12"),
        ("read a file into a table", 15, "read a file…"),
        ("e.g. this / that, and so on", 12, "e.g. this…"),
        ("日本語のとても長い題名", 9, "日本語の…"),
    ],
)
def test_a_text_is_cut_where_it_has_a_joint(text, cells, short):
    assert shorten(text, cells) == short
    assert cell_len(short) <= cells


@pytest.mark.parametrize("width", [80, 74, 60, 40])
def test_lines_fit_and_columns_are_aligned(width):
    hits = [*HITS, (0.1, "日本語のとても長い題名" * 5, "d")]
    lines = list(hit_lines(hits, width=width))
    assert max(map(cell_len, lines)) <= max(width, 50)
    wheres = [cell_len(line[: -len(line.split()[-1])]) for line in lines]
    assert len(set(wheres)) == 1


def test_nothing_is_cut_where_there_is_room():
    (line,) = hit_lines(HITS[:1], width=80)
    assert line == "  0.71  csv.DictReader  lib/python3.11/csv.py:80"
