import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from nestvec.errors import InvalidArgument, MissingExtra, ModelMismatch
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan
from nestvec.report.page import write_report
from nestvec.report.verdict import how_it_works
from nestvec.types import OperatingPoint

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' {{ 7*7 }} &"


class Page(HTMLParser):
    """All tags with their attributes, and the visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.seen, self.path = [], "", path
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.seen = " ".join(self.seen.replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.seen += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def hostile(rich, confirmed, tmp_path_factory):
    main = rich["Matryoshka"]
    scores = replace(
        main.scores,
        query_texts=np.full(len(main.scores.query_texts), HOSTILE),
        doc_titles=np.full(len(main.scores.doc_titles), HOSTILE),
        slices={HOSTILE: np.full(len(main.scores.query_ids), HOSTILE)},
    )
    main = replace(
        main,
        model=replace(main.model, name=HOSTILE, query_prompt=HOSTILE),
        dataset={**main.dataset, "name": HOSTILE},
        machine={"processor": HOSTILE, "versions": {HOSTILE: HOSTILE}},
        counts={"cut_documents": 3, "zero_queries": 0},
        scores=scores,
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    plan = replace(confirmed, reasons=(HOSTILE,))
    write_report({HOSTILE: main, "twin": rich["no Matryoshka"]}, path, plan)
    return Page(path)


@pytest.fixture
def page(curves, tmp_path):
    def write(plan=None, curves=curves, **settings):
        path = tmp_path / "report.html"
        write_report(curves, path, plan, **settings)
        return Page(path)

    return write


def test_untrusted_texts_are_escaped(hostile):
    assert {tag for tag, _ in hostile.tags}.isdisjoint({"script", "img", "iframe", "link"})
    names = {name for _, attributes in hostile.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert hostile.seen.count(" ".join(HOSTILE.split())) >= 8


def test_page_loads_nothing_from_elsewhere(hostile):
    for _, attributes in hostile.tags:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert attributes.get(name, "#").startswith("#")
    assert "@import" not in hostile.source
    assert all(each.startswith("#") for each in re.findall(r"url\(([^)]*)", hostile.source))


def test_policy_forbids_scripts_and_network(hostile):
    policy = next(each for each in hostile.all("meta") if "http-equiv" in each)["content"]
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert "style-src 'unsafe-inline'" in policy and "img-src data:" in policy


def test_page_is_accessible(hostile):
    assert hostile.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in hostile.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    assert all(each["scope"] in ("col", "row") for each in hostile.all("th"))
    assert len(hostile.all("svg")) == len(hostile.all("figcaption")) == 3
    assert all(each["role"] == "img" and each["aria-label"] for each in hostile.all("svg"))
    scrolling = [each for each in hostile.all("div") if each.get("class") == "scroll"]
    assert all(each["tabindex"] == "0" for each in scrolling)
    assert all(each.get("aria-label") or each.get("aria-labelledby") for each in scrolling)
    ids = [attributes["id"] for _, attributes in hostile.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in hostile.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            assert {*attributes.get(name, "").split()} <= {*ids}


def test_confirmed_plan_is_the_headline_with_its_bound(page, confirmed):
    seen = page(confirmed).seen
    size = f"{confirmed.row.cost.ram_bytes_per_vector:g}"
    assert f"Use {confirmed.point}: {size} B instead of 2,048 B of memory" in seen
    assert re.search(r"retaining \d+\.\d % \(at least \d+\.\d %\) of nDCG@10\.", seen)
    assert all(" ".join(reason.split()) in seen for reason in confirmed.reasons)
    assert "More than 46,254 documents" in seen
    assert "fewer dims do not make encoding cheaper" in seen


def test_unconfirmed_plan_recommends_nothing_and_rounds_its_bound_down(page, unconfirmed):
    seen = page(unconfirmed).seen
    assert "Not confirmed:" in seen and "Use " + str(unconfirmed.point) not in seen
    assert "The lower bound is 96.4 % with 95 % confidence; the target is 98 %." in seen


def test_page_without_a_plan_recommends_nothing(page):
    seen = page().seen
    assert "none is chosen" in seen and "Why this point" not in seen


def test_baseline_that_beats_the_model_comes_first(page, curves, confirmed):
    better = curves["Matryoshka"].with_baseline("bm25", {"ndcg@10": 0.9})
    seen = page(confirmed, {"Matryoshka": better}).seen
    warning = seen.index("BM25 scores .900 nDCG@10, more than this model")
    assert warning < seen.index("Use ")
    assert "before you reduce memory" not in page(confirmed).seen


def test_other_curve_that_scores_more_in_no_more_memory_comes_first(page, curves, make_curve):
    weaker = make_curve(level=0.5)
    seen = page(curves={"weak": weaker, "other": curves["Matryoshka"]}).seen
    warning = seen.index("other at 512:int4 (256 B) scores")
    assert warning < seen.index("none is chosen")
    assert "before you reduce memory" not in page(curves={"a": weaker, "b": weaker}).seen


def test_other_curve_that_is_better_by_chance_alone_is_no_reason_to_warn(page, curves):
    main = curves["Matryoshka"]
    scores = main.scores.metrics["ndcg@10"].copy()
    scores[:, 0] += 0.001
    lucky = replace(
        main,
        scores=replace(main.scores, metrics={"ndcg@10": scores}),
        points=tuple(
            replace(row, metrics={"ndcg@10": float(of_row.mean())})
            for row, of_row in zip(main.points, scores, strict=True)
        ),
    )
    assert "before you reduce memory" not in page(curves={"main": main, "lucky": lucky}).seen


def test_curves_of_other_queries_or_documents_cannot_share_a_page(page, curves, make_curve):
    main = curves["Matryoshka"]
    larger = replace(main, dataset={**main.dataset, "n_documents": 50_000})
    with pytest.raises(
        InvalidArgument, match="b and a were measured on different queries or documents"
    ):
        page(curves={"a": main, "b": larger})


def test_first_screen_shows_sampled_queries_and_the_rule(page, rich, confirmed):
    shown = page(confirmed, rich)
    seen = shown.seen
    assert "Selected by a fixed rule: all 2,000 queries" in seen
    assert seen.index("5 queries before and after") < seen.index("Why this point")
    assert sum(each.get("class") == "changed" for each in shown.all("li")) > 0
    assert "− gone" in seen and "was 2" in seen and "✓ relevant" in seen


def test_full_page_has_times_sizes_slices_and_the_queries_that_lose_most(page, rich, confirmed):
    seen = page(confirmed, rich).seen
    assert "7.7 ms" in seen and "1,234/s" in seen
    assert "not measured beyond 46,254" in seen and "11,563 documents" not in seen[:2000]
    assert "Not evaluated: de." in seen
    assert "The 10 queries that lose most nDCG@10" in seen
    assert re.search(r"The top \d+ results contain as many relevant documents", seen)
    assert "(SVD, PCA, random dims)" in seen
    order = ["Search times", "Effect of the corpus size", "Slices", "Queries that lose most"]
    places = [seen.index(each) for each in order]
    assert places == sorted(places)


def test_evidence_is_below_the_headline(page, curves, confirmed):
    main = curves["Matryoshka"]
    made = replace(main, dataset={**main.dataset, "evidence": "made queries"})
    for curve, words in (
        (main, "Evidence: relevance labels"),
        (made, "Evidence: generated queries"),
    ):
        seen = page(confirmed, {"Matryoshka": curve}).seen
        assert seen.index("Use ") < seen.index(words) < seen.index("Not measured")


@pytest.mark.parametrize("reached", [True, False])
def test_agreement_is_never_called_confirmed_nor_quality(page, agreement, reached):
    share = 0.9 if reached else 0.9999
    chosen = plan(agreement, Budget(min_overlap=share))
    assert chosen.confirmed is reached
    shown = page(replace(chosen, reasons=()), {"only": agreement}, metric="overlap@10")
    seen = shown.seen
    assert "Evidence: agreement only" in seen
    assert "agreement with full precision (overlap@10)" in seen
    assert ("Not shown:" in seen) is not reached
    assert "onfirmed" not in shown.source and "retain" not in shown.seen.lower()
    assert "Quality: there are no relevance labels" in seen
    assert "✓" not in seen


def test_data_issues_are_listed_if_there_are_any(hostile, page):
    assert "3 documents truncated at the maximum length of the model" in hostile.seen
    assert "zero vectors" not in hostile.seen
    assert "Data issues" not in page().seen


def test_chosen_point_and_full_precision_are_in_the_table_once(page, confirmed):
    source = page(confirmed).source
    table = source[source.index('<table aria-labelledby="front"') :]
    table = table[: table.index("</table>")]
    assert table.count('class="chosen"') == 1
    assert table.count("</span> full precision</th>") == 1


def test_plan_of_another_model_is_rejected_and_the_old_page_remains(
    page, curves, confirmed, tmp_path
):
    (tmp_path / "report.html").write_text("old")
    other = replace(confirmed, model=replace(confirmed.model, fingerprint="0" * 64))
    with pytest.raises(ModelMismatch, match=r"0{12}.*f{12}"):
        page(other)
    with pytest.raises(InvalidArgument, match="was not measured"):
        page(replace(confirmed, point=OperatingPoint.parse("8:int4")))
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("missing", ["matplotlib", "jinja2"])
def test_missing_extra_is_named(page, monkeypatch, tmp_path, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"{missing} is not .*pip install 'nestvec\[report\]'"):
        page()
    assert list(tmp_path.iterdir()) == []


def test_no_curve_is_rejected(page):
    with pytest.raises(InvalidArgument, match="no curve"):
        page(curves={})


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("128:int4", "scans the first 128 dims at 4 bits each; nothing is read from disk."),
        (
            "64:binary@1000>256:int8@100>512:float16",
            "scans the first 64 dims at 1 bit each, shortlists the best 1,000, rescores them with "
            "the first 256 dims at 8 bits each, read from disk, shortlists the best 100, and "
            "rescores them with all 512 dims at 16 bits each, read from disk.",
        ),
    ],
)
def test_search_of_a_point_is_described(point, words):
    assert how_it_works(OperatingPoint.parse(point), 512) == f"Each search {words}"
