"""Prediction intervals: conformal on out-of-fold (OOF) residuals, grouped by site. Pure NumPy, SciPy and pandas.

The member that predicts an OOF row was not trained on the row's clip and, with folds by site, not on its site. OOF
residuals are therefore the errors to expect at a new site. The errors of one site resemble each other, so sites are
exchangeable and rows are not. With K sites, each site has the weight 1 / (K + 1), split evenly among its rows. The new
site has the last 1 / (K + 1), at infinity. The weighted quantile of the scores then covers a random row of a new site
with at least the requested coverage (Dunn, Wasserman & Ramdas 2022, "Distribution-free prediction sets for two-layer
hierarchical models"; Lee, Barber & Willett 2023, "Distribution-free inference with hierarchical data"). This holds on
average over sites and rows. A single site, or the far distances alone, may be covered less.

Score of a row: |label - estimate| / scale, with scale = constant + per_estimate * estimate + per_spread * spread,
because errors grow with distance (Henrich et al. 2023). The scale is a least-squares fit of |residual| with
coefficients >= 0 and equal weights of the sites. Two-sided signed residuals gave wider intervals on the demo, which
cover more than requested (`python -m bench.demo_alternatives`): each side pays for its own last 1 / (K + 1). The scale
is fitted on the rows that are ranked afterwards. Three coefficients for many rows change the coverage less than
tests/chimp_jax/field/test_intervals.py can show.
"""

import dataclasses
import math

import numpy as np
import pandas as pd
import scipy

NO_INTERVALS = (
    'the members have no out-of-fold predictions (oof.csv of every fold; imported weights have none), so there are no '
    'intervals; train all folds to get them'
)
MIXED = 'mixed'
FOLDS = ('site', 'clip', MIXED)  # how the clips were dealt to the folds; mixed: some recipes by site, others by clip
_LEAST_SCALE = 0.1  # of the mean absolute residual: an estimate of 0 m has an error too
_ROUNDING = 1e-9  # sums of weights are not exact


@dataclasses.dataclass(frozen=True)
class Intervals:
    """The map from an estimate to its interval, in metres. Made by fit_intervals."""

    coverage: float  # requested, 0..1
    quantile: float  # of the scores; half the width of an interval is quantile * scale
    constant_m: float
    per_estimate: float
    per_spread: float | None  # None: fitted without spread (one recipe)
    least_scale_m: float
    n_rows: int
    n_sites: int
    note: str  # a limit of the intervals that users must know, '' if there is none

    def apply(self, estimate_m, spread_m=None) -> tuple[np.ndarray, np.ndarray]:
        """estimate_m [n], spread_m [n] from comparable_spread -> lower [n], upper [n], metres.

        0 <= lower <= estimate <= upper; NaN if the estimate is NaN. Raises ValueError for negative or infinite input,
        or if the fit had a spread and spread_m is None.
        """
        estimate_m = np.asarray(estimate_m, float)
        known = ~np.isnan(estimate_m)
        _refuse_bad('estimate', estimate_m[known])
        if self.per_spread is not None:
            spread_m = _same_shape('spread', spread_m, estimate_m)
            _refuse_bad('spread', spread_m[known])
        half_m = self.quantile * self._scale(estimate_m, spread_m)
        return np.maximum(estimate_m - half_m, 0), estimate_m + half_m

    def _scale(self, estimate_m: np.ndarray, spread_m: np.ndarray | None) -> np.ndarray:
        scale_m = self.constant_m + self.per_estimate * estimate_m
        if self.per_spread is not None:
            scale_m = scale_m + self.per_spread * spread_m
        return np.maximum(scale_m, self.least_scale_m)


def fit_intervals(estimate_m, label_m, spread_m, site, coverage: float, folds: str = 'site') -> Intervals:
    """Fits intervals on OOF rows.

    estimate_m [n]: the ensemble's OOF distance, >= 0; label_m [n]; spread_m [n]: comparable_spread of the OOF table,
    None with one recipe; site [n] str, not empty (see site_groups); folds: one of FOLDS. If coverage is above
    K / (K + 1), no quantile of K sites reaches it. Then the largest score is used, and the note tells it.

    Raises ValueError without rows and for other bad arguments.
    """
    if not 0 < coverage < 1:
        raise ValueError(f'the coverage {coverage} must be above 0 and below 1, such as 0.9')
    estimate_m = np.asarray(estimate_m, float)
    if not estimate_m.size:
        raise ValueError('intervals need out-of-fold rows, and there are none')
    label_m = _same_shape('label', label_m, estimate_m)
    site = _same_shape('site', site, estimate_m, str)
    if (site == '').any():
        raise ValueError(f'{np.count_nonzero(site == "")} OOF rows have no site; make the groups with site_groups')
    parts = {'estimate': estimate_m, 'label': label_m}
    if spread_m is not None:
        spread_m = parts['spread'] = _same_shape('spread', spread_m, estimate_m)
    for name, values in parts.items():
        _refuse_bad(f'OOF {name}', values)
    weight = site_weights(site)
    residual_m = np.abs(label_m - estimate_m)
    columns = [np.ones_like(estimate_m), estimate_m] + ([] if spread_m is None else [spread_m])
    root = np.sqrt(weight)
    coefficients = scipy.optimize.nnls(np.stack(columns, axis=1) * root[:, None], residual_m * root)[0].tolist()
    mean_m = float(weight @ residual_m / weight.sum())
    n_sites = len(np.unique(site))
    fit = Intervals(
        coverage=float(coverage),
        quantile=0.0,
        constant_m=coefficients[0],
        per_estimate=coefficients[1],
        per_spread=None if spread_m is None else coefficients[2],
        least_scale_m=max(_LEAST_SCALE * mean_m, 1e-6),  # not 0, even if the members make no error
        n_rows=len(estimate_m),
        n_sites=n_sites,
        note=_note(coverage, n_sites, folds),
    )
    return dataclasses.replace(
        fit, quantile=weighted_quantile(residual_m / fit._scale(estimate_m, spread_m), weight, coverage)
    )


def site_weights(site: np.ndarray) -> np.ndarray:
    """site [n] -> weights [n]: 1 / (K + 1) for each of K sites, split evenly among its rows."""
    _, index, counts = np.unique(np.asarray(site, str), return_inverse=True, return_counts=True)
    return 1 / counts[index] / (len(counts) + 1)


def weighted_quantile(score: np.ndarray, weight: np.ndarray, level: float) -> float:
    """Returns the smallest score at which the weights of the scores up to it reach `level`, else the largest score.

    score, weight: [n].
    """
    order = np.argsort(score, kind='stable')
    place = np.searchsorted(np.cumsum(weight[order]), level - _ROUNDING)
    return float(score[order][min(place, len(score) - 1)])


def site_groups(video_id, site) -> np.ndarray:
    """video_id [n], site [n] ('' if unknown) -> the group of each row. A clip without a site is a group of its own."""
    return np.array([f'site {s}' if s else f'clip {c}' for c, s in zip(video_id, site, strict=True)], str)


def spread(members: pd.DataFrame) -> np.ndarray:
    """[rows, members] metres -> [rows]: the standard deviation (ddof 0) over all members; NaN with one member."""
    if members.shape[1] < 2:
        return np.full(len(members), np.nan)
    return members.to_numpy(float).std(axis=1)


def comparable_spread(members: pd.DataFrame) -> np.ndarray | None:
    """[rows, members] -> [rows]: the standard deviation (ddof 0) over the recipes of a fold, averaged over the folds.

    Columns are named RECIPE/fold_K. Columns without /fold_K form one fold, so the OOF table [rows, recipes] of
    chimp_jax.members.read_oof can be given too. In an OOF row each recipe has the prediction of one fold, so this
    spread can be compared between OOF rows and new rows. (The average over folds varies less than one fold's spread.)
    Returns None if no fold has two recipes.
    """
    fold_of = [name.rpartition('/fold_')[2] if '/fold_' in name else '' for name in members.columns]
    folds = [members.loc[:, [fold == one for fold in fold_of]] for one in sorted(set(fold_of))]
    deviations = [fold.to_numpy(float).std(axis=1) for fold in folds if fold.shape[1] > 1]
    return np.mean(deviations, axis=0) if deviations else None


def _note(coverage: float, n_sites: int, folds: str) -> str:
    if folds not in FOLDS:
        raise ValueError(f'folds must be one of {", ".join(FOLDS)}, not {folds!r}')
    notes = []
    if n_sites / (n_sites + 1) < coverage - _ROUNDING:
        needed = math.ceil(coverage / (1 - coverage) - _ROUNDING)
        notes.append(
            f'{n_sites} sites are too few to guarantee a coverage of {coverage:g} ({needed} are needed): the intervals '
            'reach as far as the largest error in the out-of-fold predictions'
        )
    if folds != 'site':
        which = 'all recipes were' if folds == 'clip' else 'some recipes were'
        notes.append(
            f'{which} trained with folds by clip: their members knew the sites of the out-of-fold rows, so these rows '
            'are optimistic and errors at new sites are larger than the intervals; train with --config.data.folds=site'
        )
    return '; '.join(notes)


def _same_shape(name: str, values, like: np.ndarray, dtype=float) -> np.ndarray:
    array = None if values is None else np.asarray(values, dtype)
    if array is None or array.shape != like.shape or array.ndim != 1:
        raise ValueError(f'{name} must have one value for each of {like.shape} estimates, got {np.shape(values)}')
    return array


def _refuse_bad(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise ValueError(f'{name}: {values[bad][0]:g} m is not a distance ({np.count_nonzero(bad)} such rows)')
