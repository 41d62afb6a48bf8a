"""Bootstrap intervals of retention: normal theory, coverage, pairing, limits."""

import numpy as np
import pytest

from nestvec.metrics.intervals import retention_intervals, retentions


def test_retentions_computed_by_hand():
    cheap = np.array([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(retentions(cheap, np.array([1.0, 1.0, 1.0])), [0.5, 1])
    np.testing.assert_array_equal(retentions(cheap, np.zeros(3)), 0)


def test_full_precision_retains_all_in_every_resample():
    full = np.random.default_rng(0).random(50)
    np.testing.assert_allclose(retention_intervals(full[None], full), 1)
    np.testing.assert_allclose(retention_intervals(0.9 * full[None], full), 0.9)


def test_with_many_queries_the_interval_is_that_of_normal_theory():
    rng = np.random.default_rng(1)
    full = rng.random(2_000)
    cheap = full * rng.uniform(0.8, 1.0, 2_000)
    ratio = cheap.mean() / full.mean()
    error = (cheap - ratio * full).std() / full.mean() / np.sqrt(2_000)  # the delta method
    ends = retention_intervals(cheap[None], full)[0]
    np.testing.assert_allclose(ends, ratio + np.array([-1.96, 1.96]) * error, atol=0.3 * error)


def test_the_interval_covers_the_true_retention_at_its_confidence_level():
    rng = np.random.default_rng(2)
    full = rng.random((300, 200))
    cheap = full * rng.choice([1.0, 0.5], size=full.shape, p=[0.9, 0.1])  # truly 0.95
    ends = np.array([retention_intervals(c[None], f)[0] for c, f in zip(cheap, full, strict=True)])
    covered = ((ends[:, 0] <= 0.95) & (ends[:, 1] >= 0.95)).mean()
    assert 0.91 <= covered <= 0.985


def test_the_interval_of_a_point_does_not_depend_on_other_points():
    rng = np.random.default_rng(3)
    full, cheap = rng.random(40), rng.random((3, 40))
    together = retention_intervals(cheap, full)
    np.testing.assert_allclose(together[1:2], retention_intervals(cheap[1:2], full), rtol=1e-12)
    assert (retention_intervals(cheap, full, seed=1) != together).any()
    wider = retention_intervals(cheap, full, confidence=0.99)
    assert (wider[:, 0] <= together[:, 0]).all()
    assert (wider[:, 1] >= together[:, 1]).all()


@pytest.mark.parametrize("full", [[0.0, 0.0], [0.0]])
def test_a_full_score_of_zero_has_retention_zero(full):
    np.testing.assert_array_equal(retention_intervals(np.ones((2, len(full))), np.array(full)), 0)
