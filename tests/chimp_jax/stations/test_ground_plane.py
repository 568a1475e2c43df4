"""Distances of foot points: by hand, against brute force, and coverage at simulated stations."""

import numpy as np
import pytest
from scipy import stats

from chimp_jax.stations.ground_plane import angle_deg, equal_distance_line, fit_ground, foot_points, locate
from chimp_jax.stations.ground_prior import DEFAULT_PRIOR, GroundPrior

NOTHING = (np.empty(0),) * 3
SURVEY = GroundPrior(np.array([1.4, 0.45, 0.02]), np.diag([0.2, 0.06, 0.05]) ** 2, 0.025, 'made up', 0.5)


def plane(x, distance_m, b=(1.2, 0.5, -0.04)):
    return b[1] + b[2] * (np.asarray(x) - 0.5) + b[0] / np.asarray(distance_m)


def calibrated(noise: float = 2e-3):
    """The ground of a station whose plane is known."""
    x, distance_m = np.array([0.1, 0.5, 0.9, 0.3, 0.7]), np.array([2.0, 3.0, 5.0, 8.0, 12.0])
    return fit_ground(SURVEY._replace(noise=noise, noise_spread=0.0), x, plane(x, distance_m), distance_m)


def test_a_plane_without_noise_is_recovered():
    ground = calibrated()
    assert ground.mean == pytest.approx([1.2, 0.5, -0.04], abs=5e-3)
    assert ground.n == 5
    x, distance_m = np.array([0.2, 0.5, 0.8]), np.array([1.5, 4.0, 9.0])
    found = locate(ground, x, plane(x, distance_m))
    assert found.distance_m == pytest.approx(distance_m, rel=0.01)
    assert (found.lower_m < distance_m).all() and (found.upper_m > distance_m).all()
    assert (found.upper_m - found.lower_m < 0.2 * distance_m).all()
    assert list(found.reason) == ['', '', '']


def test_without_points_the_ground_is_the_prior():
    ground = fit_ground(DEFAULT_PRIOR, *NOTHING)
    assert ground.mean == pytest.approx(DEFAULT_PRIOR.mean)
    assert ground.covariance == pytest.approx(DEFAULT_PRIOR.covariance)
    assert ground.n == 0


def test_the_distance_is_that_of_brute_force():
    """Median and limits from a sum over planes, noises and distances.

    Distances of animals: gamma with shape 2.90 and scale 1.98 m from 0.5 to 25 m.
    """
    x, y, distance_m = np.array([0.2, 0.7]), np.array([0.96, 0.66]), np.array([3.0, 7.0])
    z, steps = np.linspace(-4, 4, 21), np.linspace(-3, 3, 13)
    grid = np.stack(np.meshgrid(z, z, z, indexing='ij'), axis=-1).reshape(-1, 3)
    planes = SURVEY.mean + grid * np.sqrt(np.diag(SURVEY.covariance))
    noise = 0.025 * np.exp(0.5 * steps)
    misfit = ((planes @ np.stack([1 / distance_m, np.ones(2), x - 0.5]) - y) ** 2).sum(axis=1)[:, None]
    log = -(grid**2).sum(axis=1)[:, None] / 2 - steps**2 / 2 - misfit / 2 / noise**2 - 2 * np.log(noise)
    weight = np.exp(log - log.max())
    r = np.linspace(0.5, 25, 400)
    foot = (0.4, 0.72)
    expected = planes[:, :1] / r + (planes[:, 1] + planes[:, 2] * (foot[0] - 0.5))[:, None]
    density = np.zeros(len(r))
    for j, s in enumerate(noise):
        density += weight[:, j] @ np.exp(-((foot[1] - expected) ** 2) / 2 / s**2) / s
    density *= stats.gamma.pdf(r, 2.90, scale=1.98)
    share = np.cumsum(density) / density.sum()
    found = locate(fit_ground(SURVEY, x, y, distance_m), [foot[0]], [foot[1]], coverage=0.8)
    at = [found.lower_m[0], found.distance_m[0], found.upper_m[0]]
    assert at == pytest.approx(np.interp([0.1, 0.5, 0.9], share, r), abs=0.06)
    mean = density @ r / density.sum()
    assert found.spread_m[0] == pytest.approx(np.sqrt(density @ (r - mean) ** 2 / density.sum()), rel=0.02)
    mean_log = density @ np.log(r) / density.sum()
    assert found.spread_log[0] == pytest.approx(
        np.sqrt(density @ (np.log(r) - mean_log) ** 2 / density.sum()), rel=0.02
    )


@pytest.mark.parametrize('k', [0, 2, 8])
def test_intervals_cover_at_stations_of_the_prior(k):
    """250 stations of the prior with 8 animals each: 90 % of 2,000 distances, give or take 2 % for shared planes."""
    rng = np.random.default_rng(k)
    inside, refused = [], 0
    for _ in range(250):
        b = rng.multivariate_normal(SURVEY.mean, SURVEY.covariance)
        noise = SURVEY.noise * np.exp(SURVEY.noise_spread * rng.normal())
        distance_m = np.clip(rng.gamma(2.90, 1.98, k + 8), 0.5, 25)
        x = rng.uniform(0, 1, k + 8)
        y = plane(x, distance_m, b) + noise * rng.normal(size=k + 8)
        found = locate(fit_ground(SURVEY, x[:k], y[:k], distance_m[:k]), x[k:], y[k:])
        given = found.reason == ''
        refused += (~given).sum()
        inside.append(((found.lower_m <= distance_m[k:]) & (distance_m[k:] <= found.upper_m))[given])
    assert np.concatenate(inside).mean() == pytest.approx(0.9, abs=0.02)
    assert refused < 0.01 * 2000


def test_lower_feet_are_nearer():
    for ground in (fit_ground(DEFAULT_PRIOR, *NOTHING), calibrated(0.02)):
        y = np.linspace(0.45, 1.0, 40)
        found = locate(ground, np.full(40, 0.3), y)
        for values in (found.distance_m, found.lower_m, found.upper_m):
            assert (np.diff(values[found.reason == '']) < 0).all()


def test_more_points_give_narrower_intervals():
    x, distance_m = np.array([0.3, 0.6, 0.5, 0.2, 0.8]), np.array([2.0, 4.0, 6.0, 8.0, 10.0])
    y = plane(x, distance_m)
    widths = []
    for k in (0, 1, 3, 5):
        found = locate(fit_ground(DEFAULT_PRIOR, x[:k], y[:k], distance_m[:k]), [0.5], [0.74])
        widths.append(found.upper_m[0] - found.lower_m[0])
    assert widths == sorted(widths, reverse=True)


def test_a_foot_above_the_horizon_has_no_distance():
    """The horizon of the plane is at row 0.5 in the middle, the noise 0.02: row 0.45 is 2.5 standard deviations up."""
    found = locate(calibrated(0.02), [0.5, 0.5], [0.42, 0.8])
    assert list(found.reason) == ['above_horizon', '']
    assert np.isnan([values[0] for values in found[:5]]).all()
    assert found.distance_m[1] == pytest.approx(4.0, rel=0.05)


def test_a_foot_near_the_horizon_is_far_and_has_an_upper_limit():
    found = locate(calibrated(0.02), [0.5], [0.5])
    assert found.reason[0] == ''
    assert 12 < found.distance_m[0] < found.upper_m[0] <= 25


def test_a_foot_without_numbers_has_no_distance():
    assert list(locate(calibrated(), [np.nan, 0.5], [0.8, np.nan]).reason) == ['above_horizon', 'above_horizon']


def test_cut_feet_have_no_distance():
    """Boxes x1 y1 x2 y2: the second ends at 1.0, below 0.99."""
    x, y, feet_cut = foot_points([[0.2, 0.3, 0.4, 0.8], [0.5, 0.1, 0.9, 1.0], [0.0, 0.0, 1.0, 0.99]])
    assert x == pytest.approx([0.3, 0.7, 0.5])
    assert y == pytest.approx([0.8, 1.0, 0.99])
    assert list(feet_cut) == [False, True, False]
    assert list(locate(calibrated(), x, y, feet_cut=feet_cut).reason) == ['', 'feet_cut', '']
    assert [len(values) for values in foot_points([])] == [0, 0, 0]


def test_many_boxes_are_located_as_each_alone():
    ground = fit_ground(SURVEY, *NOTHING)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, 4200), rng.uniform(0.3, 1, 4200)
    together = locate(ground, x, y)
    for i in (0, 4095, 4096, 4199):
        alone = locate(ground, x[i], y[i])
        assert together.distance_m[i] == pytest.approx(alone.distance_m[0], nan_ok=True)
        assert together.upper_m[i] == pytest.approx(alone.upper_m[0], nan_ok=True)


def test_a_wider_coverage_gives_a_wider_interval_around_the_same_distance():
    narrow, wide = (locate(fit_ground(SURVEY, *NOTHING), [0.5], [0.8], coverage) for coverage in (0.5, 0.95))
    assert narrow.distance_m == wide.distance_m
    assert wide.lower_m < narrow.lower_m < narrow.upper_m < wide.upper_m


def test_points_without_a_distance_are_refused():
    with pytest.raises(ValueError, match='distance above 0'):
        fit_ground(SURVEY, [0.5], [0.8], [0.0])
    with pytest.raises(ValueError, match='distance above 0'):
        fit_ground(SURVEY, [np.nan], [0.8], [3.0])
    with pytest.raises(ValueError, match='2 x, 1 y and 1 distances'):
        fit_ground(SURVEY, [0.5, 0.6], [0.8], [3.0])
    with pytest.raises(ValueError, match='coverage 90'):
        locate(fit_ground(SURVEY, *NOTHING), [0.5], [0.8], 90)


@pytest.mark.parametrize(
    ('x', 'theta', 'angle'),
    [(0.5, 42, 0), (0.0, 42, -21), (1.0, 42, 21), (0.25, 90, -26.565051)],  # -26.57 = atan(-0.5)
)
def test_angles(x, theta, angle):
    assert angle_deg(x, theta) == pytest.approx(angle)
    assert angle_deg(np.array([x, x]), theta) == pytest.approx([angle, angle])


def test_a_line_of_equal_distance():
    """y = 0.45 + 0.02 (x - 0.5) + 1.4 / 2: 1.14 at the left edge, 1.16 at the right."""
    line = equal_distance_line(fit_ground(DEFAULT_PRIOR, *NOTHING), 2.0, 3)
    assert line == pytest.approx(np.array([[0, 1.14], [0.5, 1.15], [1, 1.16]]))
