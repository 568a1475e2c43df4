"""Draws of the true distance behind an estimate, against distributions that are known by formula."""

import itertools

import numpy as np
import pytest

from chimp_jax.field.true_distance import (
    LabelledEstimates,
    check_enough,
    fit_for_survey,
    fit_true_distance,
    from_scale,
    redraw,
    to_scale,
)

N = 6000


def joint(random, n=N, correlation=0.8, mean=1.6, sd=0.5, shrunk=0.4):
    """(estimates, labels) in metres, bivariate normal on the scale of the fit; estimates shrink to the middle."""
    a, b = random.standard_normal((2, n))
    y = mean + sd * a
    x = mean + shrunk * (correlation * a + np.sqrt(1 - correlation**2) * b)
    return from_scale(x), from_scale(y)


@pytest.fixture(scope='module')
def rows():
    estimate_m, label_m = joint(np.random.default_rng(0))
    return LabelledEstimates(estimate_m, label_m, np.arange(N) % 40)


@pytest.mark.parametrize('at', [1.3, 1.6, 2.0])
@pytest.mark.parametrize(('level', 'score'), [(0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816)])
def test_quantiles_are_those_of_the_conditional_normal_distribution(rows, at, level, score):
    # y given x: mean + r * sd / shrunk * (x - mean), standard deviation sd * sqrt(1 - r^2)
    expected = 1.6 + 0.8 * 0.5 / 0.4 * (at - 1.6) + score * 0.5 * 0.6
    found = fit_true_distance(*rows).at(from_scale(np.array([at])), np.array([level]))
    assert to_scale(found) == pytest.approx(expected, abs=0.06)


def test_draws_have_the_distribution_of_the_labels_and_not_that_of_the_estimates(rows):
    fit = fit_true_distance(*rows)
    drawn_m = fit.draw(rows.estimate_m, rows.site, np.random.default_rng(1))
    levels = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(drawn_m, levels), np.quantile(rows.label_m, levels), rtol=0.05, atol=0.05)
    assert np.abs(np.quantile(rows.estimate_m, levels) / np.quantile(rows.label_m, levels) - 1).max() > 0.15
    assert np.corrcoef(to_scale(drawn_m), to_scale(rows.estimate_m))[0, 1] == pytest.approx(0.8, abs=0.03)


def test_labels_of_binned_distances_are_drawn_as_they_are():
    random = np.random.default_rng(2)
    label_m = random.choice([2.0, 4.0, 8.0], 3000)
    fit = fit_true_distance(np.full(3000, 4.0), label_m, np.arange(3000) % 20)  # the estimates tell nothing
    drawn_m = fit.draw(np.full(3000, 4.0), np.arange(3000), random)
    share = [np.mean(np.abs(drawn_m - one) < 0.2) for one in (2.0, 4.0, 8.0)]
    assert share == pytest.approx([1 / 3] * 3, abs=0.04)


def test_errors_of_a_site_resemble_each_other_and_so_do_the_draws():
    random = np.random.default_rng(3)
    site = np.repeat(np.arange(200), 30)
    x = 1.6 + 0.4 * random.standard_normal(len(site))
    error = np.sqrt(0.4) * random.standard_normal(200)[site] + np.sqrt(0.6) * random.standard_normal(len(site))
    fit = fit_true_distance(from_scale(x), from_scale(x + 0.2 * error), site)
    assert fit.site_correlation == pytest.approx(0.4, abs=0.06)
    drawn = to_scale(fit.draw(np.full(len(site), 4.0), site, random))
    means = np.array([drawn[site == one].mean() for one in range(200)])
    # the variance of a mean of 30: (correlation + (1 - correlation) / 30) of that of a draw
    assert means.var() / drawn.var() == pytest.approx(0.4 + 0.6 / 30, abs=0.09)


def test_independent_errors_have_no_correlation_of_sites(rows):
    assert fit_true_distance(*rows).site_correlation < 0.02


def test_a_survey_with_other_distances_than_the_labels(rows):
    random = np.random.default_rng(4)
    farther = random.random(N) < np.clip(rows.label_m / 8, 0, 1) ** 2  # far animals are more frequent in the survey
    estimate_m, true_m = rows.estimate_m[farther], rows.label_m[farther]
    station = np.arange(len(estimate_m))

    def error_m(fit):
        return fit.draw(estimate_m, station, np.random.default_rng(5)).mean() - true_m.mean()

    plain, weighted = error_m(fit_true_distance(*rows)), error_m(fit_for_survey(rows, estimate_m))
    assert plain < -0.4 and abs(weighted) < 0.5 * abs(plain)


def test_redraws_are_repeatable_differ_and_begin_alike_whatever_their_number(rows):
    some = LabelledEstimates(*(array[:800] for array in rows))
    station = some.site[:50]
    three = list(redraw(some, some.estimate_m[:50], station, 3, seed=7))
    five = list(redraw(some, some.estimate_m[:50], station, 5, seed=7))
    np.testing.assert_array_equal(three, five[:3])
    assert all((a != b).any() for a, b in itertools.combinations(five, 2))
    assert (np.array(five) >= 0).all()
    assert [len(one) for one in redraw(some, some.estimate_m[:0], station[:0], 2, seed=7)] == [0, 0]


@pytest.mark.parametrize(('n', 'n_sites', 'told'), [(99, 20, '99 out-of-fold rows of 20 sites'), (300, 4, '4 sites')])
def test_too_few_rows_or_sites_are_refused(rows, n, n_sites, told):
    few = LabelledEstimates(rows.estimate_m[:n], rows.label_m[:n], np.arange(n) % n_sites)
    with pytest.raises(ValueError, match=f'{told}.* are too few .*; 100 rows of 5 sites are needed;'):
        check_enough(few)
