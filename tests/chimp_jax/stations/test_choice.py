"""The expected fall of the errors, against numbers by hand and the posterior of the whole covariance."""

import dataclasses

import numpy as np
import pytest

from chimp_jax.stations.choice import CLIP_SD, StationTargets, label_gains
from chimp_jax.stations.correction import ASSUMED_ERRORS, fit_correction

NAN = np.nan


def targets(estimate_m, foot=None, clip=None, second=None, spread_m=NAN) -> StationTargets:
    n = len(estimate_m)
    foot = np.full((n, 2), 0.5) if foot is None else np.asarray(foot, float)
    clip = np.arange(n) if clip is None else np.asarray(clip)
    second = np.zeros(n, int) if second is None else np.asarray(second)
    return StationTargets(np.asarray(estimate_m, float), foot, clip, second, np.broadcast_to(spread_m, n).astype(float))


def test_one_constant_error_by_hand():
    """Only a constant of the station with variance 0.04, and noise: a measured distance lowers all errors alike."""
    only = {'slope': 0.0, 'smooth': 0.0, 'constant': 0.2, 'noise': 0.25}
    model = dataclasses.replace(ASSUMED_ERRORS, **only)
    noise = 0.25**2 - CLIP_SD**2  # 0.04; with the clip's own 0.0225 a measured distance has the variance 0.0625
    before = np.sqrt(0.04 + CLIP_SD**2 + noise)
    after = np.sqrt(0.04 - 0.04**2 / (0.04 + 0.0625) + CLIP_SD**2 + noise)
    found = label_gains(targets([5, 5, 9]), [], [0], [1, 2], model)
    assert found == pytest.approx([(6 + 10) * (before - after)])  # metres of a unit of g: estimate + 1 m
    # A second label: the posterior variance of the constant is 1 / (1 / 0.04 + 1 / 0.0625) before, 2 / 0.0625 after.
    variances = [1 / (1 / 0.04 + k / 0.0625) for k in (1, 2)]
    falls = np.sqrt(np.array(variances) + CLIP_SD**2 + noise)
    assert label_gains(targets([5, 5, 9, 5]), [3], [0], [1, 2], model) == pytest.approx([16 * (falls[0] - falls[1])])


def test_gains_equal_those_of_the_posterior_covariance():
    """Against the definition: the whole covariance of 12 targets, conditioned on the measured ones."""
    random = np.random.default_rng(0)
    given = targets(
        random.uniform(1, 12, 12), random.random((12, 2)), random.integers(0, 4, 12), random.integers(0, 60, 12)
    )
    given.estimate_m[5], given.foot[7] = NAN, NAN
    measured, candidates, others = [0, 5, 7], [1, 2, 3], [4, 6, 8, 9, 10, 11]
    m = ASSUMED_ERRORS
    u = np.log(np.where(np.isnan(given.estimate_m), m.centre_m, given.estimate_m) + 1)

    def covariance(i, j):
        centre, places = np.log(m.centre_m + 1), 1.0
        for axis, length in enumerate((m.column_length, m.row_length)):
            a, b, wide = given.foot[i, axis], given.foot[j, axis], length**2
            if i != j or not np.isnan(a):  # the foot of one row is the same place, known or not
                wide += m.foot_sd[axis] ** 2 * (np.isnan(a) + np.isnan(b))
                a, b = (m.foot_mean[axis] if np.isnan(place) else place for place in (a, b))
                places *= length / np.sqrt(wide) * np.exp(-((a - b) ** 2) / 2 / wide)
        near = np.exp(-((u[i] - u[j]) ** 2) / 2 / m.log_length**2)
        shared = CLIP_SD**2 * np.exp(-abs(given.second[i] - given.second[j]) / 40) * (given.clip[i] == given.clip[j])
        return m.constant**2 + m.slope**2 * (u[i] - centre) * (u[j] - centre) + m.smooth**2 * places * near + shared

    whole = np.array([[covariance(i, j) for j in range(12)] for i in range(12)])
    noise = m.noise**2 - CLIP_SD**2

    def remaining_m(known):
        inverse = np.linalg.inv(whole[np.ix_(known, known)] + noise * np.eye(len(known)))
        left = whole - whole[:, known] @ inverse @ whole[known]
        return (np.exp(u) * np.sqrt(np.diag(left) + noise))[others].sum()

    expected = [remaining_m(measured) - remaining_m([*measured, one]) for one in candidates]
    assert label_gains(given, measured, candidates, others) == pytest.approx(expected)
    assert min(expected) > 0


def test_the_gain_is_that_of_the_correction():
    """A candidate at another place and distance tells the correction nothing, one beside the others the most."""
    near, far = [0.5, 0.9], [0.5, 0.1]
    given = targets([3, 3, 3, 3], [near, near, near, far])
    gains = label_gains(given, [], [0, 3], [1, 2])
    assert gains[0] > 2 * gains[1] > 0
    moved = [
        abs(fit_correction([3], [6], [foot]).apply(np.array([3.0]), np.array([near]))[0] - 3) for foot in (near, far)
    ]
    assert moved[0] > moved[1]


def test_a_spread_between_members_makes_the_seconds_of_a_clip_worth_more():
    clips = [0, 0, 0, 1, 1, 1]
    given = targets([5] * 6, clip=clips, second=[0, 10, 20] * 2, spread_m=[3, 3, 3, 0.1, 0.1, 0.1])
    gains = label_gains(given, [], [1, 4], np.arange(6))
    assert gains[0] > 1.3 * gains[1]
    same = label_gains(given._replace(spread_m=np.full(6, NAN)), [], [1, 4], np.arange(6))
    assert same[0] == pytest.approx(same[1])
