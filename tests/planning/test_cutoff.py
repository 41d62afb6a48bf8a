"""Cutoffs: the new cutoff accepts as many results as the old one."""

from dataclasses import replace

import numpy as np
import pytest
from test_choose import FULL, make_curve

from nestvec.errors import InvalidArgument
from nestvec.planning.cutoff import move_cutoff

POINT = "512:int8"


def scored_curve(n=400, *, labeled=True, k=5):
    """Scores at the point are half of those at full float32, plus 0.1."""
    curve = make_curve(n, seed=0)
    rng = np.random.default_rng(0)
    full = -np.sort(-rng.random((n, k)), axis=1)
    scores = np.stack([full if str(row.point) == FULL else full / 2 + 0.1 for row in curve.points])
    wrong = rng.random((n, k)) < 0.7
    relevant = np.broadcast_to(~wrong, scores.shape) if labeled else np.empty((0, 0, 0), bool)
    kept = replace(
        curve.scores,
        top=np.zeros(scores.shape, np.int32),
        top_scores=scores.astype(np.float32),
        top_relevant=relevant,
    )
    return replace(curve, scores=kept)


@pytest.mark.parametrize("labeled", [True, False])
def test_the_new_cutoff_follows_the_scores(labeled):
    moved = move_cutoff(scored_curve(labeled=labeled), POINT, 0.8)
    assert moved.new == pytest.approx(0.5, abs=2e-3)
    assert moved.low <= moved.new <= moved.high
    assert moved.high - moved.low < 0.01
    assert ("no relevance labels" in str(moved)) is not labeled


def test_both_cutoffs_accept_as_many_non_relevant_results():
    curve = scored_curve()
    moved = move_cutoff(curve, POINT, 0.8)
    counts = [
        (
            (curve.scores.top_scores[curve.row_number(point)] >= cutoff)
            & ~curve.scores.top_relevant[curve.row_number(point)]
        ).sum()
        for point, cutoff in ((FULL, 0.8), (POINT, moved.new))
    ]
    assert counts[0] == counts[1] == round(moved.accepted * 400)


def test_the_interval_widens_with_noise_and_fewer_queries():
    """The point shifts the scores of each query differently, so fewer queries are less certain."""
    widths = []
    for n in (100, 1600):
        curve = scored_curve(n)
        noise = np.random.default_rng(1).normal(0, 0.05, (n, 1)).astype(np.float32)
        scores = curve.scores.top_scores.copy()
        scores[curve.row_number(POINT)] += noise
        noisy = replace(curve, scores=replace(curve.scores, top_scores=scores))
        moved = move_cutoff(noisy, POINT, 0.8)
        widths.append(moved.high - moved.low)
    assert widths[0] > 2 * widths[1] > 0


def test_padding_is_not_counted_as_results():
    curve = scored_curve()
    top = curve.scores.top.copy()
    top[:, :, -1] = -1
    scores = curve.scores.top_scores.copy()
    scores[:, :, -1] = 9.0
    holed = replace(curve, scores=replace(curve.scores, top=top, top_scores=scores))
    assert move_cutoff(holed, POINT, 0.8).new < 1


@pytest.mark.parametrize(("cutoff", "what"), [(2.0, "none"), (-1.0, "all")])
def test_a_cutoff_out_of_range_names_the_range(cutoff, what):
    with pytest.raises(InvalidArgument, match=f"accepts {what} of .*from 0.0.* to 0.99"):
        move_cutoff(scored_curve(), POINT, cutoff)


def test_a_curve_without_result_scores_is_rejected():
    with pytest.raises(InvalidArgument, match="Evaluate again"):
        move_cutoff(make_curve(100, seed=0), POINT, 0.5)
