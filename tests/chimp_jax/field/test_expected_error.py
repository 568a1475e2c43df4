"""Errors by distance, the check of the coverage and the constant, by hand."""

import numpy as np
import pytest

from chimp_jax.field import expected_error
from chimp_jax.field.intervals import fit_intervals
from chimp_jax.field.out_of_fold import OutOfFold


def rows(estimate_m, label_m, site) -> OutOfFold:
    n = len(estimate_m)
    text = np.array(list(site), str)
    estimate_m, label_m = np.array(estimate_m, float), np.array(label_m, float)
    return OutOfFold(estimate_m, label_m, None, text, text, np.full((n, 2), np.nan), 'site')


def test_the_constant_is_the_median_of_the_other_folds():
    # Fold 0 gets the median of 4, 8, 9 = 8, fold 1 that of 1, 3 = 2: |1-8| + |3-8| + |4-2| + |8-2| + |9-2| = 27.
    label_m, fold = np.array([1.0, 3.0, 4.0, 8.0, 9.0]), np.array([0, 0, 1, 1, 1])
    assert expected_error.constant_mae(label_m, fold) == pytest.approx(27 / 5)


def test_errors_by_distance():
    oof = rows([1.5, 2.5, 5.0, 7.0], [1.0, 2.0, 6.0, 5.0], 'abcd')
    table = expected_error.expected_errors(oof, oof.fit_intervals(0.5), (0, 2, 4, 8)).set_index('name')
    assert list(table.index) == ['all', '0 to 2 m', '4 to 8 m']  # the bin of 0 to 2 m includes 2
    assert table['n'].tolist() == [4, 2, 2]
    assert table['mae'].tolist() == pytest.approx([1.0, 0.5, 1.5])
    assert table['bias'].tolist() == pytest.approx([0.5, 0.5, 0.5])
    upper_m = oof.fit_intervals(0.5).apply(oof.estimate_m)[1]
    assert table.loc['0 to 2 m', 'half_width'] == pytest.approx(np.median(upper_m[:2] - oof.estimate_m[:2]))


def test_a_label_is_covered_by_intervals_of_the_other_sites():
    """Site c has an error of 9 m, the others of 1 m: by themselves they cover each other, and not c."""
    estimate_m, label_m, site = [10.0] * 6, [11, 9, 11, 9, 19, 1], list('aabbcc')
    oof = rows(estimate_m, label_m, site)
    others = fit_intervals(estimate_m[:4], label_m[:4], None, np.array(site[:4]), 0.6)
    lower_m, upper_m = others.apply(np.array([10.0]))
    assert upper_m[0] == pytest.approx(11) and lower_m[0] == pytest.approx(9)
    assert expected_error.covered_without_site(oof, 0.6).tolist() == [1, 1, 1, 1, 0, 0]


def test_one_site_cannot_be_checked():
    assert np.isnan(expected_error.covered_without_site(rows([1, 2], [1, 3], 'aa'), 0.9)).all()


def test_many_sites_are_left_out_in_groups():
    rng = np.random.default_rng(0)
    label_m = rng.uniform(1, 20, 900)
    oof = rows(np.maximum(label_m + rng.normal(0, 1, 900), 0), label_m, [f's{i % 45}' for i in range(900)])
    inside = expected_error.covered_without_site(oof, 0.9)
    # The requested 90 %, and a binomial error of sqrt(0.9 * 0.1 / 900) = 1 %.
    assert 0.87 < inside.mean() < 0.95
