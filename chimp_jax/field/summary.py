"""summary.json of a run, and the result of a run in words for the screen."""

import datetime
import json
from collections.abc import Mapping, Sequence

import pandas as pd
from etils import epath

from chimp_jax.ensemble.combination import Combination
from chimp_jax.field import status
from chimp_jax.field.calibration import calibrate
from chimp_jax.field.calibration.ground_lines import ground_is_doubtful, ground_lines
from chimp_jax.field.evaluate import describe_bias
from chimp_jax.field.exports import formats
from chimp_jax.field.exports.export_lines import describe_export, is_doubtful
from chimp_jax.field.flags import ONE_FOR_ALL
from chimp_jax.field.intervals import NO_INTERVALS, Intervals
from chimp_jax.field.rows.counts import RowCounts
from chimp_jax.field.rows.write import CSV_ROWS
from data_prep.sound.heard import silent_text

MOST_NAMED = 20  # clips or problems that the screen names; the files have all


def make_summary(
    members: Sequence[str],
    combination: Combination | None,
    intervals: Intervals | None,
    out_of_fold: dict | None,
    calibration: calibrate.Calibration | None,
    counts: RowCounts,
    clips: pd.DataFrame,
    device: str | None,
    simulated: bool,
    notes: Sequence[str],
) -> dict:
    """Returns the content of summary.json, without the exports.

    members: their names; without members, combination and device are None. intervals, out_of_fold (of
    OutOfFold.errors): None if the members have no out-of-fold rows.
    counts: of distances.csv. clips: clips.csv. simulated: the members have seen simulated animals only. notes: of the
    inputs, as the screen showed them.
    """
    summary = {
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'members': list(members),
    }
    if members:
        summary |= {'device': device, 'combination': json.loads(combination.to_json())}
    if simulated:
        summary['simulated'] = True
    if out_of_fold is not None:
        summary['out_of_fold'] = out_of_fold
    if intervals is None and members:
        summary['no_interval'] = NO_INTERVALS
    elif intervals is not None:
        summary |= {'coverage': intervals.coverage, 'interval': intervals.note}
    if calibration is not None:
        summary['calibration'] = json.loads(calibration.table().to_json(orient='records'))
    if counts.n_animals < counts.n_rows:
        summary['known_distances'] = counts.n_rows - counts.n_animals
    if counts.n_tracks:
        summary['tracks'] = counts.n_tracks
    return summary | {
        'clips': clips['status'].value_counts().to_dict(),
        'targets': counts.n_animals,
        'distances': counts.n_distances,
        'flags': dict(counts.flags.most_common()),
        'notes': list(notes),
    }


def result_lines(summary: dict, clips: pd.DataFrame, out) -> list[str]:
    """Returns what the screen shows at the end of a run: errors, problems, files.

    summary: the content of summary.json with the exports. out: the folder of the results.
    """
    lines = [f'{row.status}: {row.video_id}: {row.reason}' for row in _problems(clips)[:MOST_NAMED].itertuples()]
    if (n_more := len(_problems(clips)) - MOST_NAMED) > 0:
        lines.append(f'{n_more} more clips have problems; see {epath.Path(out) / status.CLIPS}')
    lines += _error_lines(summary.get('out_of_fold'))
    if summary.get('simulated'):
        lines.append(
            'warning: the models have seen simulated animals only. On real clips their distances mean nothing; train '
            'models on clips with measured distances.'
        )
    if 'sound' in clips and (text := silent_text(clips['sound'].dropna())):
        lines.append(f'note: {text}')
    lines += [f'Intervals: {summary[name]}.' for name in ('no_interval', 'interval') if summary.get(name)]
    lines += [_calibration_line(site) for site in summary.get('calibration', [])]
    lines += ground_lines(summary)
    if n := summary.get('flags', {}).get(ONE_FOR_ALL, 0):
        lines.append(
            f'warning: {n} distances are wholly or partly one value for all animals of their second, because a model '
            'gives one distance a second. Train models with model.regions, or give --calibrate.'
        )
    if 'known_distances' in summary:
        lines.append(
            f'{summary["known_distances"]} seconds are targets for --calibrate alone. They count as no animal: '
            f'{status.DISTANCES} gives them the status {status.KNOWN!r}, and the exports leave them out.'
        )
    lines += [describe_export(name, summary[name], out) for name in formats.FORMATS if name in summary]
    parts = summary.get('parts', {})
    if n := summary.get('tracks'):
        lines.append(f'{n} animals were followed; {_table(out, status.TRACKS_NAME, parts)} has a row for each')
    n_clips = int((clips['seconds'] > 0).sum())
    clips_text = '1 clip' if n_clips == 1 else f'{n_clips} clips'
    table = _table(out, status.DISTANCES_NAME, parts)
    lines.append(f'{summary["distances"]} distances of {clips_text} in {table}')
    return lines


def _table(out, name: str, parts: Mapping[str, int]) -> str:
    """Returns the place of a table for messages. parts: the number of files of each table that is no CSV file."""
    place = epath.Path(out) / name
    if name not in parts:
        return f'{place}.csv'
    return f'{place}, a folder of {parts[name]} parquet files, because a CSV file has at most {CSV_ROWS:,} rows'


def exit_code(counts: RowCounts, clips: pd.DataFrame, summary: dict) -> int:
    """Returns 3 if a clip has a problem, a target has no distance, or a distance or an export is doubtful, else 0.

    Distances are doubtful if the bias of the models is large, if the models have seen simulated animals only, or if one
    distance stands for several animals.
    """
    doubtful = any(is_doubtful(summary[name]) for name in formats.FORMATS if name in summary)
    warned = bool(summary.get('simulated')) or 'warning' in summary.get('out_of_fold', {})
    warned &= counts.n_missing < counts.n_rows
    warned |= bool(summary.get('known_problems')) or ground_is_doubtful(summary)
    warned |= bool(summary.get('flags', {}).get(ONE_FOR_ALL))
    return 3 if len(_problems(clips)) or counts.n_missing or doubtful or warned else 0


def _error_lines(out_of_fold: dict | None) -> list[str]:
    if out_of_fold is None:
        return []
    lines = [
        f'On training clips they had not seen, the models were wrong by {out_of_fold["mae_m"]:.1f} m on average. Clips '
        'from other places can have larger errors.'
    ]
    if bands := out_of_fold.get('bands'):
        told = describe_bias((band['name'], band['bias']) for band in bands)
        lines.append(f'By true distance, the models put animals {told}.')
    return lines + ([f'warning: {out_of_fold["warning"]}.'] if 'warning' in out_of_fold else [])


def _problems(clips: pd.DataFrame) -> pd.DataFrame:
    return clips[clips['status'].isin(status.PROBLEMS)]


def _calibration_line(site: dict) -> str:
    after = '' if site['mae_with_m'] is None else f', {site["mae_with_m"]:.2f} m with the correction'
    return (
        f'{site["site"]}: the mean error on {site["n"]} known distances is {site["mae_without_m"]:.2f} m{after}; '
        + ('the correction is applied' if site['applied'] else site['reason'])
    )
