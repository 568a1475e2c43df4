"""How far distances are from known ones: error by distance band, share in the right bin, coverage.

Error = estimate - truth, so a bias above 0 means that estimates are too far, which makes a density too low.
"""

import itertools
import json
import logging

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field.bins import bin_of, check_cutpoints
from chimp_jax.field.corrections import CORRECTED
from chimp_jax.field.label_tables import keyed, named, read_label_table
from data_prep.files import write_whole

log = logging.getLogger(__name__)

CUTPOINTS_M = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 25.0)
BOUNDS = ['distance_lower', 'distance_upper']


def read_distances(path) -> pd.DataFrame:
    """distances.csv, or any CSV video_id, time, distance -> KEY, distance, BOUNDS (NaN where absent), status.

    Raises ValueError in one line where it is no such table, or names a target twice.
    """
    try:
        with epath.Path(path).open() as file:
            rows = pd.read_csv(file, dtype={'video_id': str, 'status': str})
        if not isinstance(rows.index, pd.RangeIndex):  # pandas takes the first cells for an index: all columns shift
            raise ValueError('its rows have more cells than its header')
        missing = [name for name in [*KEY, 'distance'] if name not in rows]
        if missing:
            raise ValueError(f'it lacks the column {", ".join(missing)}; it has {", ".join(rows.columns)}')
        rows = rows.reindex(columns=[*KEY, 'distance', *BOUNDS, 'status'])
        rows = rows.astype({'time': int, 'distance': float, **dict.fromkeys(BOUNDS, float)})
    except (OSError, ValueError) as error:  # pandas' errors on broken tables are ValueErrors
        raise ValueError(f'{path}: {" ".join(str(error).split())}') from None
    twice = rows[rows.duplicated(KEY)]
    if len(twice):
        first = twice.iloc[0]
        raise ValueError(f'{path}: more than one row for {first["video_id"]} at {first["time"]} s')
    return rows.assign(status=rows['status'].fillna(''))


def join_truth(rows: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """rows of read_distances, truth of read_label_table -> the rows of both, with `truth` and `site`; and what is not.

    The second: {what: ['clip at t s', ...]} of truths without a row, of rows without a distance, of a person's values
    (they are no estimates), and of rows without a truth. Raises ValueError where nothing is left to compare.
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
    names = {what: [f'{v} at {t} s' for v, t in part[KEY].itertuples(index=False)] for what, part in left_out.items()}
    if joined.empty:
        raise ValueError(f'no known distance has an estimate to compare with: {named(names["known, without a row"])}')
    return joined, names


def evaluate(joined: pd.DataFrame, cutpoints_m=CUTPOINTS_M) -> pd.DataFrame:
    """joined of join_truth -> a row for all, each band of the true distance, and each site.

    Columns: scope ('all', 'band', 'site'), name, n; mae, rmse, bias (estimate - truth), metres; right_bin, the share of
    estimates in the same bin as the truth, of the truths within the cutpoints; coverage, the share of truths within
    their interval, and width, its mean in metres, of the rows that have one. NaN where there is nothing to average.
    Bins hold their upper cutpoint, and the first the lower too, as in the R package Distance (create_bins).
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
    """The table of evaluate, printed; and written to OUT/evaluation.csv and OUT/evaluation.json where `out` is given.

    A clip's site is that of the truth, else of clips.csv beside distances_csv. Raises ValueError in one line for bad
    input.
    """
    distances_csv = epath.Path(distances_csv)
    check_cutpoints(cutpoints_m)
    joined, left_out = join_truth(read_distances(distances_csv), read_label_table(truth_csv))
    joined['site'] = joined['site'].where(
        joined['site'] != '', joined['video_id'].map(_sites_beside(distances_csv)).fillna('')
    )
    table = evaluate(joined, cutpoints_m)
    for what, names in left_out.items():
        if names:
            log.info('%d %s: %s', len(names), what, named(names))
    print(table.round(3).to_string(index=False, na_rep=''))
    if out is not None:
        write_whole(epath.Path(out) / 'evaluation.csv', table.to_csv(index=False))
        lines = [{k: None if v != v else v for k, v in line.items()} for line in table.to_dict('records')]
        content = {'cutpoints_m': list(map(float, cutpoints_m)), 'left_out': left_out, 'table': lines}
        write_whole(epath.Path(out) / 'evaluation.json', json.dumps(content, indent=2) + '\n')
    return table


def _sites_beside(distances_csv: epath.Path) -> dict[str, str]:
    path = distances_csv.parent / 'clips.csv'
    if not path.exists():
        return {}
    with path.open() as file:
        clips = pd.read_csv(file, dtype=str, keep_default_na=False)
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
