"""Two searches on the same queries: points of one index, missing documents, labels."""

import json

import numpy as np
import pytest

from fakes import NestedHashEncoder, fake_info, made_set
from nestvec.errors import InvalidArgument
from nestvec.index.building import build_index
from nestvec.index.index import Index
from nestvec.operate.compared_sides import SearchedPlace
from nestvec.operate.comparing import CompareOptions, compare_searches
from nestvec.operate.comparison_report import ComparisonReport, RelevanceComparison
from nestvec.operate.live.postgresql import TableSearch
from nestvec.operate.relevance_check import Labels
from nestvec.sources.logged_queries import LoggedQueries
from nestvec.types import Document, OperatingPoint

FULL, CHEAP = "64:float32", "16:sign"
DATA = made_set(300, 40)


@pytest.fixture(scope="module")
def encoder():
    return NestedHashEncoder()


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("compared") / "index"
    build_index(encoder, DATA.corpus, FULL, path).close()
    return path


@pytest.fixture(scope="module")
def without_a_tenth(encoder, tmp_path_factory):
    """An index of 270 of the 300 documents."""
    path = tmp_path_factory.mktemp("compared") / "index"
    kept = {id_: document for id_, document in DATA.corpus.items() if not id_.endswith("7")}
    build_index(encoder, kept, FULL, path).close()
    return path


def at(place, encoder=None, point=None):
    point = None if point is None else OperatingPoint.parse(point)
    return SearchedPlace(place, TableSearch(point=point), encoder)


def log(filters=None):
    texts = list(DATA.queries.values())
    return LoggedQueries("log", list(DATA.queries), texts, None, filters or [""] * len(texts))


def searched(place, encoder, point, k=10):
    with Index.open(place, encoder) as index:
        return index.search(list(DATA.queries.values()), k, point=point).ids


def test_two_points_of_one_index_differ_as_their_searches_do(folder, encoder):
    report = compare_searches(at(folder, encoder), at(folder, encoder, CHEAP), log())
    old, new = (searched(folder, encoder, point) for point in (FULL, CHEAP))
    overlaps = [len({*a} & {*b}) / 10 for a, b in zip(old, new, strict=True)]
    assert 0 < np.mean(overlaps) < 1
    assert [row.overlap for row in report.queries] == pytest.approx(overlaps)
    assert report.overlap.mean == pytest.approx(np.mean(overlaps))
    assert report.overlap.worst == pytest.approx(min(overlaps))
    assert report.overlap.at_least < report.overlap.mean
    counts = [sum(round(10 * each) == number for each in overlaps) for number in range(11)]
    assert list(report.overlap.histogram) == counts
    assert report.overlap.identical == np.mean([a == b for a, b in zip(old, new, strict=True)])
    assert (report.old.point, report.new.point) == (FULL, CHEAP)
    assert (report.old.ram_bytes, report.new.ram_bytes) == (256, 2)
    assert report.old.disk_bytes > 256
    assert report.new.disk_bytes is None and "another operating point" in report.new.unknown_bytes
    assert report.only_old.documents == report.only_new.documents == 0


def test_the_worst_queries_come_with_their_texts_and_both_lists(folder, encoder):
    report = compare_searches(at(folder, encoder), at(folder, encoder, CHEAP), log())
    lowest = min(row.overlap for row in report.queries)
    first = report.worst[0]
    assert first.query.overlap == lowest
    assert first.query.text == DATA.queries[first.query.id]
    line = list(DATA.queries).index(first.query.id)
    old, new = (searched(folder, encoder, point)[line] for point in (FULL, CHEAP))
    assert [each.id for each in first.old] == old
    assert [each.title for each in first.new] == [DATA.corpus[id_].text for id_ in new]
    assert [each.other_rank for each in first.old] == [
        new.index(id_) + 1 if id_ in new else None for id_ in old
    ]
    assert len(report.worst) == 5


def test_missing_documents_are_reported_apart(folder, without_a_tenth, encoder):
    report = compare_searches(at(folder, encoder), at(without_a_tenth, encoder), log())
    old = searched(folder, encoder, FULL)
    missing = [sum(id_.endswith("7") for id_ in ids) for ids in old]
    assert sum(missing) > 0
    assert report.overlap.mean == report.overlap.identical == 1
    assert report.worst == ()
    assert report.only_old.documents == 30
    assert report.only_old.results == sum(missing)
    assert report.only_old.queries == sum(count > 0 for count in missing)
    assert all(id_.endswith("7") for id_ in report.only_old.examples)
    assert [row.only_old for row in report.queries] == missing
    assert (report.only_new.documents, report.only_new.results) == (0, 0)
    back = compare_searches(at(without_a_tenth, encoder), at(folder, encoder), log())
    assert back.only_new == report.only_old
    assert back.overlap.mean == 1


def test_filters_of_the_log_apply_to_both_sides(encoder, tmp_path):
    corpus = {
        id_: Document(document.text, metadata={"even": int(id_[1:]) % 2 == 0})
        for id_, document in DATA.corpus.items()
    }
    build_index(encoder, corpus, FULL, tmp_path / "index").close()
    place = tmp_path / "index"
    report = compare_searches(
        at(place, encoder), at(place, encoder, CHEAP), log(["even = true"] * 40)
    )
    assert report.worst
    shown = {each.id for lists in report.worst for side in (lists.old, lists.new) for each in side}
    assert all(int(id_[1:]) % 2 == 0 for id_ in shown)
    assert report.queries[0].filter == "even = true"


def labels_of(found, metric="recall@10", rank=0):
    """Label one result of each query as the only relevant document."""
    qrels = {id_: {ids[rank]: 1} for id_, ids in zip(DATA.queries, found, strict=True)}
    return Labels(qrels, metric)


def test_labels_count_wins_losses_and_ties(folder, encoder):
    old, new = (searched(folder, encoder, point) for point in (FULL, CHEAP))
    labels = labels_of(old, rank=9)
    report = compare_searches(
        at(folder, encoder),
        at(folder, encoder, CHEAP),
        log(),
        CompareOptions(labels=labels, min_retention=0.99),
    )
    found = [ids[9] in after for ids, after in zip(old, new, strict=True)]
    relevance = report.relevance
    assert (relevance.old, relevance.new) == (1, pytest.approx(np.mean(found)))
    assert (relevance.wins, relevance.losses, relevance.ties) == (0, 40 - sum(found), sum(found))
    assert relevance.verdict == "significantly worse"
    assert relevance.at_least < np.mean(found) - 1 < relevance.at_most < 0
    assert not report.passed and "retention of recall@10" in report.failures[0]
    assert {lists.query.gain for lists in report.losses} == {-1}
    assert report.wins == ()
    relevant = [each for each in report.losses[0].old if each.relevant]
    assert [each.rank for each in relevant] == [10]


def test_a_better_search_is_recognized(folder, encoder):
    old, new = (searched(folder, encoder, point) for point in (CHEAP, FULL))
    qrels = {
        id_: {next((each for each in after if each not in before), after[0]): 1}
        for id_, before, after in zip(DATA.queries, old, new, strict=True)
    }
    old_ids = {id_: before[0] for id_, before in zip(DATA.queries, old, strict=True)}
    qrels["q0"] = {old_ids["q0"]: 1}  # OLD must find something, or retention is undefined
    report = compare_searches(
        at(folder, encoder, CHEAP),
        at(folder, encoder),
        log(),
        CompareOptions(labels=Labels(qrels, "recall@10")),
    )
    assert report.relevance.verdict == "significantly better"
    assert report.relevance.wins > 30


def test_a_report_survives_json(folder, without_a_tenth, encoder):
    options = CompareOptions(
        labels=labels_of(searched(folder, encoder, FULL)), min_overlap=0.5, min_retention=0.5
    )
    report = compare_searches(
        at(folder, encoder), at(without_a_tenth, encoder, CHEAP), log(), options
    )
    assert report.worst and report.losses
    assert ComparisonReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_documents_of_old_serve_as_queries_and_do_not_find_themselves(folder, encoder):
    options = CompareOptions(sampled=30, k=5)
    report = compare_searches(at(folder), at(folder, point=CHEAP), None, options)
    assert report.source == "sampled documents"
    assert len(report.queries) == 30
    for lists in report.worst:
        shown = [each.id for each in (*lists.old, *lists.new)]
        assert lists.query.id not in shown
        assert len(lists.old) == len(lists.new) == 5
        assert lists.query.text == DATA.corpus[lists.query.id].text


def test_both_sides_are_measured_as_often(folder, encoder):
    report = compare_searches(at(folder, encoder), at(folder, encoder, CHEAP), log())
    assert len({row.old_ms for row in report.queries}) > 20
    for side, name in ((report.old, "old_ms"), (report.new, "new_ms")):
        times = [getattr(row, name) for row in report.queries]
        assert side.latency_ms["p95_ms"] == pytest.approx(np.percentile(times, 95))
        assert 0 < side.latency_ms["p50_ms"] <= side.latency_ms["p99_ms"]


def test_two_models_are_compared_by_texts_only(folder, encoder, tmp_path):
    other = NestedHashEncoder(fake_info(name="other", fingerprint="e" * 64, full_dim=64))
    build_index(other, DATA.corpus, FULL, tmp_path / "other").close()
    report = compare_searches(at(folder, encoder), at(tmp_path / "other", other), log())
    assert report.overlap.mean == 1  # the stand-in encodes by words only
    with pytest.raises(InvalidArgument, match=r"vectors of fake/nested .* Pass a log of texts"):
        compare_searches(at(folder), at(tmp_path / "other"))


def test_sampled_documents_need_one_width(folder, tmp_path):
    narrow = NestedHashEncoder(fake_info(full_dim=32, dims=(32, 16), fingerprint="d" * 64))
    build_index(narrow, DATA.corpus, "32:float32", tmp_path / "narrow").close()
    with pytest.raises(InvalidArgument, match="OLD has 64 dims and NEW has 32"):
        compare_searches(at(folder), at(tmp_path / "narrow"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, "k=0 is below 1"),
        ({"sampled": 0}, "sampled=0 is below 1"),
        ({"min_overlap": 1.5}, "min_overlap=1.5"),
        ({"min_retention": 0.9}, "needs relevance labels"),
        ({"labels": Labels({}, "ndcg@10"), "k": 5}, "needs 10 results, and k is 5"),
    ],
)
def test_wrong_options_are_refused(values, message):
    with pytest.raises(InvalidArgument, match=message):
        CompareOptions(**values)


def test_the_same_search_twice_and_labels_without_a_log_are_refused(folder, encoder):
    with pytest.raises(InvalidArgument, match="OLD and NEW are the same search"):
        compare_searches(at(folder, encoder), at(folder, encoder), log())
    labels = Labels({"q0": {"d0": 1}}, "recall@10")
    with pytest.raises(InvalidArgument, match="labels need a log"):
        options = CompareOptions(labels=labels, sampled=5)
        compare_searches(at(folder), at(folder, point=CHEAP), None, options)


def test_a_failed_limit_names_both_numbers(folder, encoder):
    options = CompareOptions(min_overlap=0.99)
    report = compare_searches(at(folder, encoder), at(folder, encoder, CHEAP), log(), options)
    assert not report.passed
    assert report.failures == (f"overlap@10 is {report.overlap.mean:.3f}, below 0.99",)


@pytest.mark.parametrize(
    ("at_least", "at_most", "verdict"),
    [
        (0.01, 0.2, "significantly better"),
        (-0.2, -0.01, "significantly worse"),
        (-0.1, 0.1, "no significant difference"),
        (0.0, 0.1, "no significant difference"),
        (-0.1, 0.0, "no significant difference"),
    ],
)
def test_a_difference_is_significant_if_both_bounds_are_on_one_side(at_least, at_most, verdict):
    found = RelevanceComparison("ndcg@10", 9, 0.5, 0.5, 1.0, 0.9, 1, 1, 7, at_least, at_most)
    assert found.verdict == verdict
