"""Distances for the targets of prepared records:

    chimp-distance score --members RUNS --records DATA --split test --out predictions.csv

Every member below RUNS predicts all targets of the split. A recipe is the mean of its folds, and --weights combines the
recipes. With --split oof each member predicts the training clips that it was not trained on.

    chimp-distance score --members RUNS --records DATA --split teacher [--unlabelled MORE] --out teacher.csv

writes what a student learns (configs/student.py): distances for every second between the first and the last target of
each clip, of the training clips out of fold, and of the clips without labels by all members.
"""

import argparse
import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import members, predict
from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache, add_engine_flags, add_memory, limit_memory
from chimp_jax.data import chunks
from chimp_jax.data.teacher import OUT_OF_FOLD, YES
from chimp_jax.engines.counting import Counts
from chimp_jax.engines.engine import LOCAL, Engine, EngineJob, choose_engine, run_pieces
from chimp_jax.ensemble import distances, results
from chimp_jax.ensemble.prediction_tables import KEY, recipe_means, without_empty_animal
from data_prep.files import OLD_S, remove_unfinished, removed_text, write_whole
from data_prep.lock import hold
from data_prep.sound.heard import silent_text, sound_states

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ScoreRequest:
    """The flags of `score`."""

    members: str  # folder of train.py --workdir
    records: str  # folder of data_prep.build
    split: str  # test, train, oof or teacher
    unlabelled: str | None  # with teacher: another folder of data_prep.build
    out: str  # CSV or .parquet
    submission_format: str | None
    details: bool
    tta: str
    weights: str | None  # None: the default of combining.choose_combination
    round: str | None
    compile_cache: str | None
    memory: str | None  # None: the default of memory.limit_to
    runner: str
    runner_options: Sequence[str]
    multihost: bool

    def __post_init__(self):
        """Raises ValueError if the flags do not fit each other."""
        if self.unlabelled and self.split != predict.TEACHER:
            raise ValueError(
                f'--unlabelled={self.unlabelled} requires --split teacher; for others give it as --records'
            )
        if self.split == predict.TEACHER and (self.multihost or self.runner != LOCAL):
            raise ValueError('--split teacher runs on one machine; leave --runner and --multihost out')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance score',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='chimp-distance --help lists the other commands.',
    )
    add = parser.add_argument
    add('--members', required=True, help='folder of train.py --workdir')
    add('--records', required=True, help='folder that data_prep.build wrote')
    add('--split', default='test', help='test, train, oof: the training clips, out of fold, or teacher (default: test)')
    add('--unlabelled', help='with --split teacher: another folder that data_prep.build wrote, of clips without labels')
    add('--out', required=True, help='CSV or .parquet to write: video_id, time, distance in metres')
    add('--submission_format', '--submission-format', help='CSV with the rows to write, in their order')
    add('--details', action='store_true', help='adds the distance of each recipe, spread, number of members, status')
    add('--tta', default=predict.NONE, help='test-time augmentation: none, or the mean over the set a1, a2 or a4')
    combining.add_combination_flags(parser)
    add_compile_cache(parser)
    add_memory(parser)
    add_engine_flags(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    request = ScoreRequest(**vars(options))
    limit_memory(request.memory, on_one_machine=request.runner == LOCAL and not request.multihost)
    out, split = epath.Path(request.out), request.split
    predict.operations(request.tta)  # refuses an unknown one before any work
    engine = choose_engine(request.runner, request.runner_options, request.multihost)
    order = results.read_order(request.submission_format) if request.submission_format else None
    found = members.find_members(request.members)
    for records in filter(None, (request.records, request.unlabelled)):
        members.check_records(found, records)
    combined = combining.choose_combination(found, request.weights, request.round)
    log.info('%d members: %s', len(found), ', '.join(member.name for member in found))
    parts = out.parent / f'{out.name}.parts'
    with hold(parts):
        if engine is not None:
            _predict_on_engine(request, found, parts, engine)
        predictions = predict_requested(request, found, parts, engine is not None)
        lost = results.read_lost(request.records, 'train' if split == predict.OOF else split)
        rows = make_rows(predictions, combined, lost, order)
        columns = [*KEY, 'distance']
        if split == predict.TEACHER:
            rows, columns = rows.assign(**{OUT_OF_FOLD: YES}), [*columns, OUT_OF_FOLD]
        results.write_table(out, without_empty_animal(rows if request.details else rows[columns]))
        write_whole(parts / 'weights.json', combined.combination.to_json())
        n_removed = remove_unfinished(parts) + remove_unfinished(out.parent, deep=False, older_s=OLD_S)
    lines = [*describe_calls(predictions.calls), *combined.describe(), *describe_errors(combined, predictions)]
    if any(member.hears for member in found):
        silent = silent_text(sound_states(request.records, 'test' if split == 'test' else 'train'))
        lines += [f'note: {silent}'] if silent else []
    print('\n'.join(lines))
    if order is not None and not request.details:
        print(describe_submission(out, request.submission_format))
    return finish(out, rows, n_removed)


def _predict_on_engine(request: ScoreRequest, found: list[members.Member], parts: epath.Path, engine: Engine) -> None:
    """Saves all predictions that predict_requested reads. Raises as run_pieces."""
    from chimp_jax.engines import answering, record_chunks

    asked = record_chunks.Asked(request.records, request.split, str(parts), predict.operations(request.tta))
    about = answering.AboutMembers.of(request.members, found, request.compile_cache)
    missing: dict[record_chunks.RecordChunk, tuple[str, ...]] = {}

    def find_pending() -> list[record_chunks.RecordChunk]:
        pending = record_chunks.find_missing(asked, found)
        missing.update(pending)
        return [*pending]

    counts = Counts(
        unit='chunks',
        total=None,
        size=lambda chunk: (1, len(missing[chunk])),
        finished=lambda chunks: record_chunks.find_finished_chunks(asked, found, [missing[chunk] for chunk in chunks]),
    )
    content = answering.AboutRecords(about, asked)
    run_pieces(engine, EngineJob('chunks of records', answering.ANSWER_RECORDS, content, parts, find_pending, counts))


def predict_requested(
    request: ScoreRequest, found: list[members.Member], parts: epath.Path, by_engine: bool
) -> predict.Predictions:
    """Returns the predictions of the members for the split of the request. by_engine: an engine has saved them all."""
    operations = predict.operations(request.tta)
    if request.split == predict.TEACHER:
        return predict.predict_for_student(found, request.records, request.unlabelled or '', parts, operations)
    fitting = (lambda _: chunks.FRAMES_PER_CHUNK) if by_engine else chunks.frames_that_fit
    return predict.predict_split(found, request.records, request.split, parts, operations, fitting)


def make_rows(
    predictions: predict.Predictions, combined: combining.Combined, lost: pd.DataFrame, order: pd.DataFrame | None
) -> pd.DataFrame:
    """Returns a row for each target, also for the lost ones, in the given order, else sorted by clip and second."""
    table = predictions.members(augmented=True)
    rows = results.result_rows(combined.distance(table), table, recipe_means(table))
    rows = results.with_lost(rows, lost)
    return rows if order is None else results.in_order(rows, order)


def describe_calls(calls: dict[str, tuple[int, int]]) -> list[str]:
    """Returns a line for each window: how many backbone calls the sharing of frames has saved."""
    return [
        f'{window}: {shared} backbone calls instead of {direct}, {direct / shared:.1f} times fewer'
        for window, (direct, shared) in sorted(calls.items())
        if shared
    ]


def describe_errors(combined: combining.Combined, predictions: predict.Predictions) -> list[str]:
    """Returns lines with the MAE on the rows with a known distance, and with the effect of test-time augmentation."""
    plain, averaged = (combined.distance(predictions.members(augmented)).to_numpy() for augmented in (False, True))
    labels = predictions.labels.to_numpy()
    known = np.isfinite(labels) & np.isfinite(plain)
    n_operations = len(predictions.values)
    lines = []
    if known.any():
        lines.append(f'MAE {distances.mae(averaged[known], labels[known]):.4f} m on {known.sum()} known distances')
    if n_operations > 1 and known.any():
        lines.append(
            f'MAE {distances.mae(plain[known], labels[known]):.4f} m without test-time augmentation '
            f'(the mean of {n_operations} views)'
        )
    elif n_operations > 1:
        change = np.nanmean(np.abs(averaged - plain))
        lines.append(
            f'test-time augmentation changed the distances by {change:.2f} m on average; use --split oof to see '
            'whether it lowers the error'
        )
    return lines


def describe_submission(out: epath.Path, order: str) -> str:
    try:
        return f'{out} is a valid submission of {results.check_submission(out, order)} rows'
    except ValueError as fault:
        return f'not a valid submission: {fault}'


def finish(out: epath.Path, rows: pd.DataFrame, n_removed: int) -> int:
    """Prints the rows without a distance by reason, and how many rows were written. Returns the exit code.

    n_removed: files of earlier runs.
    """
    lost = rows[rows['status'] != results.OK]
    n_clips = rows.loc[rows['distance'].notna(), 'video_id'].nunique()
    for (video_id, reason), group in lost.groupby(['video_id', 'status'], sort=False):
        print(f'no distance: {video_id}, {len(group)} targets: {reason}')
    print(f'{len(rows) - len(lost)} distances of {n_clips} clips in {out}{removed_text(n_removed)}')
    return 3 if len(lost) else 0
