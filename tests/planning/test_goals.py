"""Goals and slices: what each goal tests, and how the plan words the result."""

from dataclasses import replace

import numpy as np
import pytest
from test_choose import FULL, FUNNEL, make_curve

from nestvec.curve.point import SizeRetention
from nestvec.curve.query_scores import QueryScores
from nestvec.errors import InvalidArgument
from nestvec.planning.budget import Budget, Goal
from nestvec.planning.choose import plan
from nestvec.planning.confirm import Claim, slice_claims


def agreement_curve(n, seed):
    curve = make_curve(n, seed)
    rank = curve.scores.metrics["ndcg@10"]
    overlap = np.where(rank[0] > 0, rank / np.maximum(rank[0], 1e-9), 1.0)
    rows = tuple(
        replace(
            row,
            metrics={"overlap@10": float(each.mean())},
            retention={"overlap@10": float(each.mean())},
        )
        for row, each in zip(curve.points, overlap, strict=True)
    )
    scores = replace(curve.scores, metrics={"overlap@10": overlap})
    dataset = {**curve.dataset, "evidence": "agreement"}
    return replace(curve, points=rows, scores=scores, dataset=dataset)


def sliced_curve(n, seed):
    """Return a curve whose German queries lose more with fewer than 256 dims in stage 1.

    A few queries are Finnish, too few to test.
    """
    curve = make_curve(n, seed, FUNNEL[1:-2])
    languages = np.where(np.arange(n) % 4 == 0, "de", "en").astype("<U2")
    languages[:20] = "fi"
    scores = curve.scores.metrics["ndcg@10"].copy()
    for number, row in enumerate(curve.points):
        if row.point.stages[0].dim < 256:
            scores[number, languages == "de"] *= 0.9
    kept = QueryScores(
        curve.scores.query_ids, {"ndcg@10": scores}, curve.scores.doc_ids, curve.scores.top
    )
    return replace(curve, scores=replace(kept, slices={"lang": languages}))


def test_the_worked_ratio_of_each_goal():
    cheap, full = np.array([[0.5, 0.0, 1.0]]), np.array([1.0, 0.5, 1.0])
    for kind, threshold, ratio in (
        ("retention", 0.6, 0.6),
        ("overlap", 0.5, 0.5),
        ("drop", -1 / 3, -1 / 3),
    ):
        goal = Goal(kind, "ndcg@10", threshold)
        numerators, denominators = goal.ratio(cheap, full)
        assert numerators.mean() / denominators.mean() == pytest.approx(ratio)
        assert goal.differences(cheap, full).mean() == pytest.approx(0)
    # The worst query of each goal scores 1 at full precision and 0 at the point.
    lost = np.array([[0.0]]), np.array([1.0])
    for goal in (Goal("retention", "m", 0.9), Goal("drop", "m", -0.1)):
        assert goal.differences(*lost)[0, 0] == pytest.approx(goal.lowest_difference)


def test_a_drop_is_absolute():
    """A retention of 99.1 % of about 0.43 is a loss of 0.004."""
    curve = make_curve(8000, seed=1)
    chosen = plan(curve, Budget(max_drop=0.008))
    assert chosen.confirmed
    assert str(chosen.point) == "128:binary@200>512:int8"
    assert -0.008 == chosen.at_least < chosen.kept < 0
    assert chosen.reasons[0].startswith("Loses 0.00")
    assert "of nDCG@10, at most 0.0080 with 95 % confidence" in chosen.reasons[0]
    kept = curve[chosen.point].metrics["ndcg@10"] - curve[FULL].metrics["ndcg@10"]
    assert chosen.kept == pytest.approx(kept, abs=0.002)
    assert "so a loss of at most 0.008 is not confirmed" in str(chosen).replace("\n    ", " ")


def test_agreement_is_never_called_confirmed_nor_quality():
    chosen = plan(agreement_curve(4000, seed=1))
    assert chosen.goal == Goal("overlap", "overlap@10", 0.95)
    assert chosen.confirmed
    text = str(chosen)
    joined = text.replace("\n    ", " ")
    assert " AGREES\n" in text
    assert "CONFIRMED" not in text
    assert "agreement with full precision (overlap@10), at least 95.0 %" in joined
    assert "Relevance was not measured." in joined


def test_a_goal_requires_its_metric():
    with pytest.raises(InvalidArgument, match=r"no quality\. Use min_overlap"):
        plan(agreement_curve(100, seed=1), Budget(min_retention=0.9))
    with pytest.raises(InvalidArgument, match="Evaluate again with overlap@10"):
        plan(make_curve(100, seed=1), Budget(min_overlap=0.9))


def test_generated_queries_are_named_in_the_first_reason():
    curve = make_curve(4000, seed=1)
    made = replace(curve, dataset={**curve.dataset, "evidence": "made queries"})
    assert (
        plan(made)
        .reasons[0]
        .startswith("Measured with generated queries instead of real ones: ret")
    )


def test_a_point_that_fails_one_slice_is_not_planned():
    curve = sliced_curve(8000, seed=1)
    plain = plan(curve, Budget(min_retention=0.95))
    strict = plan(curve, Budget(min_retention=0.95, min_slice_retention=0.95))
    assert plain.point.stages[0].dim < 256
    assert strict.confirmed
    assert strict.point.stages[0].dim == 256
    text = " ".join(strict.reasons)
    assert "Slices tested for a retention of 95 %: 2, all confirmed." in text
    assert "95 % in lang=de is not confirmed" in text
    assert "Slices with too few queries to test: lang=fi." in text


def test_slices_must_have_been_measured():
    with pytest.raises(InvalidArgument, match="requires slices"):
        plan(make_curve(100, seed=1), Budget(min_slice_retention=0.9))


def test_a_slice_is_tested_if_perfect_scores_would_confirm_it():
    """By hand: 0.95 ** 59 is the first power below 5 %."""
    goal = Goal("retention", "ndcg@10", 0.95)
    values = np.repeat(["a", "b"], [59, 58])
    claims, small = slice_claims(goal, {"f": values}, np.arange(117), confidence=0.95)
    assert [claim.name for claim in claims] == ["f=a"]
    assert small == ["f=b"]
    assert isinstance(claims[0], Claim)


def test_the_minimized_cost_decides():
    curve = make_curve(8000, seed=1)
    disk = plan(curve, Budget(minimize="disk"))
    assert disk.row.cost.disk_bytes_per_vector == 0
    assert str(disk.point) == "512:int4"
    limited = plan(curve, Budget(minimize="disk", max_ram_bytes_per_vector=32))
    assert str(limited.point) == "256:binary@200>512:int4"


def test_the_fastest_point_is_chosen_if_latency_is_minimized():
    curve = make_curve(8000, seed=1)
    speed = {"512:int8": 2.0, "512:int4": 0.9, "256:binary@200>512:int8": 0.5}
    rows = tuple(
        replace(row, cost=replace(row.cost, p95_ms=speed.get(str(row.point), 3.0)))
        for row in curve.points
    )
    chosen = plan(replace(curve, points=rows), Budget(minimize="latency"))
    assert str(chosen.point) == "256:binary@200>512:int8"


def test_sizes_and_a_larger_k_are_reported():
    curve = make_curve(8000, seed=1)
    sizes = (SizeRetention(11740, 0.996, 0.99, 1.0), SizeRetention(46254, 0.991, 0.98, 1.0))
    rows = tuple(
        replace(row, by_size={"ndcg@10": sizes}, k_for_full_recall=12) for row in curve.points
    )
    text = " ".join(plan(replace(curve, points=rows)).reasons)
    assert (
        "With 11,740 / 46,254 documents, the point retains 99.6 / 99.1 %. Corpora of more" in text
    )
    assert "To match the recall of full precision at k = 10, search with k = 12." in text


def test_an_unconfirmed_point_is_the_safest_by_the_other_half():
    """The largest of many bounds exceeds the truth by chance; the bound of the first does not."""
    trials, false = 200, 0
    rows = tuple((f"{dim}:int8", dim, 0, 0.97) for dim in range(64, 72))
    for seed in range(trials):
        chosen = plan(make_curve(200, seed, rows), Budget(confidence=0.8), seed=seed)
        false += not chosen.confirmed and chosen.at_least > 0.97
    assert false / trials <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / trials)
