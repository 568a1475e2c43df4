"""Prediction intervals: conformal on out-of-fold (OOF) residuals, grouped by site. Pure NumPy, SciPy and pandas.

An OOF residual comes from a member that never saw the row's clip and, with folds by site, never its site: it is what
the members err by at a new site. Rows of one site err alike, so sites are exchangeable, not rows. With K sites, each
weighs 1 / (K + 1), split evenly among its rows, and the new site the last 1 / (K + 1), at infinity: the weighted
quantile of the scores then covers a random row of a new site with at least the coverage asked for (Dunn, Wasserman &
Ramdas 2022, "Distribution-free prediction sets for two-layer hierarchical models"; Lee, Barber & Willett 2023,
"Distribution-free inference with hierarchical data"). The promise is an average over sites and rows: a single site, or
the far distances alone, may be covered less.

Score of a row: |label - estimate| / scale, scale = constant + per_estimate * estimate + per_spread * spread, since
errors grow with distance (Henrich et al. 2023). The scale is a least-squares fit of |residual| with coefficients >= 0,
where sites weigh alike. Two-sided signed residuals gave wider intervals on the demo that cover more than asked
(`python -m bench.demo_alternatives`), since each side pays for the last 1 / (K + 1) of its own. The scale is fitted on
the rows that are ranked afterwards; three coefficients of many rows move the coverage less than
tests/test_intervals.py can show.
"""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
from scipy.optimize import nnls

NO_OOF = (
    'no intervals: the members keep no out-of-fold predictions (RECIPE/fold_K/oof.csv), which say how far they err '
    'on clips that they never saw; train.py writes them'
)
_LEAST_SCALE = 0.1  # of the mean absolute residual: an estimate of 0 m still has an error
_ROUNDING = 1e-9  # sums of weights are not exact


class NoOutOfFold(ValueError):
    """There is nothing to fit intervals on; the text is the reason, for people."""


@dataclasses.dataclass(frozen=True)
class Intervals:
    """What turns an estimate into an interval; metres. Made by fit_intervals."""

    coverage: float  # asked for, 0..1
    quantile: float  # of the scores: half an interval's width is quantile * scale
    constant_m: float
    per_estimate: float
    per_spread: float | None  # None: fitted without spread (one recipe)
    least_scale_m: float
    n_rows: int
    n_sites: int
    note: str  # what a reader must know beside the coverage; '' where there is nothing

    def apply(self, estimate_m, spread_m=None) -> tuple[np.ndarray, np.ndarray]:
        """estimate_m [n], spread_m [n] as from comparable_spread -> lower [n], upper [n], metres.

        0 <= lower <= estimate <= upper; NaN where the estimate is. Raises ValueError for negative or infinite input,
        or where a spread is missing that the fit had.
        """
        estimate_m = np.asarray(estimate_m, float)
        known = ~np.isnan(estimate_m)
        _refuse_bad('estimate', estimate_m[known])
        if self.per_spread is not None:
            spread_m = _same_shape('spread', spread_m, estimate_m)
            _refuse_bad('spread', spread_m[known])
        half_m = self.quantile * self._scale(estimate_m, spread_m)
        return np.maximum(estimate_m - half_m, 0), estimate_m + half_m

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> 'Intervals':
        """Raises ValueError where the text is not what to_json writes."""
        try:
            values = json.loads(text)
            intervals = cls(**values)
            numbers = [v for k, v in values.items() if k != 'note' and not (k == 'per_spread' and v is None)]
            good = all(math.isfinite(number) and number >= 0 for number in numbers) and 0 < intervals.coverage < 1
        except (TypeError, ValueError) as error:
            raise ValueError(f'these are no intervals of this project: {error}') from None
        if not good:
            raise ValueError('these are no intervals of this project: a number is negative, not finite or out of range')
        return intervals

    def _scale(self, estimate_m: np.ndarray, spread_m: np.ndarray | None) -> np.ndarray:
        scale_m = self.constant_m + self.per_estimate * estimate_m
        if self.per_spread is not None:
            scale_m = scale_m + self.per_spread * spread_m
        return np.maximum(scale_m, self.least_scale_m)


def fit_intervals(estimate_m, label_m, spread_m, site, coverage: float, folds: str = 'site') -> Intervals:
    """Intervals from OOF rows.

    estimate_m [n]: the ensemble's OOF distance, clamped at 0; label_m [n]; spread_m [n] from comparable_spread of the
    OOF table, or None with one recipe; site [n] str, none empty (see site_groups); folds: how they were dealt, 'site'
    or 'clip'. Where coverage is above K / (K + 1) no quantile of K sites reaches it: the largest score serves, and the
    note says so.

    Raises NoOutOfFold without rows, ValueError for other bad arguments.
    """
    if not 0 < coverage < 1:
        raise ValueError(f'the coverage {coverage} must be above 0 and below 1, e.g. 0.9')
    estimate_m = np.asarray(estimate_m, float)
    if not estimate_m.size:
        raise NoOutOfFold(NO_OOF)
    label_m = _same_shape('label', label_m, estimate_m)
    site = _same_shape('site', site, estimate_m, str)
    if (site == '').any():
        raise ValueError(f'{np.count_nonzero(site == "")} OOF rows have no site; use site_groups')
    parts = {'estimate': estimate_m, 'label': label_m}
    if spread_m is not None:
        spread_m = parts['spread'] = _same_shape('spread', spread_m, estimate_m)
    for name, values in parts.items():
        _refuse_bad(f'OOF {name}', values)
    weight = site_weights(site)
    residual_m = np.abs(label_m - estimate_m)
    columns = [np.ones_like(estimate_m), estimate_m] + ([] if spread_m is None else [spread_m])
    root = np.sqrt(weight)
    coefficients = nnls(np.stack(columns, axis=1) * root[:, None], residual_m * root)[0].tolist()
    mean_m = float(weight @ residual_m / weight.sum())
    n_sites = len(np.unique(site))
    fit = Intervals(
        coverage=float(coverage),
        quantile=0.0,
        constant_m=coefficients[0],
        per_estimate=coefficients[1],
        per_spread=None if spread_m is None else coefficients[2],
        least_scale_m=max(_LEAST_SCALE * mean_m, 1e-6),  # members without any error still divide by something
        n_rows=len(estimate_m),
        n_sites=n_sites,
        note=_note(coverage, n_sites, folds),
    )
    return dataclasses.replace(
        fit, quantile=weighted_quantile(residual_m / fit._scale(estimate_m, spread_m), weight, coverage)
    )


def site_weights(site: np.ndarray) -> np.ndarray:
    """site [n] -> [n]: each of K sites weighs 1 / (K + 1), split evenly among its rows; the new site has the rest."""
    _, index, counts = np.unique(np.asarray(site, str), return_inverse=True, return_counts=True)
    return 1 / counts[index] / (len(counts) + 1)


def weighted_quantile(score: np.ndarray, weight: np.ndarray, level: float) -> float:
    """The least score [n] at or below which the weights [n] sum to `level`; the largest where they never do."""
    order = np.argsort(score, kind='stable')
    place = np.searchsorted(np.cumsum(weight[order]), level - _ROUNDING)
    return float(score[order][min(place, len(score) - 1)])


def site_groups(video_id, site) -> np.ndarray:
    """video_id [n], site [n], '' where unknown -> the group of each row: a clip without a site is one of its own."""
    return np.array([f'site {s}' if s else f'clip {c}' for c, s in zip(video_id, site, strict=True)], str)


def spread(members: pd.DataFrame) -> np.ndarray:
    """[rows, members] metres -> [rows]: the standard deviation (ddof 0) over all members; NaN with one member."""
    if members.shape[1] < 2:
        return np.full(len(members), np.nan)
    return members.to_numpy(float).std(axis=1)


def comparable_spread(members: pd.DataFrame) -> np.ndarray | None:
    """[rows, members] -> [rows]: the standard deviation (ddof 0) over the recipes of a fold, averaged over the folds.

    Columns are named RECIPE/fold_K; a column without /fold_K counts to one common fold, so that the OOF table
    [rows, recipes] of chimp_jax.members.read_oof gives its spread too. An OOF row has the value of one fold for each
    recipe: this is the spread that means the same on both. (Its average over folds varies less than one fold's.)
    None where no fold has two recipes: there is nothing to scale by.
    """
    fold_of = [name.rpartition('/fold_')[2] if '/fold_' in name else '' for name in members.columns]
    folds = [members.loc[:, [fold == one for fold in fold_of]] for one in sorted(set(fold_of))]
    deviations = [fold.to_numpy(float).std(axis=1) for fold in folds if fold.shape[1] > 1]
    return np.mean(deviations, axis=0) if deviations else None


def _note(coverage: float, n_sites: int, folds: str) -> str:
    if folds not in ('site', 'clip'):
        raise ValueError(f'folds are by site or by clip, not {folds!r}')
    notes = []
    if n_sites / (n_sites + 1) < coverage - _ROUNDING:
        needed = math.ceil(coverage / (1 - coverage) - _ROUNDING)
        notes.append(
            f'{n_sites} sites cannot promise a coverage of {coverage:g} (it takes {needed}): the intervals reach as '
            'far as the largest error that was seen'
        )
    if folds == 'clip':
        notes.append(
            'the folds were dealt by clip: members knew the sites of the out-of-fold rows, and err more at new sites '
            'than these intervals say; train with --config.data.folds=site'
        )
    return '; '.join(notes)


def _same_shape(name: str, values, like: np.ndarray, dtype=float) -> np.ndarray:
    array = None if values is None else np.asarray(values, dtype)
    if array is None or array.shape != like.shape or array.ndim != 1:
        raise ValueError(f'{name}: need one value for each of {like.shape} estimates, got {np.shape(values)}')
    return array


def _refuse_bad(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise ValueError(f'{name}: {values[bad][0]:g} m is no distance ({np.count_nonzero(bad)} such rows)')
