"""The paired bootstrap, by hand where its draws can be counted, and its coverage on made differences."""

import numpy as np
import pytest
from scipy import stats

from chimp_jax.ensemble.paired import BETTER, UNCLEAR, WORSE, Difference, paired_difference


def test_two_sites_and_one_seed_by_hand():
    """One of two sites is drawn: the draws are the means of the sites, 1 and 3, equally often. Their deviation is 1."""
    found = paired_difference(np.array([[1.0, 1.0, 3.0, 3.0]]), np.array(['a', 'a', 'b', 'b']), n_draws=40_000)
    assert found.mean == 2.0
    half = np.tan(np.pi * 0.475)  # Student's t with one degree of freedom is Cauchy's distribution: 12.7
    assert found.upper - 2.0 == pytest.approx(half, rel=0.02)
    assert found.mean - found.lower == pytest.approx(found.upper - found.mean)


def test_three_sites_have_the_known_variance_of_a_mean():
    """Equally many rows: the variance of a mean of three sites is s^2 / 3. s^2 of 0, 3, 6 is 9; freedom 2 -> 4.303."""
    found = paired_difference(np.array([[0.0, 3.0, 6.0]]), np.arange(3), n_draws=100_000)
    assert found.upper - found.mean == pytest.approx(4.303 * np.sqrt(9 / 3), rel=0.02)


def test_two_seeds_have_the_known_variance_of_a_mean():
    """Sites are equal, seeds differ by 2: the variance is s^2 / 2 = 1, with one degree of freedom."""
    found = paired_difference(np.array([[1.0] * 5, [3.0] * 5]), np.arange(5), n_draws=40_000)
    assert found.upper - found.mean == pytest.approx(np.tan(np.pi * 0.475), rel=0.02)


def test_rows_of_a_site_count_once():
    """Copies of the rows within their sites are no new evidence: mean and interval stay."""
    difference, site = np.array([[0.0, 1.0, 5.0, 2.0], [1.0, 1.0, 4.0, 3.0]]), np.array([0, 1, 1, 2])
    once = paired_difference(difference, site)
    often = paired_difference(np.tile(difference, 50), np.tile(site, 50))
    np.testing.assert_allclose(often, once, rtol=1e-9)


def test_interval_covers_a_known_difference_and_one_over_rows_does_not():
    """Made rows: 0.3, plus a part of the site (deviation 1), of the seed (0.3) and of the row (1). 30 sites, 3 seeds.

    Of 400 intervals about 380 must contain 0.3; the deviation of that number is 4.4. Each row a site of its own is the
    mistake that the bootstrap is for.
    """
    random, hits, hits_of_rows = np.random.default_rng(1), 0, 0
    for _ in range(400):
        site = np.repeat(np.arange(30), random.integers(5, 25, 30))
        of_site, of_seed = random.normal(0, 1, 30), random.normal(0, 0.3, (3, 1))
        made = 0.3 + of_site[site] + of_seed + random.normal(0, 1, (3, len(site)))
        found = paired_difference(made, site, n_draws=300)
        hits += found.lower <= 0.3 <= found.upper
        half = 1.96 * made.mean(0).std() / np.sqrt(len(site))  # as if rows were independent
        hits_of_rows += abs(made.mean() - 0.3) <= half
    assert 0.92 <= hits / 400 <= 0.98
    assert hits_of_rows / 400 < 0.6


def test_half_as_many_false_verdicts_as_the_interval_misses_on_each_side():
    """Without any effect, 5 % of the verdicts are wrong; the others say so."""
    random, verdicts = np.random.default_rng(2), []
    for _ in range(400):
        made = random.normal(0, 1, 20)[None] + random.normal(0, 0.2, (2, 20))
        verdicts.append(paired_difference(made, np.arange(20), n_draws=300).verdict())
    wrong = np.mean([verdict != UNCLEAR for verdict in verdicts])
    assert 0.01 <= wrong <= stats.binom.ppf(0.999, 400, 0.05) / 400
    assert {BETTER, WORSE} <= set(verdicts)


def test_verdicts():
    assert Difference(-1.0, -2.0, -0.1).verdict() == BETTER
    assert Difference(1.0, 0.1, 2.0).verdict() == WORSE
    assert Difference(1.0, -0.1, 2.0).verdict() == UNCLEAR
    assert Difference(1.0, np.nan, np.nan).verdict() == UNCLEAR


def test_one_site_has_no_interval_and_bad_arguments_are_refused():
    found = paired_difference(np.ones((2, 3)), np.zeros(3))
    assert found.mean == 1.0 and np.isnan([found.lower, found.upper]).all()
    with pytest.raises(ValueError, match='not finite'):
        paired_difference(np.array([[1.0, np.nan]]), np.arange(2))
    with pytest.raises(ValueError, match='do not fit'):
        paired_difference(np.ones((1, 3)), np.arange(2))
    with pytest.raises(ValueError, match='do not fit'):
        paired_difference(np.ones((0, 0)), np.arange(0))
