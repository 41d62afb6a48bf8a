"""Times of queries with a filter: in the terminal and in the page, or nowhere if not measured."""

from dataclasses import replace

import pytest

from nestvec.report.filtered_times import filtered_times_table
from nestvec.report.page import write_report

TIMES = {"below 1 %": 0.25, "above 10 %": 1234.5}


@pytest.fixture
def timed(curves):
    """The curve, whose points have times of their own, except those of float16."""
    curve = curves["Matryoshka"]
    rows = [
        row if "float16" in str(row.point) else replace(row, filtered_p50_ms=TIMES)
        for row in curve.points
    ]
    return replace(curve, points=tuple(rows))


def test_the_largest_share_is_first_and_only_timed_points_are_listed(timed):
    header, *lines = filtered_times_table(timed, "ndcg@10")
    assert header.split() == [
        "p50",
        "of",
        "one",
        "query",
        "no",
        "filter",
        "above",
        "10",
        "%",
        "below",
        "1",
        "%",
    ]
    points = [line.split()[0] for line in lines]
    assert str(timed.full.point) in points
    expected = {row.point for row in timed.pareto_front("ndcg@10")} | {timed.full.point}
    assert {*points} == {str(point) for point in expected if "float16" not in str(point)}
    assert all(line.split()[1:] == ["0.50", "ms", "1,234", "ms", "0.25", "ms"] for line in lines)


def test_the_table_fits_a_terminal_and_absent_times_are_marked(timed):
    front = [row.point for row in timed.pareto_front("ndcg@10")]
    long = replace(timed[front[0]], filtered_p50_ms={"1 to 10 %": 3.0})
    rows = [long if row.point == long.point else row for row in timed.points]
    lines = filtered_times_table(replace(timed, points=tuple(rows)), "ndcg@10")
    assert "above 10 %   1 to 10 %   below 1 %" in lines[0]
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if line.startswith(str(long.point)))
    assert line.split()[1:] == ["0.50", "ms", "–", "3.0", "ms", "–"]


def test_without_filters_nothing_is_shown(curves, tmp_path):
    assert filtered_times_table(curves["Matryoshka"], "ndcg@10") == ()
    write_report(curves, tmp_path / "page.html")
    assert "Queries with a filter" not in (tmp_path / "page.html").read_text("utf-8")


def test_the_page_shows_the_times(timed, tmp_path):
    write_report({"main": timed}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8").replace("\u00a0", " ")
    assert "Queries with a filter" in page
    heads = [page.index(f">{share} match<") for share in ("above 10 %", "below 1 %")]
    assert heads == sorted(heads)
    assert "<td>0.50 ms</td><td>1,234 ms</td><td>0.25 ms</td>" in page
    assert "1 to 10 %" not in page
