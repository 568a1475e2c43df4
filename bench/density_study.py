"""What errors of distances do to a density, and what redraws of the true distances mend: simulated surveys.

    python -m bench.density_study --surveys 300 --out docs/density.png

A survey has 60 stations, a known density, and a half-normal detection function of 4 m. Its distances go through an
error model: they shrink to the middle, scatter with the distance, and have an error of their own at each station.
Out-of-fold rows of 30 other sites go through the same model. The density is fitted to the true distances, to the
estimates (naive), to estimates with noise drawn around them, and to redraws of the true distances
(chimp_jax.field.true_distance). Its interval comes from a bootstrap over stations; that of several tables from Rubin's
rules. In the last case the detector misses animals, as in bench/real_boxes.py, and the fit knows its completeness, or
does not. Prints the bias, and the share of the 95 % intervals that hold the density. The fit is the maximum likelihood
of the half-normal point transect: its sufficient statistics are the number of distances and the mean of their squares.
"""

import argparse
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from scipy.stats import t as student  # noqa: E402

from chimp_jax.field.true_distance import LabelledEstimates, redraw  # noqa: E402
from data_prep.progress import Progress  # noqa: E402

TRUNCATION_M = 15.0
THETA = np.deg2rad(42)
SIGMA_M = 4.0
STATIONS, MOMENTS = 60, 1e5  # moments: of each station
OOF_SITES, OOF_ROWS = 30, 40  # rows: mean of a site
ROWS_PER_STATION, ROWS_PER_VISIT = 9.0, 4.0
REDRAWS, RESAMPLES = 20, 200
_SIGMAS_M = np.geomspace(0.3, 60, 3000)


# The completeness of the detector by distance in metres: linear between, constant beyond (from bench/real_boxes.py).
COMPLETENESS_M = np.array([1, 3.5, 6.5, 10, 18.5])
COMPLETENESS = np.array([0.55, 0.52, 0.42, 0.36, 0.17])


class Errors(NamedTuple):
    """estimate = constant + slope * distance + error of the station + noise."""

    constant_m: float = 1.8
    slope: float = 0.6
    noise_m: float = 0.5
    noise_per_m: float = 0.12
    station_m: float = 0.35


class Case(NamedTuple):
    errors: Errors = Errors()
    oof_sigma_m: float = SIGMA_M  # of the sites of the out-of-fold rows
    misses: bool = False  # the detector has COMPLETENESS


CASES = {
    'estimates that shrink to the middle': Case(),
    'the same, labels nearer than the survey (3 m)': Case(oof_sigma_m=3.0),
    'the same, labels farther than the survey (6 m)': Case(oof_sigma_m=6.0),
    'noise alone': Case(Errors(0, 1, 0.3, 0.3, 0)),
    'estimates that shrink, and a detector that misses animals': Case(misses=True),
}


def detected_share(sigma_m):
    """Returns P_a, the share of the animals within TRUNCATION_M that is detected: half-normal, point transect."""
    a = TRUNCATION_M**2 / (2 * np.asarray(sigma_m, float) ** 2)
    return -np.expm1(-a) / a


def mean_square(sigma_m):
    """Returns the expected square of a detected distance, in square metres."""
    a = TRUNCATION_M**2 / (2 * np.asarray(sigma_m, float) ** 2)
    return 2 * np.asarray(sigma_m, float) ** 2 * (1 - a * np.exp(-a) / -np.expm1(-a))


class Detection(NamedTuple):
    """P_a and the expected square of a distance in square metres, at _SIGMAS_M [n]."""

    share: np.ndarray
    mean_square_m2: np.ndarray


def detection_with(distance_m: np.ndarray, completeness: np.ndarray) -> Detection:
    """Returns the tables of a half-normal function times a completeness, by the midpoint rule."""
    r = (np.arange(1500) + 0.5) * TRUNCATION_M / 1500
    area = 2 * r * (TRUNCATION_M / 1500) / TRUNCATION_M**2 * np.interp(r, distance_m, completeness)
    seen = np.exp(-(r**2) / 2 / _SIGMAS_M[:, None] ** 2) * area
    share = seen.sum(axis=1)
    return Detection(share, seen @ r**2 / share)


ALL_FOUND = Detection(detected_share(_SIGMAS_M), mean_square(_SIGMAS_M))
SOME_FOUND = detection_with(COMPLETENESS_M, COMPLETENESS)


def fit_sigma(mean_square_m2, detection: Detection = ALL_FOUND):
    """Returns the maximum-likelihood sigma in metres.

    The distances have the density r g(r) c(r), up to a constant. Sigma is in g alone, so the expected square at the
    maximum is the mean square of the distances, in square metres, whatever the completeness c is.
    """
    return np.interp(mean_square_m2, detection.mean_square_m2, _SIGMAS_M)


def density_of(n, sum_square_m2, moments: float, detection: Detection = ALL_FOUND):
    """Returns animals per square metre at a moment, of n distances and the sum of their squares."""
    area_m2 = THETA / 2 * TRUNCATION_M**2
    share = np.interp(fit_sigma(sum_square_m2 / n, detection), _SIGMAS_M, detection.share)
    return n / (area_m2 * share * moments)


def draw_distances(n: int, sigma_m: float, random: np.random.Generator) -> np.ndarray:
    """Returns n detected distances, by the inverse of their distribution function."""
    share = -np.expm1(-(TRUNCATION_M**2) / (2 * sigma_m**2))
    return np.sqrt(-2 * sigma_m**2 * np.log1p(-random.random(n) * share))


def draw_survey(
    n_stations: int, rows_per_station: float, sigma_m: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (station, distance in metres) of each animal at a moment. The moments of a visit resemble each other."""
    visits = random.negative_binomial(2, 2 / (2 + rows_per_station / ROWS_PER_VISIT), n_stations)
    station = np.repeat(np.arange(n_stations), visits)
    moments = 1 + random.poisson(ROWS_PER_VISIT - 1, len(station))
    station = np.repeat(station, moments)
    distance_m = np.repeat(draw_distances(len(moments), sigma_m, random), moments)
    moved = random.random(len(station)) < 0.5
    return station, np.where(moved, draw_distances(len(station), sigma_m, random), distance_m)


def estimate(station: np.ndarray, distance_m: np.ndarray, errors: Errors, random: np.random.Generator) -> np.ndarray:
    """Returns an estimate for each distance, at least 0.2 m."""
    of_station = errors.station_m * random.standard_normal(station.max(initial=-1) + 1)[station]
    noise = random.standard_normal(len(distance_m)) * (errors.noise_m + errors.noise_per_m * distance_m)
    return np.maximum(errors.constant_m + errors.slope * distance_m + of_station + noise, 0.2)


class Fit(NamedTuple):
    density: float
    variance: float  # of its logarithm
    freedom: float  # degrees of

    def interval(self) -> tuple[float, float]:
        """Returns the 95 % interval, log-normal as in distance sampling."""
        factor = np.exp(student.ppf(0.975, self.freedom) * np.sqrt(self.variance))
        return self.density / factor, self.density * factor


def fit_table(
    station: np.ndarray, distance_m: np.ndarray, random: np.random.Generator, detection: Detection = ALL_FOUND
) -> Fit:
    """Fits one table. The variance comes from a bootstrap over stations."""
    inside = distance_m <= TRUNCATION_M
    n = np.bincount(station[inside], minlength=STATIONS).astype(float)
    squares = np.bincount(station[inside], distance_m[inside] ** 2, minlength=STATIONS)
    drawn = random.integers(0, STATIONS, (RESAMPLES, STATIONS))
    moments = STATIONS * MOMENTS
    resampled = density_of(n[drawn].sum(axis=1), squares[drawn].sum(axis=1), moments, detection)
    return Fit(density_of(n.sum(), squares.sum(), moments, detection), np.log(resampled).var(ddof=1), STATIONS - 1)


def combine(fits: list[Fit]) -> Fit:
    """Combines the fits of several tables by Rubin's rules, with the degrees of freedom of Barnard and Rubin (1999)."""
    logs = np.log([fit.density for fit in fits])
    within, between = np.mean([fit.variance for fit in fits]), (1 + 1 / len(fits)) * logs.var(ddof=1)
    total, complete = within + between, fits[0].freedom
    missing = between / total
    old = (len(fits) - 1) / max(missing, 1e-9) ** 2
    observed = (complete + 1) / (complete + 3) * complete * (1 - missing)
    return Fit(float(np.exp(logs.mean())), total, old * observed / (old + observed))


def found_of(station: np.ndarray, distance_m: np.ndarray, random: np.random.Generator):
    """Returns (station, distance) of the animals that the detector finds."""
    is_found = random.random(len(distance_m)) < np.interp(distance_m, COMPLETENESS_M, COMPLETENESS)
    return station[is_found], distance_m[is_found]


def study_one(seed: int, case: Case) -> dict[str, Fit]:
    """Simulates one survey and fits it in four ways, in six if animals are missed."""
    random = np.random.default_rng(seed)
    station, true_m = draw_survey(STATIONS, ROWS_PER_STATION, SIGMA_M, random)
    if case.misses:
        station, true_m = found_of(station, true_m, random)
    found_m = estimate(station, true_m, case.errors, random)
    site, label_m = draw_survey(OOF_SITES, OOF_ROWS, case.oof_sigma_m, random)
    if case.misses:
        site, label_m = found_of(site, label_m, random)
    oof = LabelledEstimates(estimate(site, label_m, case.errors, random), label_m, site)
    residual_m = oof.label_m - oof.estimate_m
    noisy = [np.maximum(found_m + random.choice(residual_m, len(found_m)), 0) for _ in range(REDRAWS)]
    redrawn = list(redraw(oof, found_m, station, REDRAWS, seed))
    fits = {
        'true distances': fit_table(station, true_m, random),
        'estimates': fit_table(station, found_m, random),
        'noise around the estimates': combine([fit_table(station, one, random) for one in noisy]),
        'redraws': combine([fit_table(station, one, random) for one in redrawn]),
    }
    if case.misses:
        fits |= {
            'true distances and completeness': fit_table(station, true_m, random, SOME_FOUND),
            'redraws and completeness': combine([fit_table(station, one, random, SOME_FOUND) for one in redrawn]),
        }
    return fits


def true_density() -> float:
    return ROWS_PER_STATION / (THETA / 2 * TRUNCATION_M**2 * float(detected_share(SIGMA_M)) * MOMENTS)


def summarise(fits: list[Fit]) -> tuple[float, float]:
    """Returns (relative bias, coverage of the 95 % intervals)."""
    density = true_density()
    ends = np.array([fit.interval() for fit in fits])
    covered = (ends[:, 0] <= density) & (density <= ends[:, 1])
    return float(np.mean([fit.density for fit in fits]) / density - 1), float(covered.mean())


def draw(results: dict[str, dict[str, list[Fit]]], out) -> None:
    """Draws the densities of all surveys over the true one."""
    figure, axes = plt.subplots(1, len(results), figsize=(4 * len(results), 3.6), sharey=True, layout='constrained')
    for axis, (case, ways) in zip(axes, results.items(), strict=True):
        axis.boxplot([[fit.density / true_density() for fit in fits] for fits in ways.values()], widths=0.6)
        axis.axhline(1, color='tab:green', linewidth=1)
        axis.set_xticks(range(1, len(ways) + 1), [name.replace(' ', '\n') for name in ways], fontsize=8)
        axis.set_title(case, fontsize=9)
    axes[0].set(ylabel='density / true density', ylim=(0, 2.5))
    figure.savefig(out, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--surveys', type=int, default=300, help='simulated surveys of each case')
    parser.add_argument('--out', help='picture to write')
    options = parser.parse_args()
    results = {}
    with Progress('surveys', options.surveys * len(CASES), 'surveys') as progress:
        for name, case in CASES.items():
            results[name] = {}
            for seed in range(options.surveys):
                for way, fit in study_one(seed, case).items():
                    results[name].setdefault(way, []).append(fit)
                progress.advance(1, note=name)
    print('| case | density from | bias | 95 % intervals that hold the density |\n|---|---|---|---|')
    for case, ways in results.items():
        for name, fits in ways.items():
            bias, coverage = summarise(fits)
            print(f'| {case} | {name} | {bias:+.1%} | {coverage:.1%} |')
    if options.out:
        draw({name: ways for name, ways in results.items() if not CASES[name].misses}, options.out)


if __name__ == '__main__':
    main()
