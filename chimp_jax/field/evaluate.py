"""Errors of the estimates on known distances: error by distance band, share in the right bin, coverage.

Error = estimate - truth. If the bias is above 0, the estimates are too far, and a density estimate becomes too low.
"""

import itertools
import logging

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field.bins import bin_of, check_cutpoints
from chimp_jax.field.label_tables import keyed, named, read_label_table
from chimp_jax.field.status import CLIPS, CORRECTED
from data_prep.archive import Names
from data_prep.files import write_json, write_whole
from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

log = logging.getLogger(__name__)

CUTPOINTS_M = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 25.0)
BOUNDS = ['distance_lower', 'distance_upper']


def read_distances(path) -> pd.DataFrame:
    """Reads distances.csv, or any CSV video_id, time, distance -> KEY, distance, BOUNDS (NaN if missing), status.

    Raises ValueError, in one line with file and row, if it cannot be read or has a target twice.
    """
    table = read_table(path, [*KEY, 'distance'], numbers=['time', 'distance', *BOUNDS])
    numbers = {name: numbers_of(table, name, path) for name in ('distance', *BOUNDS) if name in table}
    rows = table.assign(time=seconds_of(table, path), **numbers)
    check_unique(rows, KEY, path)
    rows = rows.reindex(columns=[*KEY, 'distance', *BOUNDS, 'status']).reset_index(drop=True)
    return rows.assign(status=rows['status'].fillna(''))


def join_truth(rows: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """rows of read_distances, truth of read_label_table -> the common rows with `truth` and `site`; the others.

    The others, {kind: ['clip at t s', ...]}: known distances without a row, rows without a distance, a person's
    corrections (they are not estimates), and rows without a known distance. Raises ValueError if no row is left.
    """
    joined = rows.merge(truth[[*KEY, 'distance', 'site']].rename(columns={'distance': 'truth'}), on=KEY)
    corrected, empty = joined['status'] == CORRECTED, joined['distance'].isna()
    left_out = {
        'known, without a row': truth[~keyed(truth).index.isin(keyed(rows).index)],
        'known, without an estimate': joined[empty & ~corrected],
        'known, corrected by a person': joined[corrected],
        'estimated, but not known': rows[~keyed(rows).index.isin(keyed(truth).index)],
    }
    joined = joined[~(corrected | empty)].reset_index(drop=True)
    names = {kind: [f'{v} at {t} s' for v, t in part[KEY].itertuples(index=False)] for kind, part in left_out.items()}
    if joined.empty:
        raise ValueError(f'no known distance has an estimate to compare with: {named(names["known, without a row"])}')
    return joined, names


def evaluate(joined: pd.DataFrame, cutpoints_m=CUTPOINTS_M) -> pd.DataFrame:
    """Rows of join_truth -> a row for all, for each band of the true distance, and for each site.

    Columns: scope ('all', 'band', 'site'), name, n; mae, rmse, bias (estimate - truth) in metres; right_bin: among the
    true distances within the cutpoints, the share of estimates in the same bin; coverage: among the rows with an
    interval, the share of true distances inside; width: mean width of the intervals in metres. NaN without rows.
    A bin includes its upper cutpoint, the first bin also the lower one, as in the R package Distance (create_bins).
    """
    edges = check_cutpoints(cutpoints_m)
    true_m, errors_m = joined['truth'].to_numpy(float), (joined['distance'] - joined['truth']).to_numpy(float)
    lower, upper = (joined[name].to_numpy(float) for name in BOUNDS)
    covered = np.where(np.isnan(lower) | np.isnan(upper), np.nan, (lower <= true_m) & (true_m <= upper))
    true_bin, bin_ = bin_of(true_m, edges), bin_of(joined['distance'].to_numpy(float), edges)
    right = np.where((true_bin < 0) | (true_bin == len(edges) - 1), np.nan, bin_ == true_bin)
    per_row = pd.DataFrame(
        {'error': errors_m, 'right_bin': right, 'covered': covered, 'width': upper - lower, 'band': true_bin}
    )
    labels = {-1: f'below {edges[0]:g} m', len(edges) - 1: f'above {edges[-1]:g} m'}
    labels |= {i: f'{a:g} to {b:g} m' for i, (a, b) in enumerate(itertools.pairwise(edges))}
    lines = [_line('all', 'all', per_row)]
    lines += [_line('band', labels[band], part) for band, part in per_row.groupby('band')]
    lines += [_line('site', site, part) for site, part in per_row.groupby(joined['site'].to_numpy(str)) if site]
    return pd.DataFrame(lines)


def write_evaluation(distances_csv, truth_csv, cutpoints_m=CUTPOINTS_M, out=None) -> pd.DataFrame:
    """Prints the table of evaluate, and writes OUT/evaluation.csv and OUT/evaluation.json if `out` is given.

    The site of a clip comes from the table of known distances, else from clips.csv beside distances_csv. Raises
    ValueError in one line for bad input.
    """
    distances_csv = epath.Path(distances_csv)
    check_cutpoints(cutpoints_m)
    rows = read_distances(distances_csv)
    truth = read_label_table(truth_csv, Names(rows['video_id']))
    joined, left_out = join_truth(rows, truth)
    joined['site'] = joined['site'].where(
        joined['site'] != '', joined['video_id'].map(_sites_beside(distances_csv)).fillna('')
    )
    table = evaluate(joined, cutpoints_m)
    for kind, names in left_out.items():
        if names:
            log.info('%d %s: %s', len(names), kind, named(names))
    print(table.round(3).to_string(index=False, na_rep=''))
    if out is not None:
        write_whole(epath.Path(out) / 'evaluation.csv', table.to_csv(index=False))
        lines = [{k: None if v != v else v for k, v in line.items()} for line in table.to_dict('records')]
        content = {'cutpoints_m': list(map(float, cutpoints_m)), 'left_out': left_out, 'table': lines}
        write_json(epath.Path(out) / 'evaluation.json', content)
    return table


def _sites_beside(distances_csv: epath.Path) -> dict[str, str]:
    path = distances_csv.parent / CLIPS
    if not path.exists():
        return {}
    clips = read_table(path)
    return dict(zip(clips['video_id'], clips['site'], strict=True)) if {'video_id', 'site'} <= set(clips) else {}


def _line(scope: str, name: str, part: pd.DataFrame) -> dict:
    error = part['error']
    return {
        'scope': scope,
        'name': name,
        'n': len(part),
        'mae': error.abs().mean(),
        'rmse': float(np.sqrt((error**2).mean())),
        'bias': error.mean(),
        'right_bin': part['right_bin'].mean(),
        'coverage': part['covered'].mean(),
        'width': part['width'].mean(),
    }
