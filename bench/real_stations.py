"""Measures distances from the ground plane at real stations with measured ground points.

    python -m bench.real_stations FOLDER --json OUT

FOLDER/points.csv has the columns station, image, distance_m, x_px, y_px, width_px, height_px: a row per ground point
of known distance. The prior of each station comes from the other stations; k random points of the station are known,
and its other points are located. A second table has the default prior in place of the survey's.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chimp_jax.stations.ground_plane import fit_ground, locate
from chimp_jax.stations.ground_prior import DEFAULT_PRIOR, LEAST_STATIONS, GroundPrior, fit_prior
from data_prep.files import write_json
from data_prep.inputs.tables import numbers_of, read_table

POINTS = 'points.csv'
NUMBERS = ('distance_m', 'x_px', 'y_px', 'width_px', 'height_px')
KNOWN = (0, 1, 3, 5, 10)  # known points of a station
COVERAGE = 0.9
NEAR_M = 8.0
DRAWS = 20  # of the known points
SEED = 18

Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # x and y in shares of the picture, distance in metres


class StationErrors(NamedTuple):
    """Distances of test points, from all stations and draws. Arrays [n]; NaN where the distance was refused."""

    true_m: np.ndarray
    error_m: np.ndarray  # absolute
    covered: np.ndarray  # bool: the interval holds the true distance
    without: list[str]  # stations with no test point left

    def figures(self) -> dict:
        """Returns the figures of --json; None for a mean over no points."""
        given = np.isfinite(self.error_m)
        near = self.true_m <= NEAR_M
        return {
            'mae_m': _mean(self.error_m[given]),
            'median_m': _median(self.error_m[given]),
            'mae_near_m': _mean(self.error_m[given & near]),
            'mae_far_m': _mean(self.error_m[given & ~near]),
            'coverage': _mean(self.covered[given]),
            'refused': _mean(~given),
            'n': int(given.sum()),
        }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help=f'folder with {POINTS}')
    parser.add_argument('--json', type=Path, help='file for the figures with the prior of the other stations')
    flags = parser.parse_args(argv)
    try:
        stations = read_points(flags.folder / POINTS)
    except ValueError as error:
        sys.exit(str(error))
    print(f'{len(stations)} stations, {sum(len(station[0]) for station in stations.values())} points')
    figures = print_tables(stations, '')
    if flags.json:
        write_json(flags.json, {str(k): row for k, row in figures.items()})
    inside = {name: tuple(part[y <= 1] for part in (x, y, r)) for name, (x, y, r) in stations.items()}
    inside = {name: station for name, station in inside.items() if len(station[0])}
    n_inside = sum(len(station[0]) for station in inside.values())
    if 0 < n_inside < sum(len(station[0]) for station in stations.values()):
        print(f'\nThe {n_inside} points inside the picture: estimate takes no others')
        print_tables(inside, ', points inside the picture')


def print_tables(stations: Mapping[str, Points], which: str) -> dict[int, dict]:
    """Prints the errors with the prior of the other stations and with the default. Returns the former."""
    priors, source = other_stations_priors(stations)
    figures = print_table(f'Prior of each station: {source}{which}', stations, priors)
    if any(prior is not DEFAULT_PRIOR for prior in priors.values()):
        title = f'Prior: default, from {DEFAULT_PRIOR.source}{which}'
        print_table(title, stations, dict.fromkeys(stations, DEFAULT_PRIOR))
    return figures


def read_points(path: Path) -> dict[str, Points]:
    """Returns {station: its points}. Raises ValueError, in one line, if a column or a value is missing or wrong."""
    table = read_table(path, ['station', 'image', *NUMBERS], NUMBERS)
    if table.empty:
        raise ValueError(f'{path} has no row; write one for each ground point')
    for name in NUMBERS:
        values = numbers_of(table, name, path)
        wrong = values.isna() | (values <= 0 if name in ('distance_m', 'width_px', 'height_px') else False)
        if wrong.any():
            line = wrong.idxmax()
            what = 'missing' if np.isnan(values[line]) else f'{values[line]:g} and must be above 0'
            raise ValueError(f'{path}:{line}: {name} is {what}; correct or remove the row')
        table[name] = values
    table['station'] = table['station'].str.strip()
    if (table['station'] == '').any():
        raise ValueError(f'{path}:{(table["station"] == "").idxmax()}: station is missing; correct or remove the row')
    return {
        name: tuple(
            values.to_numpy(float)
            for values in (rows['x_px'] / rows['width_px'], rows['y_px'] / rows['height_px'], rows['distance_m'])
        )
        for name, rows in table.groupby('station', sort=False)
    }


def other_stations_priors(stations: Mapping[str, Points]) -> tuple[dict[str, GroundPrior], str]:
    """Returns {station: the prior from the other stations}, and its source: the default if they are too few."""
    if len(stations) <= LEAST_STATIONS:
        why = f'default, because fewer than {LEAST_STATIONS} other stations are left; it comes from'
        return dict.fromkeys(stations, DEFAULT_PRIOR), f'{why} {DEFAULT_PRIOR.source}'
    priors = {name: fit_prior([other for key, other in stations.items() if key != name]) for name in stations}
    return priors, f'from the other {len(stations) - 1} stations'


def measure(stations: Mapping[str, Points], priors: Mapping[str, GroundPrior], k: int) -> StationErrors:
    """Locates the points of each station that are not among k random known ones, DRAWS times with a fixed seed."""
    draw = np.random.default_rng([SEED, k])
    without, found = [], [np.empty((3, 0))]
    for name, (x, y, distance_m) in stations.items():
        if len(x) <= k:
            without.append(name)
            continue
        for _ in range(DRAWS if k else 1):  # without known points all draws are equal
            order = draw.permutation(len(x))
            known, test = order[:k], order[k:]
            ground = fit_ground(priors[name], x[known], y[known], distance_m[known])
            at = locate(ground, x[test], y[test], COVERAGE)
            true_m = distance_m[test]
            inside = (at.lower_m <= true_m) & (true_m <= at.upper_m)
            found.append(np.stack([true_m, np.abs(at.distance_m - true_m), inside]))
    true_m, error_m, inside = np.concatenate(found, axis=1)
    return StationErrors(true_m, error_m, inside.astype(bool), without)


def print_table(title: str, stations: Mapping[str, Points], priors: Mapping[str, GroundPrior]) -> dict[int, dict]:
    """Prints the errors by number of known points as a Markdown table. Returns {k: figures}."""
    print(f'\n{title}\n')
    print('| known points | MAE, m | median, m | up to 8 m | beyond 8 m | coverage of 90 % intervals | refused |')
    print('|---|---|---|---|---|---|---|')
    figures, left_out = {}, []
    for k in KNOWN:
        errors = measure(stations, priors, k)
        figures[k] = row = errors.figures()
        cells = [_cell(row[name]) for name in ('mae_m', 'median_m', 'mae_near_m', 'mae_far_m', 'coverage')]
        print(f'| {k} | {" | ".join(cells)} | {_cell(row["refused"], "{:.1%}")} |', flush=True)
        if errors.without:
            left_out.append(f'{k} known points: left out {", ".join(errors.without)} (no point left to test)')
    for line in left_out:
        print(line)
    return figures


def _cell(value: float | None, form: str = '{:.2f}') -> str:
    return '' if value is None else form.format(value)


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if len(values) else None


if __name__ == '__main__':
    main()
