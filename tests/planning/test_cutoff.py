"""Cut-offs: what an old one let through, the new one lets through."""

from dataclasses import replace

import numpy as np
import pytest
from test_choose import FULL, make_curve

from nestvec.errors import InvalidArgument
from nestvec.planning.cutoff import move_cutoff

POINT = "512:int8"


def scored_curve(n=400, *, judged=True, k=5):
    """Scores at the point are half of those at full float32, plus 0.1."""
    curve = make_curve(n, seed=0)
    rng = np.random.default_rng(0)
    full = -np.sort(-rng.random((n, k)), axis=1)
    scores = np.stack([full if str(row.point) == FULL else full / 2 + 0.1 for row in curve.points])
    wrong = rng.random((n, k)) < 0.7
    relevant = np.broadcast_to(~wrong, scores.shape) if judged else np.empty((0, 0, 0), bool)
    kept = replace(
        curve.scores,
        top=np.zeros(scores.shape, np.int32),
        top_scores=scores.astype(np.float32),
        top_relevant=relevant,
    )
    return replace(curve, scores=kept)


@pytest.mark.parametrize("judged", [True, False])
def test_the_new_cutoff_is_where_the_scores_went(judged):
    moved = move_cutoff(scored_curve(judged=judged), POINT, 0.8)
    assert moved.new == pytest.approx(0.5, abs=2e-3)
    assert moved.low <= moved.new <= moved.high
    assert moved.high - moved.low < 0.01
    assert ("right or wrong (nothing is judged)" in str(moved)) is not judged


def test_as_many_wrong_results_are_let_through():
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


def test_the_interval_holds_what_noise_moves():
    """Queries differ in how the point moves their scores: fewer of them say less."""
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


def test_empty_places_are_no_results():
    curve = scored_curve()
    top = curve.scores.top.copy()
    top[:, :, -1] = -1
    scores = curve.scores.top_scores.copy()
    scores[:, :, -1] = 9.0
    holed = replace(curve, scores=replace(curve.scores, top=top, top_scores=scores))
    assert move_cutoff(holed, POINT, 0.8).new < 1


@pytest.mark.parametrize(("cutoff", "what"), [(2.0, "nothing"), (-1.0, "everything")])
def test_a_cutoff_out_of_range_names_the_range(cutoff, what):
    with pytest.raises(InvalidArgument, match=f"lets through {what}.*go from 0.0.* to 0.99"):
        move_cutoff(scored_curve(), POINT, cutoff)


def test_a_curve_without_scores_of_results_is_refused():
    with pytest.raises(InvalidArgument, match="evaluate again"):
        move_cutoff(make_curve(100, seed=0), POINT, 0.5)
