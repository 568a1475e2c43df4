"""The true distance behind an estimate: draws from P(true distance | estimate), fitted on out-of-fold rows. NumPy only.

Estimated distances shrink to the middle and scatter. A density that takes them as exact is biased and too sure. Noise
around the estimates would scatter them twice. The draws here come from the labels of out-of-fold rows with a similar
estimate. So they undo the shrinkage, and over many animals they have the distribution of the true distances, if the
animals of the survey are as far away as those of the out-of-fold rows (Little & Rubin 2019, ch. 10: multiple
imputation).

The model is on the scale log(distance + 0.5 m). At each estimate of a grid, a line is fitted to the labels of the
nearest rows by weighted least squares, with equal weights of the sites and less weight of far rows, and the quantiles
of the labels, moved along the line, are kept. The errors at one site resemble each other. So the quantiles that are
drawn for one station are correlated, as the ranks of the out-of-fold rows of one site are.

P(true distance | estimate) depends on how far away the animals are. So the rows are weighted by the ratio of the
survey's distances, as the draws give them, to those of the labels, and the fit is repeated. Each redraw resamples the
sites of the out-of-fold rows first: a fit on few sites is uncertain, and this enters the density, too.
`python -m bench.density_study` measures the bias and the coverage of densities from these draws.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

OFFSET_M = 0.5  # a distance of 0 m has a logarithm, too
LEAST_ROWS = 100  # fewer out-of-fold rows tell no distribution
LEAST_SITES = 5
_SHARE_OF_ROWS = 0.2  # of the rows, near a place of the grid
_GRID = 60  # places
_LEVELS = (np.arange(200) + 0.5) / 200  # of the quantiles
_BANDS = 8  # of the labels, equally many rows each, to compare the survey's distances with
_REPEATS = 2  # of the fit with weights
_MOST_WEIGHT = 5.0


class LabelledEstimates(NamedTuple):
    """Out-of-fold rows, [n] each."""

    estimate_m: np.ndarray
    label_m: np.ndarray
    site: np.ndarray


class TrueDistance(NamedTuple):
    """P(true distance | estimate), on the scale log(distance + OFFSET_M)."""

    grid: np.ndarray  # [G] estimates, ascending
    quantiles: np.ndarray  # [G, L] of the true distance at each place of the grid, at the levels _LEVELS
    site_correlation: float  # 0..1, of the normal scores of two rows of a site

    def draw(self, estimate_m: np.ndarray, station: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns a true distance in metres for each estimate [n]; station [n] tells whose errors resemble each other.

        An estimate outside of those of the fit is taken as the nearest one of them.
        """
        estimate_m = np.asarray(estimate_m, float)
        _, place = np.unique(np.asarray(station), return_inverse=True)
        shared = random.standard_normal(place.max(initial=-1) + 1)[place]
        own = random.standard_normal(len(estimate_m))
        score = np.sqrt(self.site_correlation) * shared + np.sqrt(1 - self.site_correlation) * own
        return self.at(estimate_m, ndtr(score))

    def at(self, estimate_m: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Returns the quantile of the true distance at level [n], 0..1, for each estimate [n], metres."""
        x = _place(to_scale(estimate_m), self.grid)
        y = _place(np.asarray(level, float), _LEVELS)
        (i, right), (j, upper) = x, y
        table = self.quantiles
        lower_row = table[i, j] * (1 - upper) + table[i, j + 1] * upper
        upper_row = table[i + 1, j] * (1 - upper) + table[i + 1, j + 1] * upper
        return from_scale(lower_row * (1 - right) + upper_row * right)


def redraw(
    oof: LabelledEstimates, estimate_m: np.ndarray, station: np.ndarray, n_redraws: int, seed: int
) -> Iterator[np.ndarray]:
    """Yields n_redraws times a true distance in metres for each estimate [n] of a survey. station [n]: of each one."""
    for number in range(n_redraws):
        random = np.random.default_rng([seed, number])
        yield fit_for_survey(_resampled(oof, random), estimate_m).draw(estimate_m, station, random)


def check_enough(oof: LabelledEstimates) -> None:
    """Raises ValueError if out-of-fold rows are too few to fit a distribution."""
    n_sites = len(np.unique(oof.site))
    if len(oof.label_m) < LEAST_ROWS or n_sites < LEAST_SITES:
        raise ValueError(
            f'{len(oof.label_m)} out-of-fold rows of {n_sites} sites are too few to know how true distances scatter '
            f'around estimates; {LEAST_ROWS} rows of {LEAST_SITES} sites are needed; label more clips and train again, '
            'or leave the redraws out'
        )


def count_outside(oof: LabelledEstimates, estimate_m: np.ndarray) -> int:
    """Returns how many estimates [n] are nearer or farther than all out-of-fold estimates.

    No row tells what these estimates stand for; their draws are those of the nearest row.
    """
    return int(np.sum((estimate_m < oof.estimate_m.min()) | (estimate_m > oof.estimate_m.max())))


def fit_for_survey(oof: LabelledEstimates, estimate_m: np.ndarray) -> TrueDistance:
    """Returns the fit on out-of-fold rows that are weighted like the distances of a survey with these estimates [n]."""
    fit = fit_true_distance(*oof)
    if not len(estimate_m):
        return fit
    edges = np.unique(np.quantile(oof.label_m, np.linspace(0, 1, _BANDS + 1)[1:-1]))
    band = np.searchsorted(edges, oof.label_m, side='right')
    of_labels = np.bincount(band, minlength=len(edges) + 1) / len(band)
    levels = (np.arange(_BANDS) + 0.5) / _BANDS
    repeated = np.repeat(estimate_m, len(levels))
    for _ in range(_REPEATS):
        draws_m = fit.at(repeated, np.tile(levels, len(estimate_m)))
        of_draws = np.bincount(np.searchsorted(edges, draws_m, side='right'), minlength=len(edges) + 1) / len(draws_m)
        ratio = np.divide(of_draws, of_labels, out=np.ones_like(of_labels), where=of_labels > 0)
        fit = fit_true_distance(*oof, np.clip(ratio, 1 / _MOST_WEIGHT, _MOST_WEIGHT)[band])
    return fit


def _resampled(oof: LabelledEstimates, random: np.random.Generator) -> LabelledEstimates:
    """Returns the rows of as many sites, drawn with replacement. A site that is drawn twice counts as two."""
    rows_of = [np.flatnonzero(oof.site == name) for name in np.unique(oof.site)]
    drawn = [rows_of[place] for place in random.integers(0, len(rows_of), len(rows_of))]
    chosen = np.concatenate(drawn)
    copies = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
    return LabelledEstimates(oof.estimate_m[chosen], oof.label_m[chosen], copies)


def to_scale(distance_m) -> np.ndarray:
    """Returns log(distance + OFFSET_M) of distances in metres."""
    return np.log(np.asarray(distance_m, float) + OFFSET_M)


def from_scale(value: np.ndarray) -> np.ndarray:
    """Returns distances in metres, 0 or more: the inverse of to_scale."""
    return np.maximum(np.exp(value) - OFFSET_M, 0)


def fit_true_distance(estimate_m, label_m, site, weight=None) -> TrueDistance:
    """Fits P(true distance | estimate) on out-of-fold rows.

    estimate_m, label_m [n] metres; site [n]. weight [n]: of the rows within the equal weights of the sites, to fit a
    population with other distances; None: equal.
    """
    x, y = to_scale(estimate_m), to_scale(label_m)
    _, place, counts = np.unique(np.asarray(site), return_inverse=True, return_counts=True)
    equal = 1 / counts[place] if weight is None else np.asarray(weight, float) / counts[place]
    grid = np.unique(np.quantile(x, np.linspace(0, 1, _GRID)))
    if len(grid) < 2:  # all estimates are equal
        grid = np.array([grid[0], grid[0] + 1e-6])
    quantiles = np.stack([_quantiles_at(one, x, y, equal) for one in grid])
    fit = TrueDistance(grid, quantiles, 0.0)
    return fit._replace(site_correlation=_site_correlation(fit, x, y, place))


def _quantiles_at(at: float, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the quantiles of y at x = `at`, from the nearest rows, moved along a line through them."""
    away = np.abs(x - at)
    near = max(int(_SHARE_OF_ROWS * len(x)), min(LEAST_ROWS, len(x)))
    radius = np.partition(away, near - 1)[near - 1]
    kernel = np.clip(1 - (away / (radius * 1.000001 + 1e-9)) ** 3, 0, None) ** 3 * weight
    chosen = kernel > 0
    w, dx, values = kernel[chosen] / kernel[chosen].sum(), x[chosen] - at, y[chosen]
    centre = w @ dx
    variance = w @ (dx - centre) ** 2
    slope = w @ ((dx - centre) * (values - w @ values)) / variance if variance > 1e-12 else 0.0
    moved = values - slope * dx
    order = np.argsort(moved, kind='stable')
    middle = np.cumsum(w[order]) - w[order] / 2
    return np.interp(_LEVELS, middle, moved[order])


def _site_correlation(fit: TrueDistance, x: np.ndarray, y: np.ndarray, place: np.ndarray) -> float:
    """Returns the intraclass correlation of the normal scores of the rows, by analysis of variance, 0..1."""
    score = ndtri(np.clip(_levels_of(fit, x, y), _LEVELS[0], _LEVELS[-1]))
    counts = np.bincount(place)
    means = np.bincount(place, score) / counts
    within = np.sum((score - means[place]) ** 2) / max(len(x) - len(counts), 1)
    between = np.sum(counts * (means - score.mean()) ** 2) / (len(counts) - 1)
    size = (len(x) - np.sum(counts**2) / len(x)) / (len(counts) - 1)
    variance = max((between - within) / size, 0.0)
    return float(variance / (variance + within)) if variance + within > 0 else 0.0


def _levels_of(fit: TrueDistance, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the level at which each y is a quantile at its x."""
    i, right = _place(x, fit.grid)
    rows = fit.quantiles[i] * (1 - right[:, None]) + fit.quantiles[i + 1] * right[:, None]
    below = (rows < y[:, None]).sum(axis=1)
    return _LEVELS[np.clip(below, 0, len(_LEVELS) - 1)]


def _place(value: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (i, share): the value lies between grid[i] and grid[i + 1], at this share; outside at an end."""
    i = np.clip(np.searchsorted(grid, value, side='right') - 1, 0, len(grid) - 2)
    return i, np.clip((value - grid[i]) / (grid[i + 1] - grid[i]), 0, 1)
