"""Corrects distances at held-out sites from a few labels, in three ways: a line, a factor, the product's correction.

The line is the correction that the product had before: offset and slope of a linear mixed model (Laird & Ware 1982),
with the variances fitted by maximum likelihood. The factor is a ridge estimate on the log ratio of label and estimate.
The hyperparameters of each way come from the sites of the other folds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from chimp_jax.stations.correction import ErrorModel, fit_correction

DRAWS = 20  # of the known labels of a site
LEAST_TEST_CLIPS = 5  # of a site, besides the clips of the known labels
WAYS = ('before', 'line', 'factor', 'new')
_SEED = 18
_LEAST_M = 0.5  # of label and estimate in a ratio; labels are multiples of 0.5 m
RIDGES = np.array([0.5, 1, 2, 3, 5, 8, 12, 20, 30, 50, 100])  # of the factor: (noise / spread of the sites) ** 2
_LEAST_SLOPE = -0.9  # the line never reverses the order of distances


class Rows(NamedTuple):
    """Rows with a box, arrays [n]: out-of-fold estimate and label in metres, foot [n, 2] in shares of the picture."""

    estimate_m: np.ndarray
    label_m: np.ndarray
    foot: np.ndarray
    site: np.ndarray
    clip: np.ndarray
    fold: np.ndarray


class Draw(NamedTuple):
    """Known and tested rows of a site: indices."""

    site: str
    fold: int
    known: np.ndarray  # [k], one row from each of k clips
    test: np.ndarray  # all rows of the other clips


class Line(NamedTuple):
    """The mixed model of the line: standard deviations of noise, offset (m) and slope, and the centre."""

    centre_m: float
    noise_m: float
    offset_m: float
    slope: float


def draw_known(rows: Rows, k: int) -> list[Draw]:
    """Returns DRAWS random choices for each site with at least k + LEAST_TEST_CLIPS clips. The seed is fixed."""
    draw, found = np.random.default_rng([_SEED, k]), []
    for site in np.unique(rows.site):
        here = np.flatnonzero(rows.site == site)
        clips = np.unique(rows.clip[here])
        if len(clips) < k + LEAST_TEST_CLIPS:
            continue
        for _ in range(DRAWS):
            chosen = draw.choice(clips, k, replace=False)
            known = [draw.choice(here[rows.clip[here] == clip]) for clip in chosen]
            test = here[~np.isin(rows.clip[here], chosen)]
            found.append(Draw(str(site), int(rows.fold[here[0]]), np.array(known), test))
    return found


def measure_corrections(rows: Rows, known: Sequence[int], models: Mapping[int, ErrorModel]) -> dict[int, dict]:
    """Returns {k: errors with k known labels}; None in place of a mean over no sites.

    models: {fold: the ErrorModel from the rows of other folds}. Keys of the errors: sites; before_m, line_m, factor_m,
    new_m (mean of the sites' MAE, metres); rows_before_m and so on (a site weighs by its test rows); gain_ratio (gain
    of the new correction over gain of the factor, from the means of the sites) and gain_ratio_90, its 90 % bootstrap
    interval over sites. The ratio is None if the factor gains nothing, an end of the interval if it may gain nothing.
    """
    draws = {k: draw_known(rows, k) for k in known}
    lines = {fold: fit_line(*_of_other_folds(rows, fold)) for fold in models}
    ridges = choose_ridges(rows, [draw for of_k in draws.values() for draw in of_k], models)
    return {k: _summary(rows, of_k, lines, ridges, models) for k, of_k in draws.items()}


def _summary(rows: Rows, draws: list[Draw], lines, ridges, models) -> dict:
    if not draws:
        empty = {f'{part}{way}_m': None for part in ('', 'rows_') for way in WAYS}
        return {'sites': 0, **empty, 'gain_ratio': None, 'gain_ratio_90': [None, None]}
    errors = np.array([_errors(rows, draw, lines, ridges, models) for draw in draws])
    sites, of_site = np.unique([draw.site for draw in draws], return_inverse=True)
    by_site = np.stack([errors[of_site == i].mean(axis=0) for i in range(len(sites))])
    weight = np.array([len(draw.test) for draw in draws])
    means = {f'{way}_m': float(value) for way, value in zip(WAYS, by_site.mean(axis=0), strict=True)}
    by_rows = np.average(errors, axis=0, weights=weight)
    means |= {f'rows_{way}_m': float(value) for way, value in zip(WAYS, by_rows, strict=True)}
    return {'sites': len(sites)} | means | gain_ratio(by_site)


def fit_line(estimate_m: np.ndarray, label_m: np.ndarray, site: np.ndarray) -> Line:
    """Fits the line's mixed model by maximum likelihood."""
    centre_m = float(np.median(label_m))
    sums = [_sums(estimate_m[site == name], label_m[site == name], centre_m) for name in np.unique(site)]
    noise_m = max(float(np.std(label_m - estimate_m)), 1e-3)
    start = np.log([noise_m, noise_m / 2, 0.2])
    found = minimize(_line_loss, start, args=tuple(map(np.array, zip(*sums, strict=True))), method='Nelder-Mead')
    return Line(centre_m, *np.exp(np.maximum(found.x, np.log(1e-3))).tolist())


def correct_by_line(line: Line, estimate_m: np.ndarray, label_m: np.ndarray, test_m: np.ndarray) -> np.ndarray:
    """Returns the test estimates [n], corrected by the posterior line of known estimates and labels [k], metres."""
    xx, xr, _, _ = _sums(estimate_m, label_m, line.centre_m)
    ridge = (line.noise_m / np.array([line.offset_m, line.slope])) ** 2
    offset_m, slope = np.linalg.solve(xx + np.diag(ridge), xr)
    return np.maximum(test_m + offset_m + max(slope, _LEAST_SLOPE) * (test_m - line.centre_m), 0)


def log_factor(estimate_m: np.ndarray, label_m: np.ndarray, ridge) -> np.ndarray:
    """Returns the logarithm of the factor: the sum of the log ratios over k + ridge, for each ridge."""
    ratio = np.log(np.maximum(label_m, _LEAST_M) / np.maximum(estimate_m, _LEAST_M))
    return ratio.sum() / (len(ratio) + np.asarray(ridge, float))


def choose_ridges(rows: Rows, draws: list[Draw], folds: Iterable[int]) -> dict[int, float]:
    """Returns {fold: the ridge with the least mean error over the draws of other folds}.

    The ridge is chosen by the measure of the table itself, which favours the factor.
    """
    errors = np.zeros((len(draws), len(RIDGES)))
    for i, draw in enumerate(draws):
        factor = np.exp(log_factor(rows.estimate_m[draw.known], rows.label_m[draw.known], RIDGES))
        errors[i] = np.abs(factor[:, None] * rows.estimate_m[draw.test] - rows.label_m[draw.test]).mean(axis=1)
    of_draw = np.array([draw.fold for draw in draws])
    return {fold: float(RIDGES[errors[of_draw != fold].sum(axis=0).argmin()]) for fold in folds}


def _errors(rows: Rows, draw: Draw, lines, ridges, models) -> list[float]:
    known, test = draw.known, draw.test
    estimate_m, label_m, test_m = rows.estimate_m[known], rows.label_m[known], rows.estimate_m[test]
    new = fit_correction(estimate_m, label_m, rows.foot[known], models[draw.fold])
    corrected = (
        test_m,
        correct_by_line(lines[draw.fold], estimate_m, label_m, test_m),
        test_m * np.exp(log_factor(estimate_m, label_m, ridges[draw.fold])),
        new.apply(test_m, rows.foot[test]),
    )  # in the order of WAYS
    return [float(np.abs(found - rows.label_m[test]).mean()) for found in corrected]


def gain_ratio(by_site: np.ndarray) -> dict:
    """by_site [sites, WAYS], metres -> gain_ratio and gain_ratio_90 of measure_corrections."""
    resampled = np.random.default_rng(_SEED).integers(0, len(by_site), (2000, len(by_site)))
    means = np.concatenate([by_site.mean(axis=0, keepdims=True), by_site[resampled].mean(axis=1)])
    before, _, factor, new = means.T
    positive = factor < before
    ratio = np.where(positive, (before - new) / np.where(positive, before - factor, 1), np.inf)
    value, *ends = (float(r) if np.isfinite(r) else None for r in (ratio[0], *_quantiles(ratio[1:])))
    return {'gain_ratio': value, 'gain_ratio_90': ends}


def _quantiles(values: np.ndarray) -> list[float]:
    ordered = np.sort(values)
    return [ordered[int(level * (len(values) - 1))] for level in (0.05, 0.95)]


def _of_other_folds(rows: Rows, fold: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    others = rows.fold != fold
    return rows.estimate_m[others], rows.label_m[others], rows.site[others]


def _sums(estimate_m, label_m, centre_m: float) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Returns X'X [2, 2], X'r [2], r'r and n, with the residuals r of a site and X = (1, estimate - centre)."""
    x = np.stack([np.ones_like(estimate_m), estimate_m - centre_m], axis=1)
    residual_m = label_m - estimate_m
    return x.T @ x, x.T @ residual_m, float(residual_m @ residual_m), len(residual_m)


def _line_loss(log_deviations: np.ndarray, xx, xr, rr, n) -> float:
    """Returns -log likelihood of residuals ~ N(0, noise^2 I + X diag(spread^2) X'), up to a constant, by Woodbury.

    xx, xr, rr, n: _sums of all sites, each in one array [sites, ...].
    """
    noise, *spreads = np.exp(2 * np.maximum(log_deviations, np.log(1e-3)))
    a = np.diag(1 / np.array(spreads)) + xx / noise
    fitted = (xr * np.linalg.solve(a, xr[..., None])[..., 0]).sum(axis=1) / noise**2
    of_sites = n * np.log(noise) + np.log(spreads).sum() + np.linalg.slogdet(a)[1] + rr / noise - fitted
    return float(of_sites.sum() / 2)
