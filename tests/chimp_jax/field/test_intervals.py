"""Prediction intervals: weights, quantiles, coverage, notes."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import lsq_linear

from chimp_jax.field.intervals import (
    comparable_spread,
    fit_intervals,
    site_groups,
    site_weights,
    spread,
    weighted_quantile,
)


def sites(*counts):
    return np.repeat([f's{i}' for i in range(len(counts))], counts)


def test_sites_weigh_alike_and_the_new_one_too():
    # Three sites and the new one have a quarter each; the first splits its quarter between two rows.
    np.testing.assert_allclose(site_weights(sites(2, 1, 1)), [1 / 8, 1 / 8, 1 / 4, 1 / 4])


def test_the_quantile_is_the_split_conformal_one_if_each_site_has_one_row():
    # Nine scores, coverage 0.9: the ceil(10 * 0.9) = 9th smallest, the largest; 0.8: the 8th; 0.5: the 5th.
    score = np.array([5.0, 1, 9, 3, 7, 2, 8, 4, 6])
    weight = site_weights(np.arange(9).astype(str))
    assert [weighted_quantile(score, weight, level) for level in (0.9, 0.8, 0.5, 0.05)] == [9, 8, 5, 1]
    # 0.91 would take the 10th of nine: the largest serves.
    assert weighted_quantile(score, weight, 0.91) == 9


def test_quantile_of_sites_of_unequal_size():
    # Weights: 1/3 for the row of a, 1/6 for each of b's two. Sorted, 1 (b), 2 (a), 3 (b), they sum to 1/6, 1/2, 2/3.
    score, weight = np.array([2.0, 1, 3]), site_weights(np.array(['a', 'b', 'b']))
    assert [weighted_quantile(score, weight, level) for level in (0.16, 0.5, 0.51, 0.66)] == [1, 2, 3, 3]


def test_constant_errors_give_intervals_of_their_size():
    # |residual| is 2 m whatever the estimate: the scale is the constant 2 m, every score 1.
    estimate_m = np.linspace(2, 20, 40)
    label_m = estimate_m + np.where(np.arange(40) % 2, 2, -2)
    fit = fit_intervals(estimate_m, label_m, None, sites(*[2] * 20), 0.9)
    assert (fit.n_rows, fit.n_sites, fit.per_spread, fit.note) == (40, 20, None, '')
    lower, upper = fit.apply([10, 1, 0, np.nan])
    np.testing.assert_allclose(lower, [8, 0, 0, np.nan], atol=1e-8)
    np.testing.assert_allclose(upper, [12, 3, 2, np.nan], atol=1e-8)


def test_scale_is_least_squares_with_coefficients_of_at_least_zero():
    rng = np.random.default_rng(3)
    estimate_m, spread_m = rng.uniform(0, 20, 200), rng.uniform(0, 3, 200)
    label_m = np.maximum(estimate_m + rng.normal(size=200) * (0.2 * estimate_m + 0.5 * spread_m), 0)
    site = np.sort(rng.integers(0, 25, 200)).astype(str)
    fit = fit_intervals(estimate_m, label_m, spread_m, site, 0.9)
    root = np.sqrt(1 / pd.Series(site).map(pd.Series(site).value_counts()).to_numpy())  # sites weigh alike
    columns = np.stack([np.ones(200), estimate_m, spread_m], axis=1) * root[:, None]
    expected = lsq_linear(columns, np.abs(label_m - estimate_m) * root, bounds=(0, np.inf)).x
    np.testing.assert_allclose([fit.constant_m, fit.per_estimate, fit.per_spread], expected, atol=1e-4)


def simulated_sites(rng, n_sites, n_rows):
    """Errors that grow with distance and spread, with a part that a whole site shares."""
    site = np.repeat(np.arange(n_sites).astype(str), n_rows)
    estimate_m, spread_m = rng.uniform(1, 20, len(site)), rng.exponential(1, len(site))
    shared = np.repeat(rng.normal(size=n_sites), n_rows)
    deviation_m = (shared + rng.normal(size=len(site))) * (0.1 * estimate_m + 0.3 * spread_m + 0.2)
    return estimate_m, np.maximum(estimate_m + deviation_m, 0), spread_m, site


@pytest.mark.parametrize('coverage', [0.5, 0.8, 0.9])
def test_coverage_on_new_sites_is_at_least_the_requested_one(coverage):
    rng, covered = np.random.default_rng(0), []
    for _ in range(60):
        fit = fit_intervals(*(data := simulated_sites(rng, 30, 10))[:3], data[3], coverage)
        estimate_m, label_m, spread_m, _ = simulated_sites(rng, 100, 10)
        lower, upper = fit.apply(estimate_m, spread_m)
        covered.append(((lower <= label_m) & (label_m <= upper)).mean())
    # Expected between the coverage and coverage + 1 / (K + 1) = 0.032 (a score is as likely in each gap); the fitted
    # scale moves it a little. One run deviates by at most 0.5 / sqrt(30 sites) = 0.09, the mean of 60 by 0.012: two of
    # those on both sides.
    assert coverage - 0.024 < np.mean(covered) < coverage + 0.032 + 0.024


def test_bounds_keep_their_order_and_widen_with_estimate_spread_and_coverage():
    rng = np.random.default_rng(1)
    estimate_m, label_m, spread_m, site = simulated_sites(rng, 40, 8)
    fits = [fit_intervals(estimate_m, label_m, spread_m, site, coverage) for coverage in (0.5, 0.8, 0.9)]
    widths = []
    for fit in fits:
        lower, upper = fit.apply(estimate_m, spread_m)
        assert (0 <= lower).all() and (lower <= estimate_m).all() and (estimate_m <= upper).all()
        widths.append(upper - lower)
    assert (widths[0] <= widths[1]).all() and (widths[1] <= widths[2]).all()
    _, upper = fits[2].apply([1, 2, 2], [1, 1, 2])
    assert upper[0] - 1 < upper[1] - 2 < upper[2] - 2


def test_too_few_sites_are_reported():
    # Eight sites reach 8/9 = 0.889; 0.9 takes 0.9 / 0.1 = 9.
    estimate_m = np.full(8, 5.0)
    label_m = estimate_m + np.arange(1, 9)
    fit = fit_intervals(estimate_m, label_m, None, sites(*[1] * 8), 0.9)
    assert '8 sites' in fit.note and '(9 are needed)' in fit.note
    np.testing.assert_allclose(fit.apply([5.0])[1], [13])  # the largest error, 8 m
    assert fit_intervals(estimate_m, label_m, None, sites(*[1] * 8), 0.88).note == ''


def test_one_row_and_members_without_error():
    fit = fit_intervals([3.0], [3.0], None, ['s'], 0.9)
    lower, upper = fit.apply([0, 3])
    assert lower.tolist() == [0, 3] == upper.tolist()


def test_the_note_tells_whose_folds_are_by_clip():
    notes = {
        folds: fit_intervals([5.0] * 8, [6.0] * 8, None, sites(*[1] * 8), 0.5, folds=folds).note
        for folds in ('site', 'clip', 'mixed')
    }
    assert notes['site'] == ''
    assert notes['clip'].startswith('all recipes were trained with folds by clip')
    assert notes['mixed'].startswith('some recipes were trained with folds by clip')
    assert all('these rows are optimistic' in notes[folds] for folds in ('clip', 'mixed'))


def test_no_oof_rows_are_refused():
    with pytest.raises(ValueError, match='intervals need out-of-fold rows'):
        fit_intervals([], [], None, [], 0.9)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'coverage': 1.0}, 'coverage 1.0'),
        ({'coverage': math.nan}, 'coverage nan'),
        ({'label_m': [1.0, math.nan]}, 'OOF label: nan'),
        ({'estimate_m': [-1.0, 1]}, 'OOF estimate: -1 m'),
        ({'spread_m': [math.inf, 1]}, 'OOF spread: inf'),
        ({'site': ['a', '']}, '1 OOF rows have no site'),
        ({'label_m': [1.0]}, 'label must have one value'),
        ({'folds': 'video'}, "not 'video'"),
    ],
)
def test_bad_arguments(change, message):
    good = {'estimate_m': [1.0, 2], 'label_m': [1.0, 3], 'spread_m': None, 'site': ['a', 'b'], 'coverage': 0.9}
    with pytest.raises(ValueError, match=message):
        fit_intervals(**good | change)


def test_a_spread_that_the_fit_had_is_needed():
    fit = fit_intervals([1.0, 2], [1.5, 3], [0.1, 0.5], ['a', 'b'], 0.5)
    with pytest.raises(ValueError, match='spread'):
        fit.apply([1.0])
    with pytest.raises(ValueError, match='estimate: -1 m'):
        fit.apply([-1.0], [0.1])


def test_clips_without_a_site_are_groups_of_their_own():
    groups = site_groups(['a.mp4', 'b.mp4', 'c.mp4', 'c.mp4'], ['x', 'x', '', ''])
    assert groups.tolist() == ['site x', 'site x', 'clip c.mp4', 'clip c.mp4']


def test_spreads():
    members = pd.DataFrame({'p/fold_0': [1.0], 'q/fold_0': [3.0], 'p/fold_1': [2.0], 'q/fold_1': [8.0]})
    # Of all: mean 3.5, squares 6.25, 0.25, 2.25, 20.25, mean 7.25.
    np.testing.assert_allclose(spread(members), [math.sqrt(7.25)])
    # Of two values half their difference: 1 m in fold 0, 3 m in fold 1.
    np.testing.assert_allclose(comparable_spread(members), [2])
    # A fold with one recipe alone says nothing about recipes.
    np.testing.assert_allclose(comparable_spread(members[['p/fold_0', 'q/fold_0', 'p/fold_1']]), [1])
    np.testing.assert_allclose(comparable_spread(pd.DataFrame({'p': [1.0], 'q': [5.0]})), [2])  # OOF: no folds
    assert comparable_spread(members[['p/fold_0', 'p/fold_1']]) is None
    assert np.isnan(spread(members[['p/fold_0']])).all()
