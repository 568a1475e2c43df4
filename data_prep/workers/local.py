"""The slow first stage: every clip -> frame store, each in a worker that may die. On this machine; beam_stage.py runs
the same on many.
"""

from collections.abc import Sequence

from data_prep.archive import size_bytes
from data_prep.decoding.container import ClipError
from data_prep.progress import Progress
from data_prep.workers import guard
from data_prep.workers.clip_record import ClipRecords, ClipTask, make_records
from data_prep.workers.frame_store import Outcome, clip_row, store

STORE_CLIP = 'data_prep.workers.local:store_clip'


def make_progress(tasks: Sequence[ClipTask], n_problems: int) -> Progress:
    """n_problems: those that are known already."""
    return Progress('decoded', len(tasks), problems=n_problems, work=sum(map(work_of, tasks)))


def store_clips(tasks: Sequence[ClipTask], frames: str, workers: int, progress: Progress | None = None) -> None:
    """frames: folder of the frame store.

    Raises guard.WorkerError where the fault is not a clip's: a full disk, say.
    """
    # Long clips first: otherwise the last worker decodes one while the others have nothing to do.
    work = {task.video_id: work_of(task) for task in tasks}
    pending = sorted(((frames, task) for task in tasks), key=lambda pair: work[pair[1].video_id], reverse=True)
    for (_, task), result in guard.run_guarded(
        STORE_CLIP, pending, workers, lambda pair: deadline_s(work[pair[1].video_id])
    ):
        outcome = settle(frames, task, result)
        if progress:
            progress.advance(work=work[task.video_id], problems=outcome.problem is not None)


def settle(frames: str, task: ClipTask, result: 'Outcome | guard.WorkerDied') -> Outcome:
    """Of a clip whose worker died, too, there is an outcome."""
    if not isinstance(result, guard.WorkerDied):
        return result
    outcome = Outcome(task.video_id, None, ('decode', result.reason))
    store(frames, outcome, {})
    return outcome


def store_clip(pair: tuple[str, ClipTask]) -> Outcome:
    """Runs in a worker: one clip into the frame store.

    Errors of the clip are values; an error of the disk is raised, for it would meet the next clip too.
    """
    frames, task = pair
    try:
        made = make_records(task)
    except ClipError as error:
        outcome, records = Outcome(task.video_id, None, ('decode', str(error))), {}
    else:
        outcome, records = _outcome(task.video_id, made), made.records
    store(frames, outcome, records)
    return outcome


def _outcome(video_id: str, made: ClipRecords) -> Outcome:
    texts = {stream: str(doubt) for stream, doubt in made.doubts.items()}
    same = texts['down'] == texts['full']
    doubtful = texts['full'] if same else '; '.join(f'{stream}: {text}' for stream, text in texts.items() if text)
    row = clip_row(made.records['full'], doubtful) if made.records else None
    left_out = [f'{made.n_left_out} targets left out'] if made.n_left_out else []
    if left_out or any(doubt.missing_end for doubt in made.doubts.values()):
        return Outcome(video_id, row, ('damage', '; '.join([*left_out, doubtful])))
    return Outcome(video_id, row, None)


def work_of(task: ClipTask) -> float:
    """About the seconds that a clip takes: one a megabyte and a tenth for opening it."""
    return 0.1 + 1e-6 * sum(size_bytes(path) for path in (task.down_path, task.full_path) if path)


def deadline_s(work: float) -> float:
    """How long a clip may take, by its size: many times what a slow machine needs."""
    return 120 + 5 * work
