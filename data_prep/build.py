"""The command that turns clips and tables into records.

    python -m data_prep.build --tables DIR --clips_down DIR --clips_full DIR --out DIR

TABLES is a folder with train_labels.csv, submission_format.csv or both, and their metadata tables if there are any, or
one CSV. With --detections alone, the seconds with an animal become targets of the split `test`; beside --tables, the
detector gives boxes, also between the targets. Without both, every whole second of every clip becomes a target of the
split `test`.

OUT gets chimp_records/{down,full}/, folds.csv, clips.csv, problems.csv, lost.csv (targets that no record contains) and
dataset.json.

Clips and tables may be local or in a bucket (gs://, s3://), OUT local or in gs://. s3:// requires the extra s3.

Exit code 0 without problems, 3 if problems.csv has rows, 1 if the command fails. Run the same command again to resume.
"""

# ruff: noqa: E402 - the imports take seconds, and Ctrl-C ends them with one line
from data_prep.workers import stopping

if __name__ == '__main__':
    stopping.while_loading('build')

import functools
import importlib.metadata
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping

import absl.logging
import pandas as pd
from etils import epath

from data_prep import lock
from data_prep.buckets import s3_paths
from data_prep.files import (
    RESUME,
    failure_line,
    flush_all,
    read_json,
    remove_unfinished,
    removed_text,
    sha256,
    unchanged,
    write_json,
    write_whole,
)
from data_prep.folds import balance_lines, fold_balance, read_fold_table, read_or_make_folds
from data_prep.inputs.labels import Problem
from data_prep.inputs.tables import read_table
from data_prep.job import Job, compare_options, keep_options, parse_job, result_options
from data_prep.plan import Plan, make_plan, make_tasks
from data_prep.records import LOST, NAME, STREAMS, VERSION, describe_features, write_records
from data_prep.simulator.tables import are_simulated
from data_prep.sound.log_mel import describe_sound
from data_prep.workers import beam, frame_store, guard, local, lost
from data_prep.workers.frame_store import Outcome
from data_prep.workers.outcome_tables import (
    clip_fingerprints,
    clip_table,
    count_by_split,
    count_line,
    sound_line,
    unrecorded_targets,
)

LOST_CLIPS = 'lost_clips'  # in dataset.json, if there are any: {video_id: see Outcome.lost_runs}
FILES = 'files.json'  # {video_id: [fingerprint of its files, their paths]}, to notice changed clips
_say = functools.partial(print, flush=True)
_PACKAGES = ('av', 'numpy', 'pandas', 'pillow', 'tensorflow-datasets')


def build(
    job: Job, plan: Plan | None = None, tell: Callable[[str], None] = _say, passing: bool = False
) -> list[Problem]:
    """Makes the data set and returns its problems. Does nothing if the data set is complete.

    plan: of the job, if it is known already. tell: shows a line about the work. passing: of the progress line, see
    Progress.

    Raises ValueError if the job cannot be done, FolderInUse if another run works in the folder, OSError or
    guard.WorkerError if the machine is at fault.
    """
    options = result_options(job)
    with lock.hold(job.out):
        return _build(job, epath.Path(job.out), options, plan, tell, passing)


def _build(
    job: Job, out: epath.Path, options: dict, plan: Plan | None, tell: Callable[[str], None], passing: bool
) -> list[Problem]:
    compare_options(out, options)
    known = read_json(out / FILES)  # written before dataset.json
    made = read_json(out / 'dataset.json')
    if known is not None and made and not (_due(made.get(LOST_CLIPS, {}), job.retry) and _are_there(known)):
        tell(f'{out} is complete; nothing to do')
        _finish_frames(out, job.delete_frames)
        return _read_problems(out) + _changed_clips(out, known, tell)
    beam_options = None if job.runner == 'local' else beam.pipeline_options(job.runner, job.runner_options)
    plan = plan or make_plan(job)
    for note in plan.notes():
        tell(f'note: {note}')
    if plan.problems():
        _write_problems(out, plan.problems())  # first, so that no later error hides the reasons
    if job.strict and plan.problems():
        raise ValueError('; '.join([*_refused(out, plan.problems()), 'correct them or run without --strict']))
    try:
        _make_folds(out, plan.labels, job)
    except ValueError as error:
        raise ValueError('; '.join([str(error), *_refused(out, plan.problems())])) from None
    keep_options(out, options)
    outcomes = _decode(job, plan, out, beam_options, tell, passing)
    problems = plan.problems() + [Problem(o.video_id, '', *o.problem) for o in outcomes.values() if o.problem]
    (out / 'dataset.json').unlink(missing_ok=True)  # it is there if clips were tried again
    _write_problems(out, problems)
    write_whole(out / LOST, unrecorded_targets(plan, outcomes, str(out / 'frames')).to_csv(index=False))
    clips = clip_table(plan, outcomes)
    if clips.empty:
        raise ValueError('; '.join(['no clip gave a record', *_refused(out, problems)]))
    balance = _balance(out, plan.labels, clips, job, tell)
    tell(count_line(clips))
    if job.audio:
        tell(sound_line(clips))
    counts = _make_records(clips, out, beam_options, tell, job.audio)
    write_whole(out / 'clips.csv', clips.to_csv(index=False))
    write_json(out / FILES, clip_fingerprints(plan, outcomes))
    lost_clips = {name: outcome.lost_runs for name, outcome in outcomes.items() if outcome.lost_runs}
    write_json(out / 'dataset.json', _description(out, options, counts, clips, len(problems), balance, lost_clips))
    due = _due(lost_clips, retry=False)
    if due:
        tell(f'clips lost with their worker process: {len(due)}; run the same command again to try them again')
    _finish_frames(out, job.delete_frames and not due)
    return sorted(problems)


def _due(lost_runs: Mapping[str, int], retry: bool) -> list[str]:
    """Returns the clips that a run tries again. lost_runs: {video_id: see Outcome.lost_runs}."""
    return [name for name, runs in lost_runs.items() if lost.is_due(runs, retry)]


def _are_there(known: dict[str, list[str]]) -> bool:
    """Returns whether all clips of a data set still exist. known: the content of FILES."""
    return all(epath.Path(path).exists() for _, *paths in known.values() for path in paths)


def _make_folds(out: epath.Path, labels: pd.DataFrame | None, job: Job) -> None:
    """Writes folds.csv unless it is there or nothing is labelled."""
    if labels is not None:
        read_or_make_folds(out / 'folds.csv', labels, job.n_folds, job.seed)


def _balance(
    out: epath.Path, labels: pd.DataFrame | None, clips: pd.DataFrame, job: Job, tell: Callable[[str], None]
) -> dict:
    """Tells and returns the sizes of the folds. Only the clips that have records count."""
    if labels is None:
        return {}
    usable = labels[labels['video_id'].isin(clips['video_id'])]
    balance = fold_balance(usable, read_fold_table(out / 'folds.csv'), job.n_folds)
    tell('\n'.join(balance_lines(balance)))
    return balance


def _decode(
    job: Job, plan: Plan, out: epath.Path, beam_options, tell: Callable[[str], None], passing: bool
) -> dict[str, Outcome]:
    """Writes the frames of all clips into the frame store, the slow stage. Returns {video_id: outcome}."""
    frames = str(out / 'frames')
    tasks = make_tasks(plan, job)
    done = frame_store.read_outcomes(frames)
    done = {task.video_id: done[task.video_id] for task in tasks if local.still_valid(done.get(task.video_id), task)}
    lost_runs = {name: outcome.lost_runs for name, outcome in done.items() if lost.is_due(outcome.lost_runs, job.retry)}
    done = {name: outcome for name, outcome in done.items() if name not in lost_runs}
    pending = [task for task in tasks if task.video_id not in done]
    where = job.runner if beam_options else f'{job.workers} workers'
    tell(f'{len(tasks)} clips, {len(tasks) - len(pending)} of them decoded before; {where}')
    if beam_options:
        beam.store_clips_by_beam(pending, frames, beam_options, lost_runs)
    else:
        n_problems = len(plan.problems()) + sum(outcome.problem is not None for outcome in done.values())
        with local.make_progress(pending, n_problems, passing) as progress:
            local.store_clips(pending, frames, job.workers, progress, lost_runs)
    outcomes = frame_store.read_outcomes(frames)
    return {task.video_id: outcomes[task.video_id] for task in tasks}


def _make_records(
    clips: pd.DataFrame, out: epath.Path, beam_options, tell: Callable[[str], None], audio: bool
) -> dict[str, dict[str, int]]:
    """Writes the records from the frame store, the quick stage. Returns {stream: {split: number of clips}}."""
    by_split = {split: rows.tolist() for split, rows in clips.groupby('split', sort=False)['video_id']}
    counts = {}
    (out / NAME).rmtree(missing_ok=True)  # a run that was killed may have written one stream
    for stream in STREAMS:
        started = time.monotonic()
        load = functools.partial(frame_store.load, str(out / 'frames'), stream)
        counts[stream] = write_records(by_split, load, out, stream, beam_options, audio)
        flush_all(out / NAME / stream)
        tell(f'records {stream}: {counts[stream]}, {time.monotonic() - started:.0f} s')
    return counts


def _description(
    out: epath.Path,
    options: dict,
    counts: dict,
    clips: pd.DataFrame,
    n_problems: int,
    balance: dict,
    lost_clips: dict[str, int],
) -> dict:
    """Returns the content of dataset.json: what the records hold, how they were made, and SHA-256 of the files.

    counts: {stream: {split: number of clips}}. clips: the table clips.csv. balance: of the folds, see fold_balance.
    lost_clips: {video_id: see Outcome.lost_runs}, of the lost ones.
    """
    audio = options.get('audio', False)
    files = [out / 'clips.csv', out / 'folds.csv', out / 'problems.csv', *(out / NAME).glob('*/*/*')]
    return {
        'what': 'TFRecord shards written by tensorflow-datasets, one tf.train.Example a clip',
        'records': {stream: f'{NAME}/{stream}/{VERSION}' for stream in STREAMS},
        'features': describe_features(audio),
        **({'sound': describe_sound()} if audio else {}),
        'clips': counts,
        **count_by_split(clips),
        'folds': balance,
        'problems': n_problems,
        **({LOST_CLIPS: lost_clips} if lost_clips else {}),
        'sha256': {str(file.relative_to(out)): sha256(file) for file in sorted(files) if file.exists()},
        'versions': {'python': platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        'options': options,
        **({'simulated': True} if are_simulated([*options['clips_down'], *options['clips_full']]) else {}),
        'command': shlex.join(['python', '-m', 'data_prep.build', *sys.argv[1:]]),
    }


def _finish_frames(out: epath.Path, delete_frames: bool) -> None:
    if delete_frames and (out / 'frames').exists():
        (out / 'frames').rmtree()


def _write_problems(out: epath.Path, problems: list[Problem]) -> None:
    write_whole(out / 'problems.csv', pd.DataFrame(sorted(problems), columns=Problem._fields).to_csv(index=False))


def _refused(out: epath.Path, problems: list[Problem]) -> list[str]:
    """Returns one text about the problems in problems.csv, none without problems."""
    if not problems:
        return []
    first = min(problems)
    where = first.row or first.video_id
    return [
        f'{len(problems)} rows or clips cannot be used, see {out}/problems.csv (the first, {where}: {first.reason})'
    ]


def _changed_clips(out: epath.Path, known: dict[str, list[str]], tell: Callable[[str], None]) -> list[Problem]:
    """Returns a problem for each clip that has changed since the data set was made. A clip may be gone by now.

    known: the content of FILES.
    """
    changed = [
        name
        for name, (files, *paths) in known.items()
        if files and all(epath.Path(path).exists() for path in paths) and not unchanged(files, paths)
    ]
    if changed:
        tell(
            f'{len(changed)} clips have changed since {out} was made, the first: {changed[0]}; to use the new files, '
            f'delete {out} or give another --out, and run the command again'
        )
    return [Problem(name, '', 'files', f'the file has changed since {out} was made') for name in changed]


def _read_problems(out: epath.Path) -> list[Problem]:
    return [Problem(*row) for row in read_table(out / 'problems.csv').itertuples(index=False)]


def main(arguments: list[str] | None = None) -> int:
    # Messages of TensorFlow and tfds about themselves would hide ours; TensorFlow computes nothing here.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    absl.logging.set_verbosity('error')
    try:
        job = parse_job(arguments, __doc__)
        s3_paths.connect((*job.clips_down, *job.clips_full, job.tables, job.detections), records=job.out)
        with s3_paths.as_os_errors():
            problems = build(job)
            with lock.hold(job.out):
                n_removed = remove_unfinished(job.out, deep=False) + remove_unfinished(os.path.join(job.out, 'frames'))
    except ValueError as error:
        print(f'build failed: {failure_line(error)}', file=sys.stderr)
        return 1
    except (OSError, guard.WorkerError) as error:
        print(
            f'build failed: {failure_line(error)}; {RESUME}',
            file=sys.stderr,
        )
        return 1
    where = f', see {job.out}/problems.csv' if problems else ''
    print(f'{len(problems)} problems{where}{removed_text(n_removed)}')
    return 3 if problems else 0


if __name__ == '__main__':
    raise SystemExit(stopping.run('build', main))
