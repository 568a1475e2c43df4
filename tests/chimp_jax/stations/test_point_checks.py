"""Known points that fit the plane of their station, and points that do not."""

import numpy as np
import pytest

from chimp_jax.stations.ground_plane import fit_ground, locate
from chimp_jax.stations.ground_prior import DEFAULT_PRIOR
from chimp_jax.stations.point_checks import check_points

X = np.array([0.2, 0.8, 0.5, 0.3, 0.7, 0.4, 0.6, 0.5])
DISTANCE_M = np.array([2.0, 2.5, 3.5, 5.0, 6.0, 8.0, 10.0, 12.0])


def rows(distance_m=DISTANCE_M, noise=0.01):
    y = 0.5 + 0.03 * (X - 0.5) + 1.3 / distance_m
    return y + noise * np.array([1, -1, 0.5, -0.5, 1, -1, 0.3, -0.3])


def test_points_on_a_plane_fit():
    checks = check_points(DEFAULT_PRIOR, X, rows(), DISTANCE_M)
    assert not checks.is_off.any()
    assert checks.notes == [] and checks.point_notes == [''] * 8
    assert checks.estimate_m[:5] == pytest.approx(DISTANCE_M[:5], rel=0.1)
    assert checks.slope == pytest.approx(0.9, abs=0.15)


def test_the_estimate_of_a_point_does_not_know_it():
    checks = check_points(DEFAULT_PRIOR, X, rows(), DISTANCE_M)
    others = np.arange(8) != 3
    ground = fit_ground(DEFAULT_PRIOR, X[others], rows()[others], DISTANCE_M[others])
    assert checks.estimate_m[3] == pytest.approx(locate(ground, X[3], rows()[3]).distance_m[0])


def test_residuals_are_in_standard_deviations_of_the_row():
    """One point and the default: at 2 m, x 0.5 the row is 0.45 + 0.7 = 1.15.

    Variance: (0.25^2 + 0.4^2) / 4 + 0.08^2 + 0.13^2, and the mean square of a lognormal noise with median 0.034 and
    logarithmic spread 0.707: 0.034^2 exp(2 x 0.5) = 0.00314. Together 0.05563 + 0.0233 + 0.00314, sd 0.286.
    """
    checks = check_points(DEFAULT_PRIOR, [0.5], [1.15 + 0.143], [2.0])
    assert checks.residual_sd[0] == pytest.approx(0.5, abs=0.01)
    assert np.isnan(checks.slope)
    assert not checks.is_off[0]


def test_a_point_that_is_far_off_is_told():
    """2.5 m written as 25."""
    wrong = DISTANCE_M.copy()
    wrong[1] = 25
    checks = check_points(DEFAULT_PRIOR, X, rows(), wrong)
    assert list(np.flatnonzero(checks.is_off)) == [1]
    assert checks.residual_sd[1] > 3
    assert checks.estimate_m[1] == pytest.approx(2.5, abs=0.3)
    note = checks.point_notes[1]
    # The feet of the points beyond 2.5 m are higher, so each of them contradicts 25 m; they are not blamed for it.
    assert note.startswith('25 m contradicts') and 'the farther foot is lower' in note
    assert (np.delete(checks.contradicts, 1) == -1).all()
    assert [i for i, text in enumerate(checks.point_notes) if text] == [1]


def test_a_point_unlike_other_stations_is_told():
    """Row 1.2 at 20 m: the default expects 0.45 + 0.07 = 0.52 with a standard deviation of 0.16."""
    checks = check_points(DEFAULT_PRIOR, [0.5], [1.2], [20.0])
    assert checks.is_off[0]
    assert checks.point_notes[0].startswith('the other stations put this foot at ')


def test_a_foot_above_the_horizon_is_told():
    y = rows()
    y[4] = 0.2
    checks = check_points(DEFAULT_PRIOR, X, y, DISTANCE_M)
    assert checks.is_off[4] and np.isnan(checks.estimate_m[4])
    assert '6 m contradicts' in checks.point_notes[4] and 'the farther foot is lower' in checks.point_notes[4]


def test_two_distances_at_one_foot_contradict_each_other():
    checks = check_points(DEFAULT_PRIOR, [0.5, 0.51], [0.7, 0.695], [2.0, 9.0])
    assert list(checks.is_off) == [True, True]
    assert list(checks.contradicts) == [1, 0]
    assert checks.point_notes[0].startswith('2 m contradicts 9 m at the same foot point')
    assert checks.point_notes[1].startswith('9 m contradicts 2 m at the same foot point')
    apart = check_points(DEFAULT_PRIOR, [0.5, 0.5], [1.15, 0.6], [2.0, 9.0])
    assert apart.point_notes == ['', ''] and list(apart.contradicts) == [-1, -1]


def test_nearly_equal_distances_at_one_foot_do_not_contradict():
    checks = check_points(DEFAULT_PRIOR, [0.5, 0.51], [0.7, 0.695], [5.0, 6.0])
    assert not checks.is_off.any()


def test_bumpy_ground_is_told():
    checks = check_points(DEFAULT_PRIOR, X, rows(noise=0.25), DISTANCE_M)
    assert any('scatter around the plane' in note for note in checks.notes)


def test_distances_that_do_not_rise_with_the_estimates_are_told():
    """Distances in another order than the feet."""
    checks = check_points(DEFAULT_PRIOR, X, rows(), DISTANCE_M[[4, 7, 2, 6, 0, 3, 1, 5]])
    assert any('rise by' in note for note in checks.notes)


def test_no_points_have_no_notes():
    checks = check_points(DEFAULT_PRIOR, [], [], [])
    assert len(checks.estimate_m) == 0 and checks.notes == [] and checks.point_notes == []
