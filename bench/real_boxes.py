"""Measures, on the challenge's labels and boxes: a box-only estimate, corrections of sites, intervals, completeness.

    python -m bench.real_boxes FOLDER --json OUT

FOLDER has train_labels.csv (video_id, time, distance) and train_metadata.csv (video_id, time, x1, y1, x2, y2,
probability, park, site_id). Requires scikit-learn, which is in requirements/bench.lock. There are no pictures: the
errors are those of a box-only estimate (bench/box_estimates.py), not of trained members. Folds are by site, so that
estimates, hyperparameters of corrections and intervals of a site come from other sites. The form of the product's
correction (covariance, scale of distances) was chosen on these labels among about 20 forms, so its gain at other sites
may be smaller. Takes about 2.6 minutes of processor time.

OUT is JSON:

    mae           {rows: {n, mae_m, constant_m}}; rows: all, box, probability_above_0.8, clip_folds (all rows, with
                  folds by clip). constant_m: the MAE of the median of the other folds.
    correction    {"3": {sites, before_m, line_m, factor_m, new_m, rows_before_m, ..., gain_ratio, gain_ratio_90}, ...}
                  by the number of known labels of a site; see measure_corrections in bench/box_corrections.py.
    coverage      of 90 % intervals at sites of other folds: mean over sites of the share of their rows.
    coverage_rows the same as a share of all rows.
    completeness  {"0 to 2 m": share of labelled rows whose box has a probability above 0.5, ...}
    errors        the ErrorModel of all sites, fitted with a prior that knows none of them.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from bench.box_corrections import WAYS, Rows, measure_corrections
from bench.box_estimates import FOLDS, boosted_estimate, box_features, constant_estimate, deal_folds, read_rows
from chimp_jax.field.intervals import fit_intervals
from chimp_jax.stations.correction import ASSUMED_ERRORS, ErrorModel, fit_error_model
from chimp_jax.stations.ground_plane import foot_points
from data_prep.files import write_json

KNOWN = (3, 10, 20)  # labels of a site, each from another clip
COVERAGE = 0.9
LEAST_PROBABILITY = 0.5  # of a box that counts as found
BANDS_M = (0, 2, 5, 8, 12, 25)  # the upper end is part of a band
# The prior of the fits. ASSUMED_ERRORS were fitted to these sites, so they would tell a fold about its own sites.
ROUND_ERRORS = dataclasses.replace(
    ASSUMED_ERRORS,
    noise=0.2,
    constant=0.2,
    slope=0.2,
    smooth=0.2,
    column_length=0.3,
    row_length=0.3,
    log_length=0.3,
    foot_mean=(0.5, 0.5),
    foot_sd=(0.3, 0.3),
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder with train_labels.csv and train_metadata.csv')
    parser.add_argument('--json', type=Path, help='file for the figures')
    flags = parser.parse_args(argv)
    try:
        rows = read_rows(flags.folder)
    except ValueError as error:
        sys.exit(str(error))
    if find_spec('sklearn') is None:
        sys.exit('scikit-learn is not installed; install it (pip install scikit-learn), or run this in .venv-bench')
    print(f'{len(rows)} labels of {rows["video_id"].nunique()} clips and {rows["site_id"].nunique()} sites', flush=True)
    figures = {'completeness': completeness(rows)}
    print_completeness(figures['completeness'])
    features, label_m = box_features(rows), rows['distance'].to_numpy(float)
    by_site, by_clip = deal_folds(rows['site_id']), deal_folds(rows['video_id'])
    estimate_m = boosted_estimate(features, label_m, by_site)
    figures['mae'] = errors_of(rows, estimate_m, constant_estimate(label_m, by_site))
    of_clips = errors_of(rows, boosted_estimate(features, label_m, by_clip), constant_estimate(label_m, by_clip))
    figures['mae']['clip_folds'] = of_clips['all']
    print_errors(figures['mae'])
    figures['coverage'], figures['coverage_rows'] = coverage_of(rows, estimate_m, by_site)
    print(
        f'\nCoverage of {COVERAGE:.0%} intervals at held-out sites: {figures["coverage"]:.3f} (mean over sites), '
        f'{figures["coverage_rows"]:.3f} (all rows)',
        flush=True,
    )
    found = found_rows(rows, estimate_m, by_site)
    figures['correction'] = measure_corrections(found, KNOWN, {fold: fit_errors(found, fold) for fold in range(FOLDS)})
    print_corrections(figures['correction'])
    model = fit_errors(found)
    figures['errors'] = dataclasses.asdict(model)
    print_model(model)
    if flags.json:
        write_json(flags.json, figures | {'correction': {str(k): row for k, row in figures['correction'].items()}})


def completeness(rows: pd.DataFrame) -> dict[str, float | None]:
    """Returns {band: share of labelled rows whose box has a probability above LEAST_PROBABILITY}."""
    band = np.searchsorted(BANDS_M[1:], rows['distance'])  # 2 m belongs to the first band
    is_found = (rows['probability'] > LEAST_PROBABILITY).to_numpy()
    names = [f'{near} to {far} m' for near, far in zip(BANDS_M, BANDS_M[1:], strict=False)]
    return {name: float(is_found[band == i].mean()) if (band == i).any() else None for i, name in enumerate(names)}


def errors_of(rows: pd.DataFrame, estimate_m: np.ndarray, constant_m: np.ndarray) -> dict[str, dict]:
    """Returns {rows: {n, mae_m, constant_m}} for all rows, rows with a box, rows with a confident box."""
    probability, label_m = rows['probability'].to_numpy(), rows['distance'].to_numpy()
    chosen = {
        'all': np.ones(len(rows), bool),
        'box': ~np.isnan(probability),
        'probability_above_0.8': probability > 0.8,
    }
    return {
        name: {
            'n': int(here.sum()),
            'mae_m': _mean(np.abs(estimate_m - label_m)[here]),
            'constant_m': _mean(np.abs(constant_m - label_m)[here]),
        }
        for name, here in chosen.items()
    }


def coverage_of(rows: pd.DataFrame, estimate_m: np.ndarray, fold: np.ndarray) -> tuple[float, float]:
    """Returns the coverage of intervals that are fitted on the other folds: mean over sites, share of all rows."""
    label_m, site = rows['distance'].to_numpy(), rows['site_id'].to_numpy(str)
    covered = np.zeros(len(rows), bool)
    for one in np.unique(fold):
        here, other = fold == one, fold != one
        fit = fit_intervals(estimate_m[other], label_m[other], None, site[other], COVERAGE)
        lower_m, upper_m = fit.apply(estimate_m[here])
        covered[here] = (lower_m <= label_m[here]) & (label_m[here] <= upper_m)
    return float(pd.Series(covered).groupby(site).mean().mean()), float(covered.mean())


def found_rows(rows: pd.DataFrame, estimate_m: np.ndarray, fold: np.ndarray) -> Rows:
    """Returns the rows whose box has a probability above LEAST_PROBABILITY."""
    is_found = (rows['probability'] > LEAST_PROBABILITY).to_numpy()
    found = rows[is_found]
    x, y, _ = foot_points(found[['x1', 'y1', 'x2', 'y2']])
    names = (found['site_id'].to_numpy(str), found['video_id'].to_numpy(str))
    return Rows(estimate_m[is_found], found['distance'].to_numpy(float), np.stack([x, y], 1), *names, fold[is_found])


def fit_errors(rows: Rows, without_fold: int | None = None) -> ErrorModel:
    """Returns the ErrorModel of the rows outside a fold, or of all rows."""
    chosen = np.ones(len(rows.fold), bool) if without_fold is None else rows.fold != without_fold
    return fit_error_model(*(values[chosen] for values in rows[:5]), assumed=ROUND_ERRORS)


def print_completeness(shares: Mapping[str, float | None]) -> None:
    print(f'\nLabelled rows whose box has a probability above {LEAST_PROBABILITY}\n')
    print('| distance | share |\n|---|---|')
    for band, share in shares.items():
        print(f'| {band} | {_cell(share, "{:.0%}")} |')


def print_errors(errors: Mapping[str, Mapping]) -> None:
    print('\nMAE of the box-only estimate, by gradient boosting; folds by site if not said otherwise\n')
    print('| rows | n | MAE, m | MAE of the constant, m |\n|---|---|---|---|')
    for name, row in errors.items():
        words = name.replace('_', ' ').replace('clip folds', 'all, folds by clip')
        print(f'| {words} | {row["n"]} | {_cell(row["mae_m"])} | {_cell(row["constant_m"])} |')


def print_corrections(corrections: Mapping[int, Mapping]) -> None:
    for part, title in (('', 'each site weighs the same'), ('rows_', 'each row weighs the same')):
        print(f'\nMAE in metres with k known labels of the site; {title}\n')
        last = '' if part else ' gain / gain of factor |'
        print(f'| k | sites | before | line | factor | Gaussian process |{last}')
        print('|---|---|---|---|---|---|' + ('---|' if last else ''))
        for k, row in corrections.items():
            cells = [str(k), str(row['sites']), *(_cell(row[f'{part}{way}_m']) for way in WAYS)]
            if last:
                low, high = (_cell(end, '{:.1f}') or 'none' for end in row['gain_ratio_90'])
                cells.append(f'{_cell(row["gain_ratio"], "{:.1f}") or "none"} ({low} to {high})')
            print(f'| {" | ".join(cells)} |')
    print('\nIn brackets: 90 % of bootstrap samples of the sites. "none": the factor gains nothing.', flush=True)


def print_model(model: ErrorModel) -> None:
    print('\nErrorModel of all sites; beside it ASSUMED_ERRORS of chimp_jax/stations/correction.py\n')
    print('| | fitted | assumed |\n|---|---|---|')
    for field in dataclasses.fields(model):
        cells = (np.round(getattr(one, field.name), 3).tolist() for one in (model, ASSUMED_ERRORS))
        print(f'| {field.name} | {" | ".join(map(str, cells))} |')


def _cell(value: float | None, form: str = '{:.2f}') -> str:
    return '' if value is None else form.format(value)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


if __name__ == '__main__':
    main()
