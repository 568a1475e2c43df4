"""The correction of a station as a Gaussian process, and two estimates fused."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from chimp_jax.stations import correction
from chimp_jax.stations.correction import ASSUMED_ERRORS, ErrorModel, fit_correction, fit_error_model, fuse

MODEL = ErrorModel(
    centre_m=5.0,
    noise=0.2,
    constant=0.3,
    slope=0.4,
    smooth=0.5,
    column_length=0.4,
    row_length=0.2,
    log_length=0.6,
    foot_mean=(0.5, 0.7),
    foot_sd=(0.2, 0.1),
)
NO_FOOT = np.full((1, 2), np.nan)


def closed_form(a, b, m=MODEL):
    """Covariance of the errors of two rows (log(d + 1), column, row), as the formula has it."""
    centre = math.log(m.centre_m + 1)
    line = m.constant**2 + m.slope**2 * (a[0] - centre) * (b[0] - centre)
    lengths = (m.log_length, m.column_length, m.row_length)
    square = sum(((x - y) / length) ** 2 for x, y, length in zip(a, b, lengths, strict=True))
    return line + m.smooth**2 * math.exp(-square / 2)


@pytest.mark.parametrize('n', [1, 2, 3])
def test_posterior_is_the_closed_form(n):
    # Distances whose logarithms lie on the grid of the map: log(d + 1) = 1, 1.5, 2, and 1.75 of the new row.
    u = np.array([1.0, 1.5, 2.0])[:n]
    foot = np.array([[0.3, 0.6], [0.5, 0.8], [0.7, 0.7]])[:n]
    z = np.array([0.2, -0.1, 0.3])[:n]
    rows = [(u[i], *foot[i]) for i in range(n)]
    new = (1.75, 0.6, 0.75)
    covariance = np.array([[closed_form(a, b) for b in rows] for a in rows]) + 0.2**2 * np.eye(n)
    mean = np.array([closed_form(new, b) for b in rows]) @ np.linalg.inv(covariance) @ z
    found = fit_correction(np.exp(u) - 1, np.exp(u + z) - 1, foot, MODEL)
    assert found.apply([math.exp(1.75) - 1], [new[1:]]) == pytest.approx(math.exp(1.75 + mean) - 1, rel=1e-9)


def test_nothing_known_changes_nothing():
    found = fit_correction([], [], np.zeros((0, 2)))
    distance_m = np.array([0.0, 0.3, 5, 25, 140, 500, np.nan])
    mapped = found.apply(distance_m, np.full((7, 2), 0.5))
    # The map is linear in log(d + 1) between the points of its grid, and so is no change.
    np.testing.assert_allclose(mapped, distance_m, rtol=1e-12, atol=1e-12)


def test_a_pure_factor_is_found():
    # All animals are 1.5 times as far, everywhere in the picture. For far animals this is a constant of the logarithm.
    rng = np.random.default_rng(0)
    estimate_m, foot = rng.uniform(30, 60, 40), rng.uniform(0.3, 0.9, (40, 2))
    whole = dataclasses.replace(MODEL, constant=3.0, smooth=0.01, noise=0.01)
    found = fit_correction(estimate_m, 1.5 * estimate_m, foot, whole)
    np.testing.assert_allclose(found.apply([35.0, 50], [[0.4, 0.5], [0.6, 0.7]]), [52.5, 75], rtol=0.01)
    # The assumed model expects errors of places, so it shrinks more; without a box, still more.
    estimate_m = rng.uniform(2, 12, 40)
    found = fit_correction(estimate_m, 1.5 * estimate_m, foot)
    ratio = found.apply([3.0, 6, 10], [[0.4, 0.5], [0.6, 0.7], [0.5, 0.6]]) / [3, 6, 10]
    assert (1.25 < ratio).all() and (ratio < 1.55).all()
    assert 1.1 < found.apply([6.0], NO_FOOT)[0] / 6 < 1.5


def test_an_error_of_a_place_is_found_there():
    # On the left, animals are twice as far as estimated. On the right, the estimates are right.
    foot = np.array([[0.2, 0.7], [0.25, 0.72], [0.15, 0.68], [0.9, 0.7], [0.95, 0.72], [0.85, 0.68]])
    known_m = np.where(foot[:, 0] < 0.5, 10.0, 5)
    found = fit_correction(np.full(6, 5.0), known_m, foot, MODEL)
    left, right, unknown = found.apply([5.0] * 3, [[0.2, 0.7], [0.9, 0.7], [np.nan, np.nan]])
    assert left == pytest.approx(10, rel=0.1) and right == pytest.approx(5, rel=0.1)
    assert right < unknown < left


def test_opposite_errors_of_two_sides_are_found_by_the_place_only():
    # On the left, estimates are too large by 30 %; on the right too small by as much, so a factor cannot help.
    rng = np.random.default_rng(4)
    known_m, side = rng.uniform(3, 8, 240), rng.integers(0, 2, 240)
    foot = np.stack([side.astype(float), np.full(240, 0.8)], axis=1)
    estimate_m = known_m * np.where(side == 0, 1.3, 1 / 1.3)
    narrow = dataclasses.replace(ASSUMED_ERRORS, column_length=0.3)
    errors = []
    for at in (foot, np.full_like(foot, np.nan)):
        found = fit_correction(estimate_m[:20], known_m[:20], at[:20], narrow).apply(estimate_m[20:], at[20:])
        errors.append(np.abs(found - known_m[20:]).mean())
    # Without the place, the estimate alone helps: the largest ones are too large.
    before = np.abs(estimate_m - known_m)[20:].mean()
    assert errors[0] < 0.4 * before and errors[1] > 2 * errors[0]


def test_an_unknown_foot_is_averaged_over_the_feet():
    """The covariance with a row without a box, by quadrature over the normal distribution of feet."""
    u, v, foot = 1.2, 1.7, (0.35, 0.62)
    at, weight = np.polynomial.hermite_e.hermegauss(30)
    weight = weight / weight.sum()
    expected = sum(
        p * q * closed_form((u, 0.5 + 0.2 * x, 0.7 + 0.1 * y), (v, *foot))
        for x, p in zip(at, weight, strict=True)
        for y, q in zip(at, weight, strict=True)
    )
    found = correction.error_covariance(MODEL, np.array([u]), NO_FOOT, np.array([v]), np.array([foot]))
    assert found == pytest.approx(expected, rel=1e-6)
    # Two rows without a box: the means of independent feet. The difference of two has twice the variance.
    spread = np.random.default_rng(0).normal(size=(2, 400_000, 2)) * (0.2, 0.1) + (0.5, 0.7)
    apart = (((spread[0] - spread[1]) / (0.4, 0.2)) ** 2).sum(axis=1)
    line = closed_form((u, 0, 0), (v, 9, 9))  # so far apart that only the line is left
    expected = line + 0.25 * math.exp(-((0.5 / 0.6) ** 2) / 2) * np.exp(-apart / 2).mean()
    found = correction.error_covariance(MODEL, np.array([u]), NO_FOOT, np.array([v]), NO_FOOT)
    assert found == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize('known_m', [[0.1] * 6, [30, 20, 10, 5, 2, 0.5], [60] * 6])
def test_order_is_kept_and_nothing_falls_below_zero(known_m):
    # Known distances that fall as the estimates rise; the process alone would reverse the order.
    strong = dataclasses.replace(MODEL, noise=0.01, smooth=3.0, constant=3.0, slope=3.0)
    estimate_m = np.array([1.0, 2, 4, 8, 12, 20])
    foot = np.full((6, 2), 0.6)
    found = fit_correction(estimate_m, known_m, foot, strong)
    distance_m = np.sort(np.concatenate([np.linspace(0, 160, 2001), [200.0, 1000]]))
    for at in ((0.6, 0.6), (0.1, 0.9), (np.nan, np.nan)):
        mapped = found.apply(distance_m, np.tile(at, (len(distance_m), 1)))
        assert (mapped >= 0).all() and (np.diff(mapped)[mapped[1:] > 0] > 0).all()


def test_the_map_of_many_rows_is_that_of_each():
    rng = np.random.default_rng(1)
    found = fit_correction(rng.uniform(1, 9, 5), rng.uniform(1, 9, 5), rng.uniform(size=(5, 2)), MODEL)
    distance_m, foot = rng.uniform(0, 20, 8), rng.uniform(size=(8, 2))
    foot[3], distance_m[5] = np.nan, np.nan
    one_by_one = [found.apply(distance_m[i : i + 1], foot[i : i + 1])[0] for i in range(8)]
    np.testing.assert_allclose(found.apply(distance_m, foot), one_by_one, rtol=1e-12)
    assert np.isnan(one_by_one[5]) and np.isfinite(np.delete(one_by_one, 5)).all()


def test_the_likelihood_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(2)
    root, error = rng.normal(size=(2, 4, 4)), rng.normal(size=4)
    covariances = [one @ one.T + np.eye(4) for one in root]
    found = [correction._negative_log_likelihood(one, error) for one in covariances]
    exact = [-multivariate_normal(np.zeros(4), one).logpdf(error) for one in covariances]
    assert found[0] - found[1] == pytest.approx(exact[0] - exact[1], rel=1e-9)  # up to a constant


def simulated_rows(constant, smooth, noise, n_sites=40, n=8):
    """OOF rows with errors of known sizes: a constant of each site, and 0.1 wide rows of the picture that differ."""
    rng = np.random.default_rng(3)
    site = np.repeat(np.arange(n_sites), n)
    u, foot = rng.uniform(1, 2.5, n_sites * n), rng.uniform(0.3, 0.9, (n_sites * n, 2))
    errors = rng.normal(size=n_sites)[site] * constant + rng.normal(size=n_sites * n) * noise
    phase = rng.uniform(0, 2 * np.pi, n_sites)[site]
    errors += smooth * np.sqrt(2) * np.sin(2 * np.pi * foot[:, 1] / 0.5 + phase)
    clip = np.arange(n_sites * n)
    return np.exp(u) - 1, np.exp(u + errors) - 1, foot, site.astype(str), clip.astype(str)


def test_sizes_of_the_errors_are_found():
    rows = simulated_rows(constant=0.3, smooth=0.0, noise=0.1)
    found = fit_error_model(*rows)
    # The smooth function may take a part of the constant, so the sum of both counts: a deviation of 40 draws has itself
    # a relative deviation of 1 / sqrt(80) = 11 %.
    assert found.noise == pytest.approx(0.1, rel=0.15)
    assert math.hypot(found.constant, found.smooth) == pytest.approx(0.3, rel=0.3)
    found = fit_error_model(*simulated_rows(constant=0.0, smooth=0.3, noise=0.05))
    assert found.smooth == pytest.approx(0.3, rel=0.3) and found.constant < 0.1
    assert found.row_length < 0.25  # the sine has a quarter of its period, 0.5, from 0 to its peak
    assert found.foot_mean == pytest.approx((0.6, 0.6), abs=0.02)  # uniform from 0.3 to 0.9
    assert found.foot_sd == pytest.approx((0.6 / math.sqrt(12),) * 2, rel=0.05)


def covariance_of(rows, m):
    return np.array([[closed_form(a, b, m) for b in rows] for a in rows]) + m.noise**2 * np.eye(len(rows))


def test_the_model_that_made_the_errors_is_found():
    """40 stations of 20 rows, drawn from MODEL. The fit explains them at least as well as MODEL itself."""
    rng, stations = np.random.default_rng(3), []
    for _ in range(40):
        rows = np.concatenate([rng.uniform(1.5, 3, (20, 1)), rng.normal((0.5, 0.7), (0.2, 0.1), (20, 2))], axis=1)
        stations.append((rows, rng.multivariate_normal(np.zeros(20), covariance_of(rows, MODEL)).clip(-1.5)))
    rows, errors = (np.concatenate(column) for column in zip(*stations, strict=True))
    site, clip = np.repeat(np.arange(40), 20), np.arange(800)
    found = fit_error_model(np.exp(rows[:, 0]) - 1, np.exp(rows[:, 0] + errors) - 1, rows[:, 1:], site, clip)
    density = [
        sum(multivariate_normal(np.zeros(20), covariance_of(*one)).logpdf(z) for one, z in pairs)
        for pairs in ([((r, m), z) for r, z in stations] for m in (found, MODEL))
    ]
    assert density[0] > density[1]
    # The constant and the slope are less certain, because the smooth function may take a part.
    assert found.noise == pytest.approx(MODEL.noise, rel=0.15)
    assert found.smooth == pytest.approx(MODEL.smooth, rel=0.25)
    lengths = (found.column_length, found.row_length, found.log_length)
    assert lengths == pytest.approx((0.4, 0.2, 0.6), rel=0.35)


def test_without_boxes_the_place_stays_as_assumed():
    estimate_m, label_m, foot, site, clip = simulated_rows(constant=0.3, smooth=0.0, noise=0.1)
    found = fit_error_model(estimate_m, label_m, np.full_like(foot, np.nan), site, clip)
    assert (found.foot_mean, found.foot_sd) == (ASSUMED_ERRORS.foot_mean, ASSUMED_ERRORS.foot_sd)
    for name in ('column_length', 'row_length'):
        assert getattr(found, name) == pytest.approx(getattr(ASSUMED_ERRORS, name), rel=1e-9)
    # Nothing tells whether the rest is noise or of the place: their sum is 0.1 and more.
    assert found.noise < 0.2 and found.constant > 0.15


def test_rows_of_one_clip_count_once():
    estimate_m, label_m, foot, site, clip = simulated_rows(0.3, 0.0, 0.1, n_sites=6)
    once = fit_error_model(estimate_m, label_m, foot, site, clip)
    twice = [np.concatenate([part, part]) for part in (estimate_m, label_m, foot, site, clip)]
    again = fit_error_model(*twice)
    for name in ('noise', 'constant', 'smooth', 'row_length'):
        assert getattr(again, name) == pytest.approx(getattr(once, name), rel=0.02)


def test_no_rows_leave_the_assumption():
    assert fit_error_model([], [], np.zeros((0, 2)), [], []) == ASSUMED_ERRORS
    assert fit_error_model([], [], np.zeros((0, 2)), [], [], MODEL) == MODEL


def test_few_rows_stay_near_the_assumption():
    rows = simulated_rows(constant=0.1, smooth=0.0, noise=0.1, n_sites=2, n=2)
    found = [fit_error_model(*rows, assumed) for assumed in (MODEL, dataclasses.replace(MODEL, slope=0.05))]
    assert found[0].slope > 4 * found[1].slope  # 0.4 and 0.05 before the rows


@pytest.mark.parametrize(
    ('estimate_m', 'known_m', 'foot', 'message'),
    [
        ([np.nan], [1.0], [[0.5, 0.5]], 'estimate nan m is not a distance'),
        ([1.0], [-2.0], [[0.5, 0.5]], 'known distance -2 m is not a distance'),
        ([1.0], [2.0], [0.5, 0.5], 'one foot for each'),
    ],
)
def test_bad_values(estimate_m, known_m, foot, message):
    with pytest.raises(ValueError, match=message):
        fit_correction(estimate_m, known_m, foot)


def test_fused_by_hand():
    # Precisions 1 / 0.2^2 = 25 and 1 / 0.1^2 = 100: weights 0.2 and 0.8 of the logarithms, 4^0.2 * 8^0.8 = 2^2.8
    # m, and a deviation of 1 / sqrt(125).
    distance_m, sd_log = fuse([4.0], [0.2], [8.0], [0.1])
    assert distance_m == pytest.approx([2**2.8]) and sd_log == pytest.approx([125**-0.5])


def test_one_missing_gives_the_other():
    nan = np.nan
    distance_m, sd_log = fuse([4.0, nan, nan, 4.0], [0.2, 0.2, nan, nan], [nan, 8.0, nan, 8.0], [0.1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(distance_m, [4, 8, nan, 8])
    np.testing.assert_allclose(sd_log, [0.2, 0.1, nan, 0.1])
