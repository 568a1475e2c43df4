"""Errors of the estimates on known distances: error by distance band, share in the right bin, coverage.

Error = estimate - truth. If the bias is above 0, the estimates are too far. The bands are bands of the true distance,
because a detection function is distorted by where animals of one true distance end up. An estimator that shrinks
towards the middle has no bias in bands of its own estimates, and still empties the near bins.
"""

import logging
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY, SECOND, with_animal
from chimp_jax.field.bins import CUTPOINTS_M, bin_names, bin_of, check_cutpoints
from chimp_jax.field.label_tables import keyed, named, read_label_table
from chimp_jax.field.status import CLIPS, CORRECTED, KNOWN
from data_prep.archive import Names
from data_prep.decoding.damage import SLACK_S
from data_prep.files import write_json, write_whole
from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

log = logging.getLogger(__name__)

BOUNDS = ['distance_lower', 'distance_upper']


class BandError(NamedTuple):
    """The errors of the estimates in one band of the true distance, metres."""

    name: str  # '2 to 4 m'
    n: int
    mae: float
    bias: float  # estimate - truth
    width_m: float  # of the bin; infinite outside the cutpoints


def read_distances(path) -> pd.DataFrame:
    """Reads distances.csv, or any CSV video_id, time, distance -> KEY, distance, BOUNDS (NaN if missing), status.

    Raises ValueError, in one line with file and row, if it cannot be read or has a target twice.
    """
    table = with_animal(read_table(path, [*SECOND, 'distance'], numbers=['time', 'distance', *BOUNDS]))
    numbers = {name: numbers_of(table, name, path) for name in ('distance', *BOUNDS) if name in table}
    rows = table.assign(time=seconds_of(table, path), **numbers)
    check_unique(rows, KEY, path)
    rows = rows.reindex(columns=[*KEY, 'distance', *BOUNDS, 'status']).reset_index(drop=True)
    return rows.assign(status=rows['status'].fillna(''))


def join_truth(rows: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """rows of read_distances, truth of read_label_table -> the common rows with `truth` and `site`; the others.

    The others, {kind: ['clip at t s', ...]}: known distances without a row, rows without a distance, a person's
    corrections and the distances of --calibrate (they are not estimates), and rows without a known distance. Raises
    ValueError if no row is left.
    """
    joined = rows.merge(truth[[*KEY, 'distance', 'site']].rename(columns={'distance': 'truth'}), on=KEY)
    corrected, measured = joined['status'] == CORRECTED, joined['status'] == KNOWN
    empty = joined['distance'].isna() & ~(corrected | measured)
    estimated = rows[rows['status'] != KNOWN]
    left_out = {
        'known, without a row': truth[~keyed(truth).index.isin(keyed(rows).index)],
        'known, without an estimate': joined[empty],
        'known, corrected by a person': joined[corrected],
        'known, used for the calibration': joined[measured],
        'estimated, but not known': estimated[~keyed(estimated).index.isin(keyed(truth).index)],
    }
    joined = joined[~(corrected | measured | empty)].reset_index(drop=True)
    names = {
        kind: [f'{v} at {t} s' for v, t in part[SECOND].itertuples(index=False)] for kind, part in left_out.items()
    }
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
    labels = bin_names(edges)
    lines = [_line('all', 'all', per_row)]
    lines += [_line('band', labels[band], part) for band, part in per_row.groupby('band')]
    lines += [_line('site', site, part) for site, part in per_row.groupby(joined['site'].to_numpy(str)) if site]
    return pd.DataFrame(lines)


def band_errors(estimate_m, true_m, cutpoints_m=CUTPOINTS_M) -> list[BandError]:
    """estimate_m [n], true_m [n], metres -> the errors in each band of the true distance that has a row."""
    edges = check_cutpoints(cutpoints_m)
    true_m = np.asarray(true_m, float)
    errors = pd.DataFrame({'error': np.asarray(estimate_m, float) - true_m, 'band': bin_of(true_m, edges)})
    names, widths = bin_names(edges), dict(enumerate(np.diff(edges)))
    return [
        BandError(
            name=names[band],
            n=len(part),
            mae=float(part['error'].abs().mean()),
            bias=float(part['error'].mean()),
            width_m=float(widths.get(band, np.inf)),
        )
        for band, part in errors.groupby('band')
    ]


def describe_bias(bands: Iterable[tuple[str, float]]) -> str:
    """[(name, bias in metres)] -> words: 'at 0 to 2 m 1.4 m too far, at 2 to 4 m 0.1 m too near'."""
    return ', '.join(f'at {name} {bias_text(bias_m)}' for name, bias_m in bands)


def bias_text(bias_m: float) -> str:
    """Returns a bias in words: '1.4 m too far', or 'right on average'."""
    size = f'{abs(bias_m):.1f}'
    return 'right on average' if size == '0.0' else f'{size} m {_direction(bias_m)}'


def bias_warning(bands: Iterable[BandError]) -> str:
    """Returns a warning if the bias within a bin exceeds half of the width of the bin, else ''."""
    wide = [f'{band.name} ({band.bias:+.1f} m in {band.n} rows)' for band in bands if abs(band.bias) > band.width_m / 2]
    if not wide:
        return ''
    return (
        f'the mean error is more than half of the bin at {", ".join(wide)}: a density from these bins can be far off. '
        'Use wider bins, leave these distances out (--cutpoints, --truncation) or measure some distances '
        '(--calibrate); see "Before you trust a density" in docs/field-guide.md'
    )


class Evaluation(NamedTuple):
    """What write_evaluation found."""

    table: pd.DataFrame  # of evaluate
    left_out: dict[str, list[str]]  # of join_truth
    warning: str  # of bias_warning
    unknown: list[str]  # known distances of clips or seconds that do not exist: 'file:line (clip at t s)'


def write_evaluation(distances_csv, truth_csv, cutpoints_m=CUTPOINTS_M, out=None) -> Evaluation:
    """Prints the table of evaluate, and writes OUT/evaluation.csv and OUT/evaluation.json if `out` is given.

    The site of a clip comes from the table of known distances, else from clips.csv beside distances_csv. Raises
    ValueError in one line for bad input.
    """
    distances_csv = epath.Path(distances_csv)
    check_cutpoints(cutpoints_m)
    rows, clips = read_distances(distances_csv), _clips_beside(distances_csv)
    truth = read_label_table(truth_csv, Names([*rows['video_id'], *clips.index]))
    joined, left_out = join_truth(rows, truth)
    sites = joined['video_id'].map(clips['site'])
    joined['site'] = joined['site'].where(joined['site'] != '', sites.fillna(''))
    table = evaluate(joined, cutpoints_m)
    warning = bias_warning(band_errors(joined['distance'], joined['truth'], cutpoints_m))
    unknown = _unknown(truth[~keyed(truth).index.isin(keyed(rows).index)], clips)
    for kind, names in left_out.items():
        if names:
            log.info('%d %s: %s', len(names), kind, named(names))
    print('\n'.join(screen_lines(table)))
    if warning:
        print(f'\nwarning: {warning}')
    if unknown:
        print(f'\nproblem: no such clip or second: {named(unknown)}; correct video_id and time')
    if out is not None:
        write_whole(epath.Path(out) / 'evaluation.csv', table.to_csv(index=False))
        lines = [{k: None if v != v else v for k, v in line.items()} for line in table.to_dict('records')]
        content = {'cutpoints_m': list(map(float, cutpoints_m)), 'left_out': left_out, 'table': lines}
        content |= {'warning': warning} if warning else {}
        write_json(epath.Path(out) / 'evaluation.json', content | ({'no such second': unknown} if unknown else {}))
    return Evaluation(table, left_out, warning, unknown)


def screen_lines(table: pd.DataFrame) -> list[str]:
    """Returns the table of evaluate as lines for the screen: a sentence, the bands, the sites."""
    total = table.iloc[0]
    lines = [
        f'{total["n"]} known distances. The estimates are wrong by {total["mae"]:.2f} m on average (MAE). The mean '
        f'error is {abs(total["bias"]):.2f} m {_direction(total["bias"])} (bias).'
    ]
    for scope, title in (('band', 'true distance'), ('site', 'site')):
        part = table[table['scope'] == scope]
        if len(part):
            lines += ['', *_aligned(title, part)]
    return lines


def _aligned(title: str, part: pd.DataFrame) -> list[str]:
    shown = [(title, 'n', 'MAE, m', 'bias, m', '', 'right bin', 'covered', 'interval, m')]
    for row in part.to_dict('records'):
        shares = [_share(row[name]) for name in ('right_bin', 'coverage')]
        width = '' if np.isnan(row['width']) else f'{row["width"]:.1f}'
        bias = f'{row["bias"]:+.2f}'
        shown.append((row['name'], str(row['n']), f'{row["mae"]:.2f}', bias, _direction(row['bias']), *shares, width))
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    left = (0, 4)  # columns of text
    return [
        '  '.join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in shown
    ]


def _share(value: float) -> str:
    return '' if np.isnan(value) else f'{100 * value:.0f} %'


def _direction(bias_m: float) -> str:
    return 'too far' if bias_m > 0 else 'too near'


def _clips_beside(distances_csv: epath.Path) -> pd.DataFrame:
    """Returns site and duration_s (NaN if unknown) of the clips in clips.csv, indexed by video_id; else no row."""
    path = distances_csv.parent / CLIPS
    clips = pd.DataFrame({'video_id': []}, dtype=object)
    if path.exists():
        clips = read_table(path, ['video_id'], numbers=['duration_s'])
        check_unique(clips, ['video_id'], path)
    if 'duration_s' in clips:
        clips['duration_s'] = numbers_of(clips, 'duration_s', path)
    return clips.set_index('video_id').reindex(columns=['site', 'duration_s'])


def _unknown(truth: pd.DataFrame, clips: pd.DataFrame) -> list[str]:
    """Returns the known distances whose clip is not among the clips, or whose second is past the end of the clip."""
    if clips.empty:
        return []
    late = truth['time'] > truth['video_id'].map(clips['duration_s']).astype(float) + SLACK_S
    wrong = truth[late | ~truth['video_id'].isin(clips.index)]
    return [f'{row.row} ({row.video_id} at {row.time} s)' for row in wrong.itertuples()]


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
