"""Distances of the targets of prepared data:

    python predict.py --members RUNS --records DATA --split test --out predictions.csv

All members below RUNS are asked about every target of the split, a recipe is the mean of its folds, and the recipes are
combined (chimp_jax.ensemble). `--split oof` asks each member about the training clips that it did not train on.
"""

import argparse
import logging

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import members, predict
from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache
from chimp_jax.ensemble import distances, results
from chimp_jax.ensemble.prediction_tables import KEY, recipe_means
from data_prep.files import write_whole

log = logging.getLogger(__name__)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='predict.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='Other commands: predict.py clip | estimate | report | evaluate, each with --help.',
    )
    add = parser.add_argument
    add('--members', required=True, help='folder of train.py --workdir')
    add('--records', required=True, help='folder that data_prep.build wrote')
    add('--split', default='test', help='of the records: test, train, or oof: the training clips, out of fold')
    add('--out', required=True, help='CSV or .parquet to write: video_id, time, distance in metres')
    add('--submission_format', '--submission-format', help='CSV whose rows, in their order, are to be written')
    add('--details', action='store_true', help="adds each recipe's distance, the members' spread and number, status")
    add('--tta', default=predict.NONE, help='test-time augmentation: none, or the mean over the set a1, a2 or a4')
    combining.add_flags(parser)
    add_compile_cache(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    out, split = epath.Path(options.out), options.split
    operations = predict.operations(options.tta)
    order = results.read_order(options.submission_format) if options.submission_format else None
    found = members.find_members(options.members)
    combined = combining.choose_combination(options, found)
    log.info('%d members: %s', len(found), ', '.join(member.name for member in found))
    parts = out.parent / f'{out.name}.parts'
    predictions = predict.predict_split(found, options.records, split, parts, operations)
    table = predictions.members(augmented=True)
    distance = combined.distance(table)
    rows = results.result_rows(distance, table, recipe_means(table))
    lost = results.read_lost(options.records, 'train' if split == predict.OOF else split)
    rows = results.with_lost(rows, lost)
    rows = rows if order is None else results.in_order(rows, order)
    results.write_table(out, rows if options.details else rows[[*KEY, 'distance']])
    write_whole(parts / 'weights.json', combined.combination.to_json())
    lines = [*describe_calls(predictions.calls), *combined.describe(), *describe_errors(combined, predictions)]
    print('\n'.join(lines))
    if order is not None and not options.details:
        print(describe_submission(out, options.submission_format))
    return finish(out, rows)


def describe_calls(calls: dict[str, tuple[int, int]]) -> list[str]:
    """What encoding each distinct frame once has saved."""
    return [
        f'{window}: {shared} backbone calls in place of {direct}, {direct / shared:.1f} times fewer'
        for window, (direct, shared) in sorted(calls.items())
        if shared
    ]


def describe_errors(combined: combining.Combined, predictions: predict.Predictions) -> list[str]:
    """MAE on the rows with a known distance, and what test-time augmentation did."""
    plain, averaged = (combined.distance(predictions.members(augmented)).to_numpy() for augmented in (False, True))
    labels = predictions.labels.to_numpy()
    known = np.isfinite(labels) & np.isfinite(plain)
    n_operations = len(predictions.values)
    lines = []
    if known.any():
        lines.append(f'MAE {distances.mae(averaged[known], labels[known]):.4f} m on {known.sum()} known distances')
    if n_operations > 1 and known.any():
        lines.append(
            f'without test-time augmentation {distances.mae(plain[known], labels[known]):.4f} m '
            f'(it is the mean of {n_operations} views)'
        )
    elif n_operations > 1:
        change = np.nanmean(np.abs(averaged - plain))
        lines.append(
            f'test-time augmentation moved the distances by {change:.2f} m on average; whether to the better is not '
            'known here: --split oof tells'
        )
    return lines


def describe_submission(out: epath.Path, order: str) -> str:
    try:
        return f'{out} is a valid submission of {results.check_submission(out, order)} rows'
    except ValueError as fault:
        return f'no valid submission: {fault}'


def finish(out: epath.Path, rows: pd.DataFrame) -> int:
    """Says what was written and what not, by reason; returns the exit code."""
    lost = rows[rows['status'] != results.OK]
    n_clips = rows.loc[rows['distance'].notna(), 'video_id'].nunique()
    print(f'{len(rows) - len(lost)} distances of {n_clips} clips in {out}')
    for (video_id, reason), group in lost.groupby(['video_id', 'status'], sort=False):
        print(f'no distance: {video_id}, {len(group)} targets: {reason}')
    return 3 if len(lost) else 0
