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

from chimp_jax.ensemble.prediction_tables import KEY, SECOND
from chimp_jax.field.bins import CUTPOINTS_M, bin_names, bin_of, check_cutpoints
from chimp_jax.field.label_tables import named
from chimp_jax.field.measured.detected import detection_table, seen_animals
from chimp_jax.field.measured.matching import ELSEWHERE, NO_ROW, UNCLEAR, match_animals
from chimp_jax.field.measured.reading import BOUNDS, read_both, read_clips_beside
from chimp_jax.field.measured.screen import bias_direction, detection_lines, matched_lines, screen_lines
from chimp_jax.field.status import CORRECTED, FAILED, KNOWN, NOT_A_CLIP, NOT_ASKED, NOT_LOOKED
from data_prep.decoding.damage import SLACK_S
from data_prep.files import write_json, write_whole

log = logging.getLogger(__name__)

_NOT_WATCHED = (FAILED, NOT_LOOKED, NOT_A_CLIP, NOT_ASKED)  # status words of clips in which nobody looked for animals
_UNCLEAR = 'known, but no name or box tells which animal'  # in left_out


class BandError(NamedTuple):
    """The errors of the estimates in one band of the true distance, metres."""

    name: str  # '2 to 4 m'
    n: int
    mae: float
    bias: float  # estimate - truth
    width_m: float  # of the bin; infinite outside the cutpoints


class Joined(NamedTuple):
    """Estimates beside known distances.

    rows: the rows of distances.csv with `truth`, `site` and `in_view`, the number of animals in their second. left_out:
    {kind: ['clip at t s', ...]} of the others. matched: of match_animals, for each known distance.
    """

    rows: pd.DataFrame
    left_out: dict[str, list[str]]
    matched: pd.DataFrame


def join_truth(rows: pd.DataFrame, truth: pd.DataFrame) -> Joined:
    """rows of read_distances, truth of read_label_table -> the animals that have both distances; the others.

    The others: known distances without a row, or of which no name or box tells the row; rows without a distance; a
    person's corrections and the distances of --calibrate (they are not estimates); rows without a known distance.
    Raises ValueError if no row is left.
    """
    matched = match_animals(truth, rows)
    found = matched['place'] >= 0
    places = matched.loc[found, 'place'].to_numpy()
    in_view = rows.groupby(SECOND)['animal'].transform('size').to_numpy()[places]
    measured_in_view = truth.groupby(SECOND)['distance'].transform('size')[found].to_numpy()
    joined = (
        rows.iloc[places]
        .reset_index(drop=True)
        .assign(
            truth=truth.loc[found, 'distance'].to_numpy(float),
            site=truth.loc[found, 'site'].to_numpy(object),
            in_view=np.maximum(in_view, measured_in_view),
        )
    )
    corrected, measured = joined['status'] == CORRECTED, joined['status'] == KNOWN
    empty = joined['distance'].isna() & ~(corrected | measured)
    free = np.setdiff1d(np.arange(len(rows)), places)
    left_out = {
        'known, without a row': truth[matched['how'] == NO_ROW],
        'known, with a box elsewhere': truth[matched['how'] == ELSEWHERE],
        _UNCLEAR: truth[matched['how'] == UNCLEAR],
        'known, without an estimate': joined[empty],
        'known, corrected by a person': joined[corrected],
        'known, used for the calibration': joined[measured],
        'estimated, but not known': rows.iloc[free][lambda part: part['status'] != KNOWN],
    }
    joined = joined[~(corrected | measured | empty)].reset_index(drop=True)
    names = {kind: list(map(_name, part[KEY].itertuples(index=False))) for kind, part in left_out.items()}
    if joined.empty:
        known = [name for kind, part in names.items() if kind.startswith('known') for name in part]
        raise ValueError(f'no known distance has an estimate to compare with: {named(known)}')
    return Joined(joined, names, matched)


def _name(key) -> str:
    return f'{key.video_id} at {key.time} s' + (f', animal {key.animal}' if key.animal else '')


def evaluate(joined: pd.DataFrame, cutpoints_m=CUTPOINTS_M) -> pd.DataFrame:
    """Rows of join_truth -> a row for all, for each band of the true distance, and for each site.

    If several animals are in view in a second of `in_view`, there is a row for those, and one for the other seconds.
    Columns: scope ('all', 'animals', 'band', 'site'), name, n; mae, rmse, bias (estimate - truth) in metres; right_bin:
    among the true distances within the cutpoints, the share of estimates in the same bin; coverage: among the rows with
    an interval, the share of true distances inside; width: mean width of the intervals in metres. NaN without rows.
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
    several = joined['in_view'].to_numpy() > 1 if 'in_view' in joined else np.zeros(len(joined), bool)
    if several.any():
        parts = {'one in view': ~several, 'several in view': several}
        lines += [_line('animals', name, per_row[part]) for name, part in parts.items() if part.any()]
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
    return 'right on average' if size == '0.0' else f'{size} m {bias_direction(bias_m)}'


def bias_warning(bands: Iterable[BandError]) -> str:
    """Returns a warning if the bias within a bin exceeds half of the width of the bin, else ''."""
    wide = [f'{band.name} ({band.bias:+.1f} m in {band.n} rows)' for band in bands if abs(band.bias) > band.width_m / 2]
    if not wide:
        return ''
    return (
        f'the mean error is more than half of the bin at {", ".join(wide)}: a density from these bins can be far off. '
        'Use wider bins, leave these distances out (--cutpoints, --truncation), measure some distances (--calibrate), '
        'or correct the density of members for it (--redraws); see "Before you trust a density" in docs/field-guide.md'
    )


class Evaluation(NamedTuple):
    """What write_evaluation found."""

    table: pd.DataFrame  # of evaluate
    left_out: dict[str, list[str]]  # of join_truth
    warning: str  # of bias_warning
    unknown: list[str]  # known distances of clips or seconds that do not exist: 'file:line (clip at t s)'
    detection: pd.DataFrame  # of detection_table
    n_others: int  # rows of a result in parts in other seconds than the known distances; left_out does not list them

    @property
    def unclear(self) -> list[str]:
        """The known distances that are left out because nothing tells which animal of their second they mean."""
        return self.left_out[_UNCLEAR]


def write_evaluation(distances_csv, truth_csv, cutpoints_m=CUTPOINTS_M, out=None) -> Evaluation:
    """Prints the tables of evaluate and detection_table, and writes them into the folder `out` if it is given.

    The files are evaluation.json, with all, and one CSV for each table. The folder `distances` beside it may have the
    rows in parts, in place of distances_csv. The site of a clip comes from the table of known distances, else from
    clips.csv beside distances_csv. Raises ValueError in one line for bad input.
    """
    distances_csv = epath.Path(distances_csv)
    edges = check_cutpoints(cutpoints_m)
    clips = read_clips_beside(distances_csv)
    rows, truth, has_boxes, n_others = read_both(distances_csv, truth_csv, clips)
    joined, left_out, matched = join_truth(rows, truth)
    sites = joined['video_id'].map(clips['site'])
    joined['site'] = joined['site'].where(joined['site'] != '', sites.fillna(''))
    table = evaluate(joined, cutpoints_m)
    warning = bias_warning(band_errors(joined['distance'], joined['truth'], cutpoints_m))
    unknown = _unknown(truth, rows, clips)
    not_watched = clips.index[clips['status'].isin(_NOT_WATCHED)]
    seen = seen_animals(matched, rows, truth['video_id'], not_watched, has_boxes)
    detection = detection_table(truth[~unknown], seen[~unknown], edges)
    found = Evaluation(table, left_out, warning, list(map(_place, truth[unknown].itertuples())), detection, n_others)
    _print(found, matched['how'])
    if out is not None:
        _write(found, matched['how'], edges, epath.Path(out))
    return found


def _print(found: Evaluation, how: pd.Series) -> None:
    for kind, names in found.left_out.items():
        if names:
            log.info('%d %s: %s', len(names), kind, named(names))
    if found.n_others:
        log.info('%d estimated in seconds without a known distance', found.n_others)
    blocks = [screen_lines(found.table), detection_lines(found.detection), matched_lines(how)]
    print('\n\n'.join('\n'.join(lines) for lines in blocks if lines))
    if found.table['coverage'].isna().all():
        print('\nThe estimates have no intervals, so no share of covered distances can be given.')
    if found.warning:
        print(f'\nwarning: {found.warning}')
    if found.unclear:
        print(
            f'\nproblem: {len(found.unclear)} known distances are left out, because no box or name tells which animal '
            f'they mean: {named(found.unclear)}; give their boxes x1,y1,x2,y2, or the names of distances.csv'
        )
    if found.unknown:
        print(f'\nproblem: no such clip or second: {named(found.unknown)}; correct video_id and time')


def _write(found: Evaluation, how: pd.Series, edges: np.ndarray, out: epath.Path) -> None:
    content = {'cutpoints_m': edges.tolist(), 'left_out': found.left_out, 'matched': how.value_counts().to_dict()}
    if found.n_others:
        content['estimated in other seconds'] = found.n_others
    for name, file, table in (('table', 'evaluation', found.table), ('detection', 'detection', found.detection)):
        write_whole(out / f'{file}.csv', table.to_csv(index=False))
        content[name] = [{k: None if v != v else v for k, v in line.items()} for line in table.to_dict('records')]
    content |= {'warning': found.warning} if found.warning else {}
    write_json(out / 'evaluation.json', content | ({'no such second': found.unknown} if found.unknown else {}))


def _unknown(truth: pd.DataFrame, rows: pd.DataFrame, clips: pd.DataFrame) -> np.ndarray:
    """Returns which known distances [n] are of no clip, or of a second past the end of the clip."""
    if clips.empty:
        return np.zeros(len(truth), bool)
    seconds = pd.MultiIndex.from_frame(truth[SECOND])
    late = truth['time'] > truth['video_id'].map(clips['duration_s']).astype(float) + SLACK_S
    absent = late | ~truth['video_id'].isin(clips.index)
    return absent.to_numpy() & ~seconds.isin(pd.MultiIndex.from_frame(rows[SECOND]))


def _place(known) -> str:
    return f'{known.row} ({known.video_id} at {known.time} s)'


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
