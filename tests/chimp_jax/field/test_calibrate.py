"""The correction of a site by known distances: its fit, its limits, its tables."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from chimp_jax.field.calibration import calibrate
from chimp_jax.field.calibration.calibrate import (
    ASSUMED_EFFECTS,
    SiteEffects,
    check_known,
    fit_calibration,
    match_known,
    site_effects,
)
from chimp_jax.field.label_tables import read_label_table

EFFECTS = SiteEffects(centre_m=6.0, noise_m=2.0, offset_m=1.0, slope=0.5)


def write(path, *lines):
    path.write_text('\n'.join(lines) + '\n')
    return path


def test_line_is_the_posterior_mean_of_the_mixed_model():
    rng = np.random.default_rng(0)
    estimate_m = rng.uniform(1, 15, 12)
    known_m = np.maximum(1.4 * estimate_m + rng.normal(size=12) * 0.2, 0)
    one = fit_calibration(estimate_m, known_m, ['s'] * 12, EFFECTS).sites['s']
    # Derived in another way: the conditional mean of the coefficients given the residuals, by the joint normal.
    x = np.stack([np.ones(12), estimate_m - 6], axis=1)
    prior = np.diag([1.0, 0.25])
    expected = prior @ x.T @ np.linalg.inv(x @ prior @ x.T + 4 * np.eye(12)) @ (known_m - estimate_m)
    np.testing.assert_allclose([one.offset_m, one.slope], expected, rtol=1e-9)
    assert one.applied and one.n == 12 and one.reason == ''


def test_leave_one_out_by_hand():
    # Estimates at the centre: no slope. Residuals 2, 2, 2, 2, 7; the offset by four of them is their sum / (4 + 4).
    known_m = [8.0, 8, 8, 8, 13]
    one = fit_calibration([6.0] * 5, known_m, ['s'] * 5, EFFECTS).sites['s']
    # Without: (4 * 2 + 7) / 5 = 3. Leaving a 2: offset 13 / 8, error 0.375; leaving the 7: offset 1, error 6.
    assert one.mae_without_m == pytest.approx(3)
    assert one.mae_with_m == pytest.approx((4 * 0.375 + 6) / 5)
    assert one.offset_m == pytest.approx(15 / 9) and one.slope == 0


def test_never_applied_if_it_does_not_help():
    # Right estimates; and residuals of alternate signs, whose mean is 0 but for the row that is left out.
    for residual_m in (0, 1):
        known_m = 6 + residual_m * np.array([1, -1, 1, -1, 1, -1])
        fit = fit_calibration([6.0] * 6, known_m, ['s'] * 6, EFFECTS)
        assert not fit.sites['s'].applied and '2%' in fit.sites['s'].reason
        assert fit.apply([3.0, 9.0], ['s', 's']).tolist() == [3, 9]


def test_few_rows_are_not_enough():
    one = fit_calibration([6.0] * 4, [9.0] * 4, ['s'] * 4, EFFECTS).sites['s']
    assert not one.applied and one.mae_with_m is None and one.reason == '4 known distances, 5 are needed'


def test_sites_have_corrections_of_their_own():
    estimate_m = np.tile([2.0, 4, 6, 8, 10], 2)
    known_m = np.concatenate([estimate_m[:5] * 1.5, estimate_m[5:]])
    fit = fit_calibration(estimate_m, known_m, ['far'] * 5 + ['right'] * 5, EFFECTS)
    assert fit.table().set_index('site')['applied'].to_dict() == {'far': True, 'right': False}
    corrected_m = fit.apply([10, 10, 10, np.nan], ['far', 'right', 'elsewhere', 'far'])
    assert 11 < corrected_m[0] < 15 and corrected_m[1:3].tolist() == [10, 10] and np.isnan(corrected_m[3])


@pytest.mark.parametrize('factor', [0.0, 0.3, 3.0])
def test_order_is_kept_and_nothing_falls_below_zero(factor):
    # With a factor of 0 all animals are at one distance. The map must rise even then.
    estimate_m = np.linspace(1, 20, 20)
    strong = SiteEffects(6.0, 0.01, 100.0, 100.0)
    fit = fit_calibration(estimate_m, factor * estimate_m + 0.5, ['s'] * 20, strong)
    assert fit.sites['s'].applied
    mapped = fit.apply(np.linspace(0, 40, 200), np.full(200, 's'))
    assert (mapped >= 0).all() and (np.diff(mapped) >= 0).all() and mapped[-1] > mapped[0]


def test_strong_known_distances_overcome_the_shrinkage_and_weak_ones_do_not():
    estimate_m = np.tile(np.linspace(2, 14, 5), 4)
    known_m = 1.5 * estimate_m
    # offset + slope * (d - 6) = d / 2: offset 3, slope 0.5.
    one = fit_calibration(estimate_m, known_m, ['s'] * 20, SiteEffects(6.0, 0.001, 1.0, 1.0)).sites['s']
    assert (one.offset_m, one.slope) == pytest.approx((3, 0.5), abs=1e-4)
    one = fit_calibration(estimate_m, known_m, ['s'] * 20, SiteEffects(6.0, 1000.0, 0.1, 0.1)).sites['s']
    assert (one.offset_m, one.slope) == pytest.approx((0, 0), abs=1e-2)


def test_likelihood_is_that_of_the_normal_distribution():
    rng = np.random.default_rng(2)
    estimate_m, label_m = rng.uniform(1, 15, 9), rng.uniform(1, 15, 9)
    sums = [calibrate._sums(estimate_m, label_m, 6.0)]

    def exact(noise_m, offset_m, slope):
        x = np.stack([np.ones(9), estimate_m - 6], axis=1)
        covariance = noise_m**2 * np.eye(9) + x @ np.diag([offset_m**2, slope**2]) @ x.T
        return -multivariate_normal(np.zeros(9), covariance).logpdf(label_m - estimate_m)

    a, b = (2.0, 1.0, 0.3), (3.0, 0.5, 0.1)  # up to a constant: the difference of two
    found = [calibrate._negative_log_likelihood(np.log(p), sums) for p in (a, b)]
    assert found[0] - found[1] == pytest.approx(exact(*a) - exact(*b), rel=1e-9)


def test_spread_between_sites_is_found():
    rng = np.random.default_rng(1)
    site = np.repeat(np.arange(200).astype(str), 20)
    estimate_m = rng.uniform(5, 15, 4000)
    offset_m, slope = np.repeat(rng.normal(size=200), 20), np.repeat(rng.normal(size=200) * 0.2, 20)
    label_m = estimate_m + offset_m + slope * (estimate_m - 10) + rng.normal(size=4000) * 0.5
    found = site_effects(estimate_m, label_m, site)
    assert abs(found.centre_m - 10) < 0.5  # the median of the labels
    # A standard deviation of 200 sites has itself a deviation of 1 / sqrt(400) = 5 %: three of those, and more where
    # the centre lies beside 10 m. Of 4000 rows 1.2 %.
    assert found.noise_m == pytest.approx(0.5, rel=0.04)
    assert found.offset_m == pytest.approx(1, rel=0.2) and found.slope == pytest.approx(0.2, rel=0.2)


def test_few_sites_leave_the_assumption():
    assert site_effects([1.0] * 4, [2.0] * 4, list('abcd')) == ASSUMED_EFFECTS


@pytest.mark.parametrize(
    ('estimate_m', 'known_m', 'site', 'message'),
    [
        ([1.0, math.nan], [1.0, 2], ['a', 'a'], 'estimate nan'),
        ([1.0, 1], [1.0, -2], ['a', 'a'], 'known distance -2'),
        ([1.0, 1], [1.0, 2], ['a', ''], 'without a site'),
        ([1.0], [1.0, 2], ['a', 'a'], 'as many'),
        ([], [], [], 'as many'),
    ],
)
def test_bad_values(estimate_m, known_m, site, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration(estimate_m, known_m, site)


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            ['a.mp4,1,2', 'a.mp4,2,-1', 'a.mp4,3,nan'],
            r'known\.csv:3: the distance -1 is out of bounds; it must be at least 0; known\.csv:4',
        ),
        (['a.mp4,1,2', 'a.mp4,1,3'], r'known\.csv:3: second 1 is at 3 m here, at 2 m in line 2'),
        (['a.mp4,1,2', 'a.mp4,1,2'], 'repeated rows dropped in 1 rows, first in line 3'),
        (['../a.mp4,1,2'], 'clips folder'),
        (['a.mp4,,2'], "the time '' is not a number"),
        ([], 'has no row'),
    ],
)
def test_bad_rows_of_known_distances(tmp_path, lines, message):
    path = write(tmp_path / 'known.csv', 'video_id,time,distance', *lines)
    with pytest.raises(ValueError, match=message) as caught:
        read_label_table(path)
    assert '\n' not in str(caught.value)


def test_many_bad_rows_make_one_line(tmp_path):
    path = write(tmp_path / 'known.csv', 'video_id,time,distance', *(f'a.mp4,{i},x' for i in range(50)))
    with pytest.raises(ValueError, match=r'known\.csv:4: .*; and 47 more; correct'):
        read_label_table(path)


def test_known_rows_meet_their_estimates(tmp_path):
    known = read_label_table(
        write(tmp_path / 'known.csv', 'video_id,time,distance', 'b.mp4,2,4', 'a.mp4,0,3', 'a.mp4,1,5')
    )
    rows = pd.DataFrame({'video_id': ['a.mp4', 'a.mp4', 'b.mp4'], 'time': [0, 1, 2], 'distance': [2.5, np.nan, 7]})
    joined, lost = match_known(rows, known)
    assert joined[['video_id', 'distance', 'estimate']].to_numpy().tolist() == [['b.mp4', 4, 7], ['a.mp4', 3, 2.5]]
    assert lost == ['known.csv:4: a.mp4 at 1 s has no estimate, so it does not help to calibrate']
    joined, lost = match_known(rows[:0], known)
    assert joined.empty and len(lost) == 3


def test_a_site_with_few_known_distances_is_refused_by_name():
    check_known(pd.Series(['ridge'] * 5 + ['river'] * 6), 'known.csv')
    with pytest.raises(
        ValueError, match=r'known\.csv: too few known distances \(camp has 1; ridge has 4, 5 are needed'
    ):
        check_known(pd.Series(['ridge'] * 4 + ['river'] * 6 + ['camp']), 'known.csv')
