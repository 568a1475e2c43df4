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

from chimp_jax import ensemble, members, predict, results
from chimp_jax.workdir import write_whole

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
    add_combination(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    out, split = epath.Path(options.out), options.split
    operations = predict.operations(options.tta)
    order = results.read_order(options.submission_format) if options.submission_format else None
    found = members.find_members(options.members)
    log.info('%d members: %s', len(found), ', '.join(member.name for member in found))
    parts = out.parent / f'{out.name}.parts'
    predictions = predict.predict_split(found, options.records, split, parts, operations)
    combination, rounded = combination_of(options, found)
    rows = combine(combination, rounded, predictions.members(augmented=True))
    lost = results.read_lost(options.records, 'train' if split == predict.OOF else split)
    rows = results.with_lost(rows, lost)
    rows = rows if order is None else results.in_order(rows, order)
    results.write_table(out, rows if options.details else rows[[*ensemble.KEY, 'distance']])
    write_whole(parts / 'weights.json', combination.to_json())
    for line in [*describe_calls(predictions.calls), *combination.describe(), *describe_errors(combination, predictions)]:
        print(line)
    return finish(out, rows)


def combine(combination, rounded, table: pd.DataFrame) -> pd.DataFrame:
    """[rows, members] -> the rows of results.result_rows."""
    recipes = predict.recipe_means(table)
    distance = rounded(ensemble.clamp_distance(combination.apply(recipes)))
    return results.result_rows(pd.Series(distance, recipes.index), table, recipes)


def describe_calls(calls: dict[str, tuple[int, int]]) -> list[str]:
    """What encoding each distinct frame once has saved."""
    return [
        f'{window}: {shared} backbone calls in place of {direct}, {direct / shared:.1f} times fewer'
        for window, (direct, shared) in sorted(calls.items())
        if shared
    ]


def describe_errors(combination, predictions: predict.Predictions) -> list[str]:
    """MAE on the rows with a known distance, and what test-time augmentation did."""
    labels = predictions.labels.to_numpy()
    known = np.isfinite(labels)
    plain, averaged = (
        ensemble.clamp_distance(combination.apply(predict.recipe_means(predictions.members(augmented))))
        for augmented in (False, True)
    )
    n_operations = len(predictions.values)
    lines = []
    if known.any():
        lines.append(f'MAE {ensemble.mae(averaged[known], labels[known]):.4f} m on {known.sum()} known distances')
    if n_operations > 1 and known.any():
        lines.append(
            f'without test-time augmentation {ensemble.mae(plain[known], labels[known]):.4f} m '
            f'(it is the mean of {n_operations} views)'
        )
    elif n_operations > 1:
        change = np.abs(averaged - plain).mean()
        lines.append(
            f'test-time augmentation moved the distances by {change:.2f} m on average; whether to the better is not '
            'known here: --split oof tells'
        )
    return lines


def finish(out: epath.Path, rows: pd.DataFrame) -> int:
    """Says what was written and what not, by reason; returns the exit code."""
    lost = rows[rows['status'] != results.OK]
    print(f'{len(rows) - len(lost)} distances of {rows.loc[rows["distance"].notna(), "video_id"].nunique()} clips in {out}')
    for (video_id, reason), group in lost.groupby(['video_id', 'status'], sort=False):
        print(f'no distance: {video_id}, {len(group)} targets: {reason}')
    return 3 if len(lost) else 0
