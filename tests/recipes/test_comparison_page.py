"""The page of a comparison: complete, self-contained, and safe with untrusted texts."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nestvec.operate.comparison_report import (
    ComparedLists,
    ComparedResult,
    ComparedSide,
    ComparisonReport,
    MissingDocuments,
    OverlapSummary,
    QueryComparison,
    RelevanceComparison,
)
from nestvec.recipes.comparison_page import write_comparison_page

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' {{ 7*7 }} &"
LATENCY = {"p50_ms": 1.5, "p95_ms": 2.5, "p99_ms": 12.5}


class Tags(HTMLParser):
    """All tags with their attributes, and the visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.seen = [], ""
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.seen = " ".join(self.seen.replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.seen += data


def side(place, **values):
    return ComparedSide(place, "", "512:int8", "model", 1000, 512, "cosine", LATENCY, **values)


def result(id_, rank, other_rank, *, title="", missing=False, relevant=False):
    return ComparedResult(id_, title, rank, other_rank, missing, relevant)


def query(id_="q1", text="a query", **values):
    numbers = {
        "overlap": 0.5,
        "rbo": 0.4,
        "entered": 1,
        "left": 1,
        "moved": 1,
        "largest_move": 1,
        "only_old": 1,
        "only_new": 0,
        "old_ms": 1.0,
        "new_ms": 2.0,
        "old_score": 1.0,
        "new_score": 0.25,
    }
    return QueryComparison(id_, text, values.pop("filter", ""), **numbers | values)


def report(**values):
    lists = ComparedLists(
        query(),
        (
            result("gone", 1, None, title="Gone title"),
            result("absent", 2, None, missing=True),
            result("moved", 3, 1, relevant=True),
        ),
        (result("moved", 1, 3, relevant=True), result("fresh", 2, None)),
    )
    made = ComparisonReport(
        old=side("old-place", ram_bytes=512.0, disk_bytes=1580.0),
        new=side("new-place", unknown_bytes="the place is not an index of nestvec"),
        k=10,
        source="log",
        counts={"queries_not_sampled": 7},
        overlap=OverlapSummary(
            4, 0.875, 0.6, 0.5, 1, 0.9, 0.25, 0.5, {"p50": 0.9}, (0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2)
        ),
        only_old=MissingDocuments(12, ("absent",), 3, 2),
        only_new=MissingDocuments(0, (), 0, 0),
        queries=(query(), query("q2", new_score=1.0), query("q3", old_score=0.0)),
        worst=(lists,),
        losses=(lists,),
        relevance=RelevanceComparison("ndcg@10", 3, 0.5, 0.4, 0.8, 0.7, 1, 2, 0, -0.2, -0.01),
        min_overlap=0.95,
        compared_at="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **values)


@pytest.fixture
def page(tmp_path):
    def write(made):
        write_comparison_page(made, tmp_path / "page.html")
        return Tags(tmp_path / "page.html")

    return write


def test_the_page_shows_the_verdict_and_the_numbers_of_both_sides(page):
    seen = page(report()).seen
    assert "NEW retains 80.0 % of the nDCG@10 of OLD" in seen
    assert "NEW is significantly worse" in seen
    assert "Failed: overlap@10 is 0.875, below 0.95." in seen
    assert seen.count("12.5 ms") == 2
    assert "512 B" in seen and "1,580 B" in seen
    assert "Memory and disk of NEW: unknown, the place is not an index" in seen
    assert "NEW does not contain 12 of the documents of OLD, such as absent" in seen
    assert "3 results of OLD in 2 queries" in seen
    assert "OLD does not contain" not in seen
    assert "overlap at least 0.95: failed" in seen


def test_the_lists_mark_what_left_entered_moved_and_is_missing(page):
    seen = page(report()).seen
    assert "Gone title − gone" in seen
    assert "absent missing" in seen
    assert "moved ✓ relevant now 1" in seen
    assert "moved ✓ relevant was 3" in seen
    assert "fresh + new" in seen
    assert "nDCG@10 1.000 → .250" in seen


def test_without_labels_a_change_is_not_called_worse(page):
    seen = page(report(relevance=None, losses=(), min_overlap=None)).seen
    assert "NEW returns 87.5 % of the top 10 results of OLD" in seen
    assert "A changed result is not necessarily a worse result" in seen
    assert "Relevance" not in seen and "Failed" not in seen


def test_results_that_cannot_be_compared_have_no_chart(page):
    found = page(report(overlap=None, worst=(), relevance=None, losses=()))
    assert "no results that can be compared" in found.seen
    assert "svg" not in {tag for tag, _ in found.tags}


def test_untrusted_texts_are_escaped_and_nothing_is_loaded(page):
    lists = ComparedLists(
        query(text=HOSTILE, filter=HOSTILE),
        (result(HOSTILE, 1, None, title=HOSTILE),),
        (result(HOSTILE, 1, None),),
    )
    hostile = side(HOSTILE, unknown_bytes=HOSTILE)
    found = page(
        report(
            old=replace(hostile, search=HOSTILE, model=HOSTILE),
            new=hostile,
            only_old=MissingDocuments(1, (HOSTILE,), 1, 1),
            worst=(lists,),
            machine={"processor": HOSTILE, "versions": {HOSTILE: HOSTILE}},
        )
    )
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "img", "iframe", "link"})
    names = {name for _, attributes in found.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert found.seen.count(" ".join(HOSTILE.split())) >= 9
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", found.source)


def test_the_marks_are_explained_once_before_the_first_list(page):
    for made in (report(), report(losses=()), report(losses=(), relevance=None)):
        seen = page(made).seen
        assert seen.count("marks a document that the other place does not contain") == 1
        assert seen.index("marks a document") < seen.index("Gone title")
