"""The errors to expect of new estimates, by distance, from out-of-fold rows. NumPy and pandas only."""

import numpy as np
import pandas as pd

from chimp_jax.ensemble.held_out import deal_sites
from chimp_jax.field.bins import CUTPOINTS_M, bin_names, bin_of, check_cutpoints
from chimp_jax.field.intervals import Intervals
from chimp_jax.field.out_of_fold import OutOfFold

MOST_GROUPS = 20  # of sites, in the check of the coverage


def expected_errors(oof: OutOfFold, intervals: Intervals, cutpoints_m=CUTPOINTS_M) -> pd.DataFrame:
    """Returns a row `all`, and a row for each band of the true distance that has labels.

    intervals: fitted on the rows. Columns: name; n; mae, bias (estimate - label) and half_width in metres, the last one
    the median distance from an estimate to the upper end of its interval; covered: the share of the labels inside
    intervals that were fitted without their site, NaN if there is one site.
    """
    error_m = oof.estimate_m - oof.label_m
    half_m = intervals.apply(oof.estimate_m, oof.spread_m)[1] - oof.estimate_m
    rows = pd.DataFrame({'error': error_m, 'half': half_m, 'inside': covered_without_site(oof, intervals.coverage)})
    names, band = bin_names(check_cutpoints(cutpoints_m)), bin_of(oof.label_m, cutpoints_m)
    lines = [_line('all', rows), *(_line(names[one], part) for one, part in rows.groupby(band))]
    return pd.DataFrame(lines)


def covered_without_site(oof: OutOfFold, coverage: float) -> np.ndarray:
    """Returns 1.0 for each row whose label is inside an interval fitted on other sites, else 0.0. NaN with one site.

    More than MOST_GROUPS sites are left out in groups.
    """
    inside = np.full(len(oof.label_m), np.nan)
    n_groups = min(MOST_GROUPS, len(set(oof.site)))
    if n_groups < 2:
        return inside
    group = deal_sites(oof.site, n_groups)
    for one in range(n_groups):
        there = group == one
        lower_m, upper_m = (
            _rows(oof, ~there)
            .fit_intervals(coverage)
            .apply(oof.estimate_m[there], None if oof.spread_m is None else oof.spread_m[there])
        )
        inside[there] = (lower_m <= oof.label_m[there]) & (oof.label_m[there] <= upper_m)
    return inside


def constant_mae(label_m: np.ndarray, fold: np.ndarray) -> float:
    """Returns the mean absolute error, in metres, of one constant per fold: the median of the labels outside the fold.

    label_m, fold: [n] of the rows. What a member must beat: it has seen the same labels.
    """
    constant_m = np.array([np.median(label_m[fold != one]) for one in fold])
    return float(np.abs(label_m - constant_m).mean())


def _rows(oof: OutOfFold, chosen: np.ndarray) -> OutOfFold:
    arrays = {name: value[chosen] for name, value in oof._asdict().items() if isinstance(value, np.ndarray)}
    return oof._replace(**arrays)


def _line(name: str, rows: pd.DataFrame) -> dict:
    return {
        'name': name,
        'n': len(rows),
        'mae': rows['error'].abs().mean(),
        'bias': rows['error'].mean(),
        'half_width': rows['half'].median(),
        'covered': rows['inside'].mean(),
    }
