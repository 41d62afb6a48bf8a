from dataclasses import replace

import numpy as np
import pytest

from nestvec.report.queries import has_examples, largest_losses, sample_queries
from nestvec.types import OperatingPoint

POINT = OperatingPoint.parse("32:binary@200>512:int8")


@pytest.fixture
def few(rich):
    """A curve of nine queries; at POINT, query i changes by (i - 4) / 10."""
    curve = rich["Matryoshka"]
    before = np.full(9, 0.5)
    scores = curve.scores
    values = np.tile(before, (len(curve.points), 1))
    values[curve.row_number(POINT)] = before + (np.arange(9) - 4) / 10
    kept = {name: getattr(scores, name)[:, :9] for name in ("top", "top_relevant")}
    return replace(
        curve,
        scores=replace(
            scores,
            query_ids=scores.query_ids[:9],
            query_texts=scores.query_texts[:9],
            metrics={"ndcg@10": values},
            **kept,
        ),
    )


def test_five_queries_are_sampled_evenly_from_the_worst_to_the_best(few):
    chosen = sample_queries(few, POINT, "ndcg@10")
    assert [each.query for each in chosen.examples] == [f"what is {i}?" for i in (0, 2, 4, 6, 8)]
    assert (chosen.worse, chosen.same, chosen.better, chosen.depth) == (4, 1, 4, 10)
    assert chosen.examples[0].scores == (0.5, pytest.approx(0.1))


def test_choice_depends_on_changes_and_seed_and_not_on_titles(few):
    renamed = replace(few, scores=replace(few.scores, doc_titles=few.scores.doc_titles[::-1]))
    queries = [
        [each.query for each in sample_queries(curve, POINT, "ndcg@10").examples]
        for curve in (few, few, renamed)
    ]
    assert queries[0] == queries[1] == queries[2]


def test_ranks_in_the_other_list(few):
    first = sample_queries(few, POINT, "ndcg@10").examples[0]
    assert [(each.title, each.rank, each.other_rank) for each in first.before] == [
        ("Title of 0", 1, None), ("Title of 1", 2, 1), ("Title of 2", 3, 2),
    ]  # fmt: skip
    assert [each.relevant for each in first.before] == [True, False, False]
    assert [(each.rank, each.other_rank) for each in first.after] == [(1, 2), (2, 3), (3, 4)]


def test_largest_losses_are_sorted_and_show_only_changes(few):
    lost = largest_losses(few, POINT, "ndcg@10")
    assert [each.query for each in lost] == [f"what is {i}?" for i in range(4)]
    assert [(each.title, each.relevant) for each in lost[0].before] == [("Title of 0", True)]
    assert [(each.title, each.rank) for each in lost[0].after] == [("Title of 10", 10)]


def test_padding_of_short_lists_is_not_shown(few):
    top = few.scores.top.copy()
    top[:, :, 1:] = -1
    short = replace(few, scores=replace(few.scores, top=top))
    for each in sample_queries(short, POINT, "ndcg@10").examples:
        assert len(each.before) == len(each.after) == 1


def test_document_without_a_title_is_shown_by_its_id(few):
    untitled = replace(few.scores, doc_titles=np.full_like(few.scores.doc_titles, ""))
    example = sample_queries(replace(few, scores=untitled), POINT, "ndcg@10").examples[0]
    assert [each.title for each in example.before] == ["d0", "d1", "d2"]


def test_curve_without_texts_or_scores_per_query_has_no_examples(curves, few):
    assert not has_examples(curves["Matryoshka"], "ndcg@10")
    assert not has_examples(few, "overlap@10")
    assert has_examples(few, "ndcg@10")
