"""The end of `chimp-distance train`: what the members' errors are, which labels were used, what to do next."""

import collections
import shlex

import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from chimp_jax.commands import combining
from chimp_jax.commands.training.deciding import Decided
from chimp_jax.commands.training.request import TrainRequest
from chimp_jax.field.expected_error import constant_mae, expected_errors
from chimp_jax.field.intervals import Intervals
from chimp_jax.field.out_of_fold import OutOfFold, make_out_of_fold
from chimp_jax.members import find_members
from data_prep.folds import read_fold_table
from data_prep.inputs.labels import Problem
from data_prep.inputs.tables import read_table
from data_prep.records import LOST

WARNING = 'warning: '  # what a line begins with that doubts the result
COVERAGE = 0.9  # of the intervals that the screen shows; estimate's default
_MOST_REASONS = 8
_HEAD = ('distance', 'labels', 'MAE', 'bias', f'{COVERAGE:.0%} interval', 'covered')


def read_oof_rows(request: TrainRequest, config: ConfigDict) -> OutOfFold:
    """Returns the out-of-fold rows of the recipe, as `estimate` uses them for its intervals."""
    members = [member for member in find_members(request.out) if member.recipe == config.recipe]
    combined = combining.choose_combination(members, 'mean', None)
    estimate_m = combined.combination.apply(combined.oof)
    return make_out_of_fold(members, combined.oof, estimate_m, combined.labels.to_numpy(float))


def describe_result(request: TrainRequest, config: ConfigDict, decided: Decided, problems: list[Problem]) -> list[str]:
    """Returns what the screen shows at the end."""
    oof = read_oof_rows(request, config)
    intervals = oof.fit_intervals(COVERAGE)
    return [
        '',
        *error_lines(oof, _folds_of(request, config, oof), config.data.folds),
        '',
        *interval_lines(oof, intervals),
        '',
        *_left_out_lines(request, len(oof.label_m), problems),
        *(f'{WARNING}{warning}' for warning in decided.warnings),
        'next:',
        *_next_lines(request),
    ]


def error_lines(oof: OutOfFold, fold: np.ndarray, kind: str) -> list[str]:
    """Returns the error beside that of a constant. fold: [n] of the rows. kind: config.data.folds."""
    mae_m, constant_m = oof.mae_m(), constant_mae(oof.label_m, fold)
    line = (
        f'out-of-fold error by {kind} folds: MAE {mae_m:.2f} m for {len(oof.label_m)} labels; the best constant has '
        f'{constant_m:.2f} m'
    )
    if mae_m >= constant_m:
        return [
            line,
            f'{WARNING}the members are no better than a constant; do not use them. Label more clips and sites',
        ]
    return [f'{line} ({mae_m / constant_m:.2f} of it)']


def interval_lines(oof: OutOfFold, intervals: Intervals) -> list[str]:
    """Returns a table by distance: errors, half the width of the intervals, share of the labels inside."""
    table = expected_errors(oof, intervals)
    rows = [_HEAD, *map(_cells, table.itertuples(index=False))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    lines = ['  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    told = 'covered: share of the labels inside intervals that were fitted on other sites'
    return [*lines, told, *([f'{WARNING}{intervals.note}'] if intervals.note else [])]


def _cells(row) -> tuple[str, ...]:
    covered = '' if np.isnan(row.covered) else f'{row.covered:.0%}'
    return row.name, str(row.n), f'{row.mae:.2f} m', f'{row.bias:+.2f} m', f'+-{row.half_width:.2f} m', covered


def _folds_of(request: TrainRequest, config: ConfigDict, oof: OutOfFold) -> np.ndarray:
    """Returns the fold of each row."""
    table = read_fold_table(epath.Path(request.data) / 'folds.csv').set_index('video_id')
    return table[f'{config.data.folds}_fold'].reindex(oof.clip).to_numpy(int)


def _left_out_lines(request: TrainRequest, n_used: int, problems: list[Problem]) -> list[str]:
    """Returns how many labels were used, and how many were left out for which reason."""
    lost = read_table(epath.Path(request.data) / LOST)
    reasons = left_out_reasons(lost[lost['split'] == 'train'], problems)
    if not reasons:
        return [f'{n_used} labels used, none left out']
    lines = [
        f'{n_used} labels used, {sum(reasons.values())} left out (see problems.csv and lost.csv in {request.data}):'
    ]
    lines += [f'  {n}: {reason}' for reason, n in reasons.most_common(_MOST_REASONS)]
    more = sum(reasons.values()) - sum(n for _, n in reasons.most_common(_MOST_REASONS))
    return lines + ([f'  {more}: other reasons'] if more else [])


def left_out_reasons(lost: pd.DataFrame, problems: list[Problem]) -> collections.Counter:
    """Returns {reason: number of labels}. lost: targets without a record. problems: also rows that are no targets."""
    told = (
        lost.groupby('video_id')['reason'].agg(tuple).to_dict()
    )  # a clip with two sites is a problem of the labels, too
    bad_rows = [
        problem.reason
        for problem in problems
        if problem.stage == 'labels' and not problem.reason.startswith(told.get(problem.video_id, ('\n',)))
    ]
    return collections.Counter([*lost['reason'], *bad_rows])


def _next_lines(request: TrainRequest) -> list[str]:
    members = shlex.quote(request.out)
    return [
        f'  chimp-distance estimate MORE_CLIPS --members {members} --out distances',
        '  chimp-distance report distances',
    ]
