"""The difference between two ways to predict the same rows, with an interval by a paired bootstrap.

Rows of a site err alike, and two trainings with other seeds differ although nothing was changed. So the bootstrap draws
whole sites and whole seeds, never single rows. It draws one site fewer than there are, and one seed fewer: then the
variance of the drawn means is that of the estimate, also with two seeds (Rao & Wu 1988, Resampling inference with
complex survey data). Sites and seeds are drawn independently (Owen 2007, The pigeonhole bootstrap).

The interval is the estimate plus and minus Student's t times the standard deviation over the draws. Satterthwaite's
formula gives its degrees of freedom from the two parts of the variance. Percentiles of the draws would be too narrow:
between two seeds lies the truth in one case of two. tests/chimp_jax/ensemble/test_paired.py measures the coverage.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

N_DRAWS = 4000
BETTER, WORSE, UNCLEAR = 'better', 'worse', 'not distinguishable'


class Difference(NamedTuple):
    """A mean difference and its interval, in the unit of the rows. An interval of NaN: it cannot be known."""

    mean: float
    lower: float
    upper: float

    def verdict(self) -> str:
        """Returns what an interval of differences of errors says: BETTER if it is below 0, WORSE if above, UNCLEAR."""
        if self.upper < 0:
            return BETTER
        return WORSE if self.lower > 0 else UNCLEAR


def paired_difference(
    difference: np.ndarray, site: np.ndarray, coverage: float = 0.95, n_draws: int = N_DRAWS, seed: int = 0
) -> Difference:
    """Returns the mean of difference [seeds, rows] and its interval. site: [rows], any kind of name.

    With one site the interval is NaN. With one seed it leaves out how much seeds differ: the caller must say so.
    Raises ValueError without rows, for other shapes, and for values that are not finite.
    """
    difference = np.asarray(difference, float)
    if difference.ndim != 2 or not difference.size or np.shape(site) != difference.shape[1:]:
        raise ValueError(f'differences [seeds, rows] and sites [rows] do not fit: {difference.shape}, {np.shape(site)}')
    if not np.isfinite(difference).all():
        raise ValueError('a difference of errors is not finite; predict its row again')
    totals, n_rows = _by_site(difference, site)
    mean = float(totals.sum() / (len(totals) * n_rows.sum()))
    n_seeds, n_sites = totals.shape
    if n_sites < 2:
        return Difference(mean, np.nan, np.nan)
    random = np.random.default_rng(seed)
    sites, seeds = _draws(n_sites, n_draws, random), _draws(n_seeds, n_draws, random)
    drawn_rows = sites @ n_rows
    both = np.einsum('ds,dg,sg->d', seeds, sites, totals, optimize=True) / (seeds.sum(1) * drawn_rows)
    by_site = (sites @ totals.mean(0)) / drawn_rows
    by_seed = (seeds @ totals.sum(1)) / (seeds.sum(1) * n_rows.sum())
    freedom = _degrees_of_freedom(by_site.var(), n_sites, by_seed.var(), n_seeds)
    half = float(stats.t.ppf((1 + coverage) / 2, freedom) * both.std())
    return Difference(mean, mean - half, mean + half)


def _by_site(difference: np.ndarray, site: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of the differences [seeds, sites] and the numbers of rows [sites]."""
    _, place = np.unique(np.asarray(site), return_inverse=True)
    totals = np.stack([np.bincount(place, of_seed) for of_seed in difference])
    return totals, np.bincount(place).astype(float)


def _draws(n: int, n_draws: int, random: np.random.Generator) -> np.ndarray:
    """Returns how often each of n things is drawn, [draws, n]: n - 1 draws with replacement; of a single one, one."""
    return random.multinomial(max(n - 1, 1), np.full(n, 1 / n), n_draws).astype(float)


def _degrees_of_freedom(site_variance: float, n_sites: int, seed_variance: float, n_seeds: int) -> float:
    """Returns Satterthwaite's degrees of freedom for the sum of two variances, the fewest if there is no variance."""
    parts = [(site_variance, n_sites - 1)] + ([(seed_variance, n_seeds - 1)] if n_seeds > 1 else [])
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return sum(variance for variance, _ in parts) ** 2 / below if below else min(freedom for _, freedom in parts)
