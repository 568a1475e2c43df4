"""The slow first stage on this machine: decodes clips into the frame store, in workers that may die.

beam.py runs the same function on many machines.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from data_prep.archive import size_bytes
from data_prep.decoding.container import ClipError
from data_prep.files import fingerprint, unchanged
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.workers import guard, lost
from data_prep.workers.clip_record import ClipRecords, ClipTask, make_records
from data_prep.workers.frame_store import Outcome, clip_row, store

STORE_CLIP = 'data_prep.workers.local:store_clip'
_NEVER_LOST: Mapping[str, int] = MappingProxyType({})


def make_progress(tasks: Sequence[ClipTask], n_problems: int, passing: bool = False) -> Progress:
    """Returns the progress line of store_clips. n_problems: problems that are known already.

    passing: of the line, see Progress.
    """
    return Progress('decoded', len(tasks), problems=n_problems, work=sum(map(work_of, tasks)), passing=passing)


def store_clips(
    tasks: Sequence[ClipTask],
    frames: str,
    workers: int,
    progress: Progress | None = None,
    lost_runs: Mapping[str, int] = _NEVER_LOST,
) -> None:
    """Decodes clips into the frame store.

    frames: its folder. progress: a line from make_progress, None for no line. lost_runs: {video_id: the runs in a row
    that have lost the clip}. Raises guard.WorkerError if the cause is not a clip, for example a full disk.
    """
    # Long clips first: otherwise the last worker decodes a long clip while the others wait.
    work = {task.video_id: work_of(task) for task in tasks}
    pending = sorted(((frames, task) for task in tasks), key=lambda pair: work[pair[1].video_id], reverse=True)
    for (_, task), result in guard.run_guarded(
        STORE_CLIP, pending, workers, lambda pair: deadline_s(work[pair[1].video_id])
    ):
        outcome = settle(frames, task, result, lost_runs.get(task.video_id, 0))
        if progress:
            progress.advance(work=work[task.video_id], problems=outcome.problem is not None)


def settle(frames: str, task: ClipTask, result: 'Outcome | guard.WorkerDied', lost_runs: int) -> Outcome:
    """Returns the outcome of a clip, and stores one if the worker died. lost_runs: of the clip, before this run."""
    if not isinstance(result, guard.WorkerDied):
        return result
    reason, lost_runs = lost.judge(result, lost_runs)
    return _store(frames, task, Outcome(task.video_id, None, ('decode', reason), lost_runs=lost_runs), {})


def store_clip(pair: tuple[str, ClipTask]) -> Outcome:
    """Decodes one clip into the frame store. Runs in a worker.

    An error of the clip becomes its outcome. An error of the disk is raised, because it would hit the next clip too.
    """
    frames, task = pair
    try:
        made = make_records(task)
    except ClipError as error:
        outcome, records = Outcome(task.video_id, None, ('decode', str(error))), {}
    else:
        outcome, records = _outcome(task.video_id, made), made.records
    return _store(frames, task, outcome, records)


def still_valid(outcome: Outcome | None, task: ClipTask) -> bool:
    """Returns whether a stored outcome is that of the clip's present files."""
    return outcome is not None and unchanged(outcome.files, task.paths())


def _store(frames: str, task: ClipTask, outcome: Outcome, records: dict[str, Record]) -> Outcome:
    # A mended clip may have the size, the first and the last bytes of the broken one: then all bytes decide.
    outcome = outcome._replace(files=fingerprint(task.paths(), whole=outcome.problem is not None))
    store(frames, outcome, records)
    return outcome


def _outcome(video_id: str, made: ClipRecords) -> Outcome:
    texts = {stream: str(doubt) for stream, doubt in made.doubts.items()}
    same = texts['down'] == texts['full']
    doubtful = texts['full'] if same else '; '.join(f'{stream}: {text}' for stream, text in texts.items() if text)
    row = clip_row(made.records['full'], doubtful, made.sound) if made.records else None
    if row and made.enhanced is not None:
        row['enhanced'] = made.enhanced
    left_out = [f'{made.n_left_out} targets left out'] if made.n_left_out else []
    if left_out or any(doubt.concerns_all() for doubt in made.doubts.values()):
        return Outcome(video_id, row, ('damage', '; '.join(filter(None, [*left_out, doubtful, made.outside]))))
    return Outcome(video_id, row, ('boxes', made.outside) if made.outside else None)


def work_of(task: ClipTask) -> float:
    """Returns the approximate time of a clip in seconds: 1 s per megabyte and 0.1 s for opening it."""
    return 0.1 + 1e-6 * sum(map(size_bytes, task.paths()))


def deadline_s(work: float) -> float:
    """Returns the seconds that a clip may take: many times the time of a slow machine."""
    return 120 + 5 * work
