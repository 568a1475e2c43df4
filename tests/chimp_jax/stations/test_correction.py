"""The correction of a station: against a Gaussian process written out here, and on stations with known errors."""

import dataclasses
import math

import numpy as np
import pytest

from chimp_jax.stations.correction import ASSUMED_ERRORS, ErrorModel, fit_correction, fit_error_model, fuse

MODEL = ErrorModel(
    centre_m=4.0,
    noise=0.2,
    constant=0.3,
    slope=0.25,
    smooth=0.4,
    column_length=0.5,
    row_length=0.2,
    log_length=0.6,
    foot_mean=(0.45, 0.7),
    foot_sd=(0.2, 0.1),
)
NO_FOOT = (np.nan, np.nan)
ON_GRID = [math.exp(u) - 1 for u in (0.5, 1.0, 1.5, 2.0)]  # between them, the correction is interpolated


def kernel(distance_a, foot_a, distance_b, foot_b) -> float:
    """The covariance of two rows with known feet, term by term."""
    u, v, centre = math.log(distance_a + 1), math.log(distance_b + 1), math.log(5)
    squares = ((foot_a[0] - foot_b[0]) / 0.5) ** 2 + ((foot_a[1] - foot_b[1]) / 0.2) ** 2 + ((u - v) / 0.6) ** 2
    return 0.3**2 + 0.25**2 * (u - centre) * (v - centre) + 0.4**2 * math.exp(-squares / 2)


def corrected_by_hand(estimates, known, feet, distance, foot, covariance=kernel) -> float:
    rows = list(zip(estimates, feet, strict=True))
    k = np.array([[covariance(*a, *b) for b in rows] for a in rows])
    k += 0.2**2 * np.eye(len(estimates))
    errors = [math.log(label + 1) - math.log(estimate + 1) for label, estimate in zip(known, estimates)]
    across = np.array([covariance(distance, foot, *row) for row in rows])
    return math.exp(math.log(distance + 1) + across @ np.linalg.inv(k) @ errors) - 1


@pytest.mark.parametrize('n', [1, 2, 3])
def test_equals_the_posterior_mean_of_a_gaussian_process(n):
    estimates, known = [3.0, 5.0, 9.0][:n], [3.6, 4.4, 12.0][:n]
    feet = [(0.3, 0.9), (0.6, 0.8), (0.5, 0.65)][:n]
    correction = fit_correction(estimates, known, feet, MODEL)
    for foot in ((0.3, 0.9), (0.7, 0.7)):
        found = correction.apply(ON_GRID, [foot] * 4)
        expected = [corrected_by_hand(estimates, known, feet, distance, foot) for distance in ON_GRID]
        assert found == pytest.approx(expected, rel=1e-9)
        assert found != pytest.approx(ON_GRID, rel=0.01)
    # Between the points of the grid (5 % of d + 1), linear interpolation differs little from the posterior mean.
    assert correction.apply([4.1], [(0.4, 0.8)])[0] == pytest.approx(
        corrected_by_hand(estimates, known, feet, 4.1, (0.4, 0.8)), rel=1e-3
    )


def averaged(place: tuple[float, float], other: tuple[float, float]) -> float:
    """The mean of the closeness of two places over the normal distributions of unknown ones, by a sum over a grid."""
    result, z = 1.0, np.linspace(-6, 6, 241)
    density = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    for a, b, mean, sd, length in zip(place, other, (0.45, 0.7), (0.2, 0.1), (0.5, 0.2), strict=True):
        at_a = mean + sd * z if np.isnan(a) else np.full(len(z), a)
        at_b = mean + sd * z if np.isnan(b) else np.full(len(z), b)
        closeness = np.exp(-(((at_a[:, None] - at_b[None]) / length) ** 2) / 2)
        result *= density @ closeness @ density
    return result


def kernel_of_unknown(distance_a, foot_a, distance_b, foot_b) -> float:
    """Two different rows whose feet may be unknown; the same row has the closeness 1."""
    known = kernel(distance_a, (0, 0), distance_b, (0, 0))
    line = 0.3**2 + 0.25**2 * (math.log(distance_a + 1) - math.log(5)) * (math.log(distance_b + 1) - math.log(5))
    same = distance_a == distance_b
    return line + (known - line) * (1.0 if same else averaged(foot_a, foot_b))


@pytest.mark.parametrize('feet', [[NO_FOOT, (0.6, 0.8)], [NO_FOOT, NO_FOOT], [(0.3, 0.9), (0.6, 0.8)]])
@pytest.mark.parametrize('foot', [NO_FOOT, (0.7, 0.7)])
def test_an_unknown_foot_is_averaged_over_where_feet_are(feet, foot):
    estimates, known = [3.0, 5.0], [4.0, 4.5]
    found = fit_correction(estimates, known, feet, MODEL).apply(ON_GRID, [foot] * 4)
    expected = [corrected_by_hand(estimates, known, feet, d, foot, kernel_of_unknown) for d in ON_GRID]
    assert found == pytest.approx(expected, rel=1e-6)


def test_without_known_rows_nothing_changes():
    distances = [0.0, 0.3, 4.0, 25.0, 400.0]
    found = fit_correction([], [], np.empty((0, 2))).apply(distances, [(0.5, 0.8), NO_FOOT] * 2 + [(0.1, 0.2)])
    assert found == pytest.approx(distances, abs=1e-9)


def test_a_missing_distance_stays_missing():
    correction = fit_correction([4.0], [5.0], [(0.5, 0.8)])
    found = correction.apply([np.nan, 4.0], [(0.5, 0.8)] * 2)
    assert np.isnan(found[0]) and 4 < found[1] < 5


def station(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True distances [n] from 2 to 15 m and their feet: near animals stand low in the picture."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(2, 15, n)
    return truth, np.stack([rng.uniform(0.1, 0.9, n), 0.5 + 0.8 / truth], 1)


@pytest.mark.parametrize('factor', [0.7, 1.4])
def test_a_factor_is_found(factor):
    """Ten known rows leave less than 40 % of the error of a camera that reads all distances too large or too small."""
    truth, foot = station(210, 0)
    estimate = truth * factor
    found = fit_correction(estimate[:10], truth[:10], foot[:10]).apply(estimate[10:], foot[10:])
    before, after = (np.abs(value - truth[10:]).mean() for value in (estimate[10:], found))
    assert after < 0.4 * before


def test_an_error_that_depends_on_the_place_is_found():
    """Estimates are too large on the left and too small on the right by the same factor, so a factor cannot help."""
    truth, foot = station(240, 1)
    truth, foot = truth.clip(4, 6), np.stack([foot[:, 0].round(), np.full(240, 0.8)], 1)  # columns 0 and 1
    estimate = truth * np.where(foot[:, 0] < 0.5, 1.3, 1 / 1.3)
    # A wide scene: the smooth function is nearly independent on both sides.
    model = dataclasses.replace(ASSUMED_ERRORS, column_length=0.3)
    found = fit_correction(estimate[:20], truth[:20], foot[:20], model).apply(estimate[20:], foot[20:])
    left = foot[20:, 0] < 0.5
    before, after = (np.abs(value - truth[20:]).mean() for value in (estimate[20:], found))
    assert after < 0.4 * before
    assert (found[left] < estimate[20:][left]).all() and (found[~left] > estimate[20:][~left]).all()
    # Without the place, the same rows say little.
    nowhere = np.full(foot.shape, np.nan)
    blind = fit_correction(estimate[:20], truth[:20], nowhere[:20], model).apply(estimate[20:], nowhere[20:])
    assert np.abs(blind - truth[20:]).mean() > 2 * after


def test_the_order_is_kept_and_nothing_is_below_zero():
    """Known rows that contradict the order: near estimates were far, and far ones near."""
    rng = np.random.default_rng(2)
    distances = np.sort(np.concatenate([rng.uniform(0, 20, 300), [0, 150, 200, 1000]]))
    eager = dataclasses.replace(MODEL, noise=0.01, log_length=0.1, smooth=2.0, slope=2.0)
    for foot in ((0.5, 0.8), (0.1, 0.5), NO_FOOT):
        correction = fit_correction([1.0, 3.0, 3.5, 12.0], [9.0, 0.1, 6.0, 0.0], [(0.5, 0.8)] * 4, eager)
        found = correction.apply(distances, [foot] * len(distances))
        assert np.isfinite(found).all() and (found >= 0).all() and (np.diff(found) >= 0).all()
        above = found[found > 0]
        assert (np.diff(above)[np.diff(distances[found > 0]) > 1e-6] > 0).all()
    assert correction.apply([0.0], [(0.5, 0.8)])[0] > 0.5  # the known rows do change the near ones


@pytest.mark.parametrize('estimate,known', [([-1.0], [2.0]), ([2.0], [-0.1]), ([np.nan], [2.0]), ([2.0], [np.inf])])
def test_what_is_not_a_distance_is_refused(estimate, known):
    with pytest.raises(ValueError, match='is not a distance'):
        fit_correction(estimate, known, [(0.5, 0.8)])


def test_a_foot_is_given_for_each_distance():
    with pytest.raises(ValueError, match='column and row of one foot'):
        fit_correction([2.0, 3.0], [2.0, 3.0], [(0.5, 0.8)])
    with pytest.raises(ValueError, match='column and row of one foot'):
        fit_correction([2.0], [2.0], [(0.5, 0.8)]).apply([2.0], [0.5, 0.8])


def simulated(n_sites: int, n_clips: int, seed: int):
    """Rows of stations whose errors are drawn from MODEL, by this file's kernel: estimate, label, foot, site, clip."""
    rng, parts = np.random.default_rng(seed), []
    for site in range(n_sites):
        distance = rng.uniform(1.5, 12, n_clips)
        foot = rng.normal((0.45, 0.7), (0.2, 0.1), (n_clips, 2))
        rows = list(zip(distance, foot, strict=True))
        k = np.array([[kernel(*a, *b) for b in rows] for a in rows])
        error = rng.multivariate_normal(np.zeros(n_clips), k + 0.2**2 * np.eye(n_clips))
        label = np.maximum(np.exp(np.log(distance + 1) + error) - 1, 0)
        parts.append((distance, label, foot, np.full(n_clips, f's{site}'), [f'{site}-{i}' for i in range(n_clips)]))
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def test_the_errors_of_stations_are_recovered():
    """30 stations of 16 rows, drawn from MODEL, which differs from the prior by factors up to 3.8."""
    estimate, label, foot, site, clip = simulated(30, 16, 3)
    found = fit_error_model(estimate, label, foot, site, clip)
    assert found.noise == pytest.approx(0.2, rel=0.15)
    assert found.smooth == pytest.approx(0.4, rel=0.25)
    assert found.constant == pytest.approx(0.3, rel=0.4)
    lengths = (found.column_length, found.row_length, found.log_length)
    assert lengths == pytest.approx((0.5, 0.2, 0.6), rel=0.35)
    assert found.centre_m == pytest.approx(np.median(label))
    assert found.foot_mean == pytest.approx((0.45, 0.7), abs=0.03)
    assert found.foot_sd == pytest.approx((0.2, 0.1), rel=0.1)
    # The rows of a clip resemble each other more, so only one of them is used.
    twice = fit_error_model(*(np.concatenate([values] * 2) for values in (estimate, label, foot, site, clip)))
    assert dataclasses.astuple(twice)[1:8] == pytest.approx(dataclasses.astuple(found)[1:8], rel=0.01)


def test_the_prior_holds_where_rows_say_nothing():
    nothing = np.empty(0)
    assert fit_error_model(nothing, nothing, np.empty((0, 2)), nothing, nothing) == ASSUMED_ERRORS
    assert fit_error_model(nothing, nothing, np.empty((0, 2)), nothing, nothing, MODEL) == MODEL
    estimate, label, foot, site, clip = simulated(3, 5, 4)
    blind = fit_error_model(estimate, label, np.full(foot.shape, np.nan), site, clip, MODEL)
    assert (blind.foot_mean, blind.foot_sd) == (MODEL.foot_mean, MODEL.foot_sd)
    assert (blind.column_length, blind.row_length) == pytest.approx((0.5, 0.2), rel=1e-9)
    assert blind.noise != MODEL.noise


def test_two_estimates_are_fused_by_precision():
    """Precisions 100 and 25: the mean of the logarithms is 0.8 ln 4 + 0.2 ln 5, its precision 125."""
    distance, sd = fuse([4.0, 4.0, np.nan, np.nan], 0.1, [5.0, np.nan, 5.0, np.nan], [0.2, 0.2, 0.2, 0.2])
    assert distance[:3] == pytest.approx([4**0.8 * 5**0.2, 4, 5])
    assert sd[:3] == pytest.approx([125**-0.5, 0.1, 0.2])
    assert np.isnan(distance[3]) and np.isnan(sd[3])


def test_an_estimate_of_unknown_precision_does_not_count():
    distance, sd = fuse([4.0, 4.0], [np.nan, 0.1], [5.0, 5.0], [0.2, np.nan])
    assert distance == pytest.approx([5, 4]) and sd == pytest.approx([0.2, 0.1])
