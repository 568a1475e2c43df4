"""Clips -> the members' predictions, a batch of clips at a time. Frames and rows of a batch at a time are in memory.

A batch is decoded into a frame store (data_prep) and scored, its results are written, and its frames are deleted. While
an accelerator scores a batch, the next one is decoded. Clips with written results are not touched again: the same call
resumes a stream that was killed. If a clip's file has changed, the clip is done again.
"""

import functools
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath
from PIL import Image

from chimp_jax import predict
from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.members import Member
from chimp_jax.panel import Panel
from chimp_jax.scoring import target_boxes
from chimp_jax.streamed.results import CLIP, no_rows
from chimp_jax.streamed.saved import (
    CLIPS,
    LOST_RUNS,
    THREADS,
    Answered,
    SavedStream,
    find_answered,
    folder_name,
    request_of,
    save_batch,
    text_hash,
)
from data_prep.files import fingerprint
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.workers import frame_store, local
from data_prep.workers.background import in_background
from data_prep.workers.clip_record import ClipTask

CLIPS_PER_BATCH = 16  # of a minute each: about two chunks of frames


class ClipBatch(NamedTuple):
    """Some clips and the members whose predictions for them are missing."""

    name: str  # of its files: a hash of what is asked of which clips
    tasks: tuple[ClipTask, ...]
    members: tuple[str, ...]
    lost_runs: tuple[tuple[str, int], ...] = ()  # (video_id, runs) of its clips that earlier runs lost, see lost.py


def stream_clips(
    tasks: Sequence[ClipTask],
    members: Sequence[Member],
    folder,
    panel: Panel,
    workers: int,
    progress: Progress,
    retry: bool = False,
) -> SavedStream:
    """Predicts the targets of the tasks by all members.

    folder: where results are saved; results of other members, tasks or files in it are left alone. workers: processes
    that decode. progress counts clips; its work is a clip for each member. retry: see lost.py. Raises guard.WorkerError
    or OSError if the machine is at fault, not a clip.
    """
    answered = find_answered(tasks, members, folder)
    batches = plan_batches(tasks, members, answered, answered.due(retry))
    n_left = sum(len(batch.tasks) for batch in batches)
    n_missing = sum(len(batch.tasks) * len(batch.members) for batch in batches)
    progress.skip(len(tasks) - n_left, work=len(tasks) * len(members) - n_missing)
    scratch = epath.Path(folder) / 'unfinished'
    for other in scratch.glob('*') if scratch.exists() else ():  # of a killed run with other clips
        if other.name not in {batch.name for batch in batches}:
            other.rmtree()
    answer_batches(batches, members, folder, scratch, panel, workers, progress)
    if scratch.exists():
        scratch.rmtree()
    return SavedStream(find_answered(tasks, members, folder) if batches else answered, members, folder)


def answer_batches(
    batches: Sequence[ClipBatch],
    members: Sequence[Member],
    folder,
    scratch,
    panel: Panel,
    workers: int,
    progress: Progress,
) -> None:
    """Predicts batches of clips and saves the results. The machines of a cluster run it, each for some batches.

    members: at least those of the batches. scratch: folder for the frames of unfinished batches, which are deleted when
    their batch is finished; it may be on the machine's own disk. The other arguments and errors are as of stream_clips.
    """
    scratch = epath.Path(scratch)

    def decode(batch: ClipBatch) -> list[frame_store.Outcome]:
        return _decode(batch, scratch / batch.name, workers)

    decoded = in_background(decode, batches, panel.leaves_the_cpu_free)
    if batches:  # while the first clips are decoded
        panel.prepare(next(member for member in members if member.name in batches[0].members))
    for batch, outcomes in decoded:
        asked = [member for member in members if member.name in batch.members]
        ask = functools.partial(predict.predict_records, asked, panel=panel, progress=progress)
        has_records = any(outcome.row for outcome in outcomes)
        rows = _score(outcomes, ask, scratch / batch.name) if has_records else no_rows(batch.members)
        n_failed = sum(outcome.row is None for outcome in outcomes)
        n_problems = sum(outcome.problem is not None for outcome in outcomes)
        progress.advance(n_failed, work=n_failed * len(asked), problems=n_problems)
        clips = [
            _clip(outcome) | {'request': request_of(task), 'files': outcome.files, LOST_RUNS: outcome.lost_runs}
            for outcome, task in zip(outcomes, batch.tasks, strict=True)
        ]
        save_batch(folder, batch.name, asked, rows, clips)
        (scratch / batch.name).rmtree()


def plan_batches(
    tasks: Sequence[ClipTask], members: Sequence[Member], answered: Answered, due: Mapping[str, int]
) -> list[ClipBatch]:
    """Returns what is missing, in batches of clips that lack the same members.

    due: {video_id: runs that had lost the clip when this run began} of the lost clips that are tried again.
    """
    again = {name: runs for name, runs in due.items() if answered.lost_runs.get(name) == runs}
    lacking: dict[tuple[str, ...], list[ClipTask]] = {}
    for task in tasks:
        saved_before = () if task.video_id in again else answered.saved.get(task.video_id, ())
        known = {name for saved in saved_before for name in saved.members}
        missing = tuple(member.name for member in members if member.name not in known)
        if missing:
            lacking.setdefault(missing, []).append(task)
    batches = [
        (some[start : start + CLIPS_PER_BATCH], missing)
        for missing, some in lacking.items()
        for start in range(0, len(some), CLIPS_PER_BATCH)
    ]
    names = _names([some for some, _ in batches])
    planned = []
    for name, (some, missing) in zip(names, batches, strict=True):
        lost_runs = tuple((task.video_id, again[task.video_id]) for task in some if task.video_id in again)
        name = text_hash(name, repr(lost_runs)) if lost_runs else name  # else its results would count as finished
        planned.append(ClipBatch(name, tuple(some), missing, lost_runs))
    return planned


def find_finished(batches: Sequence[ClipBatch], members: Sequence[Member], folder) -> set[int]:
    """Returns the numbers of those batches whose results are saved. Lists the folders, reads no file."""
    saved = {}
    for names in {batch.members for batch in batches}:
        place = epath.Path(folder) / folder_name([member for member in members if member.name in names])
        saved[names] = {path.name for path in place.glob(f'*{CLIPS}')}
    return {number for number, batch in enumerate(batches) if batch.name + CLIPS in saved[batch.members]}


def _names(batches: Sequence[Sequence[ClipTask]]) -> list[str]:
    """Returns a name for each batch, by what is asked of which files."""

    def identity(task: ClipTask) -> str:
        return f'{request_of(task)} {fingerprint(task.paths())}{" audio" if task.audio else ""}'

    with ThreadPoolExecutor(THREADS) as threads:  # reading parts of many files takes time, above all over a network
        hashes = threads.map(identity, itertools.chain.from_iterable(batches))
        return [text_hash(*itertools.islice(hashes, len(batch))) for batch in batches]


def _decode(batch: ClipBatch, folder: epath.Path, workers: int) -> list[frame_store.Outcome]:
    """Decodes into the frame store the clips that are not there yet. Returns the outcomes of all."""
    before = frame_store.read_outcomes(folder / 'frames')
    pending = [task for task in batch.tasks if not local.still_valid(before.get(task.video_id), task)]
    local.store_clips(pending, str(folder / 'frames'), workers, lost_runs=dict(batch.lost_runs))
    outcomes = frame_store.read_outcomes(folder / 'frames')
    return [outcomes[task.video_id] for task in batch.tasks]


def _score(outcomes, ask: Callable, folder: epath.Path) -> pd.DataFrame:
    """Returns the rows of the clips that have records: boxes, brightness, and the predictions of ask(read, parts)."""
    names = [outcome.video_id for outcome in outcomes if outcome.row]

    def read(stream: str) -> Iterator[Record]:
        return (frame_store.load(folder / 'frames', stream, name) for name in names)

    about = pd.concat([_about(record) for record in read('down')])
    predictions = ask(read, folder / 'parts')
    answers = predictions.members(augmented=False).assign(shared=predictions.shared)
    return about.merge(answers.reset_index(), on=KEY, validate='1:1').sort_values(KEY)


def _about(record: Record) -> pd.DataFrame:
    """Returns the box and the brightness of each target."""
    times_s = record.target_time_s
    frames = np.searchsorted(record.frame_time_s, np.minimum(times_s, record.frame_time_s[-1]))
    brightness = [_brightness(record.frame_jpeg[frame]) for frame in frames]
    about = target_boxes([record]).assign(brightness=brightness)
    keys = {'video_id': record.video_id, 'time': times_s.astype(int), 'animal': np.array(record.target_animal, object)}
    return pd.DataFrame(keys).join(about)


def _brightness(jpeg: bytes) -> float:
    """Returns the mean luma, 0..255, from the coarsest form that the decoder offers: an eighth of the size."""
    picture = Image.open(io.BytesIO(jpeg))
    picture.draft('L', (1, 1))
    return float(np.asarray(picture.convert('L')).mean())


def _clip(outcome: frame_store.Outcome) -> dict:
    row = outcome.row or {}
    about = {name: row.get(name) for name in CLIP[1:-1]}
    return {'video_id': outcome.video_id, **about, 'problem': outcome.problem[1] if outcome.problem else ''}
