"""Clips -> the members' predictions, a batch of clips at a time. In memory, only the result rows grow.

A batch is decoded into a frame store (data_prep) and scored, its results are written, and its frames are deleted. While
an accelerator scores a batch, the next one is decoded. Clips with written results are not touched again: the same call
resumes a stream that was killed. If a clip's file has changed, the clip is done again.
"""

import functools
import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath
from PIL import Image

from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.ensemble.results import write_table
from chimp_jax.members import Member, identities
from chimp_jax.scoring import Panel, target_boxes
from data_prep.files import fingerprint, read_json, unchanged, write_whole
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.workers import frame_store, local, lost
from data_prep.workers.background import in_background
from data_prep.workers.clip_record import ClipTask

CLIPS_PER_BATCH = 16  # of a minute each: about two chunks of frames
ABOUT = ('brightness', 'shared')  # of a row, beside its key, its box and the predictions
ROWS, CLIPS = '.rows.parquet', '.clips.json'  # the files of each batch, in the order in which they are written
_LOST_RUNS = 'lost_runs'  # of a clip in CLIPS, see frame_store.Outcome
MEMBERS = 'members.json'  # of the results in a folder: {name: hash of everything its predictions depend on}


class Streamed(NamedTuple):
    """The results of the targets and of the clips, sorted.

    rows: KEY, BOX (0..1 of the picture, NaN if unknown), brightness (0..255, of the target's frame), shared (whether a
    member gives an animal the distance of the whole picture), and a column for each member, recipe/fold_k, in metres.
    clips: video_id, site, duration_s, gamma, white_fraction and problem, '' if all its targets have rows.
    """

    rows: pd.DataFrame
    clips: pd.DataFrame

    def answers(self) -> pd.DataFrame:
        """Returns the predictions [rows, members], metres, indexed by KEY."""
        return self.rows.set_index(KEY).drop(columns=[*BOX, *ABOUT])


class ClipBatch(NamedTuple):
    """Some clips and the members whose predictions for them are missing."""

    name: str  # of its files: a hash of what is asked of which clips
    tasks: tuple[ClipTask, ...]
    members: tuple[str, ...]
    lost_runs: tuple[tuple[str, int], ...] = ()  # (video_id, runs) of its clips that earlier runs lost, see lost.py


class _Saved(NamedTuple):
    """A batch in which a clip was answered, and the members that count from it."""

    folder: str
    batch: str
    members: tuple[str, ...]


class Answered(NamedTuple):
    """The saved results of clips: {video_id: ...}, in the order of the tasks."""

    clips: dict[str, dict]
    saved: dict[str, list[_Saved]]

    def due(self, retry: bool) -> dict[str, int]:
        """Returns {video_id: runs that lost it} of the clips that a run tries again."""
        runs = {name: clip.get(_LOST_RUNS, 0) for name, clip in self.clips.items()}
        return {name: n for name, n in runs.items() if lost.is_due(n, retry)}


def stream_clips(
    tasks: Sequence[ClipTask],
    members: Sequence[Member],
    folder,
    panel: Panel,
    workers: int,
    progress: Progress,
    retry: bool = False,
) -> Streamed:
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
    return read_answered(find_answered(tasks, members, folder) if batches else answered, members, folder)


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
    folder, scratch = epath.Path(folder), epath.Path(scratch)

    def decode(batch: ClipBatch) -> list[frame_store.Outcome]:
        return _decode(batch, scratch / batch.name, workers)

    decoded = in_background(decode, batches, panel.leaves_the_cpu_free)
    if batches:
        from chimp_jax import predict  # TensorFlow's import takes seconds; meanwhile the first clips are decoded
    for batch, outcomes in decoded:
        asked = [member for member in members if member.name in batch.members]
        ask = functools.partial(predict.predict_records, asked, panel=panel, progress=progress)
        has_records = any(outcome.row for outcome in outcomes)
        rows = _score(outcomes, ask, scratch / batch.name) if has_records else _no_rows(batch.members)
        n_failed = sum(outcome.row is None for outcome in outcomes)
        n_problems = sum(outcome.problem is not None for outcome in outcomes)
        progress.advance(n_failed, work=n_failed * len(asked), problems=n_problems)
        clips = [
            _clip(outcome) | {'request': names_request(task), 'files': outcome.files, _LOST_RUNS: outcome.lost_runs}
            for outcome, task in zip(outcomes, batch.tasks, strict=True)
        ]
        place = folder / _folder_name(asked)
        write_whole(place / MEMBERS, json.dumps(identities(asked)))
        write_table(place / (batch.name + ROWS), rows)
        write_whole(place / (batch.name + CLIPS), json.dumps(clips))
        (scratch / batch.name).rmtree()


def plan_batches(
    tasks: Sequence[ClipTask], members: Sequence[Member], answered: Answered, due: Mapping[str, int]
) -> list[ClipBatch]:
    """Returns what is missing, in batches of clips that lack the same members.

    due: {video_id: runs that had lost the clip when this run began} of the lost clips that are tried again.
    """
    again = {name: runs for name, runs in due.items() if answered.clips[name].get(_LOST_RUNS) == runs}
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
    return [
        ClipBatch(
            name, tuple(some), missing, tuple((t.video_id, again[t.video_id]) for t in some if t.video_id in again)
        )
        for name, (some, missing) in zip(names, batches, strict=True)
    ]


def _names(batches: Sequence[Sequence[ClipTask]]) -> list[str]:
    """Returns a name for each batch, by what is asked of which files."""

    def identity(task: ClipTask) -> str:
        return f'{names_request(task)} {fingerprint(task.paths())}'

    with ThreadPoolExecutor(16) as threads:  # reading parts of many files takes time, above all over a network
        hashes = threads.map(identity, itertools.chain.from_iterable(batches))
        return [_hash(*itertools.islice(hashes, len(batch))) for batch in batches]


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
    about = {name: row.get(name) for name in ('site', 'duration_s', 'gamma', 'white_fraction')}
    return {'video_id': outcome.video_id, **about, 'problem': outcome.problem[1] if outcome.problem else ''}


def find_answered(tasks: Sequence[ClipTask], members: Sequence[Member], folder) -> Answered:
    """Returns the results of the tasks by these members that are in the folder, of clips without changed files.

    Results of several runs add up, so a member that joins later is asked alone. A run with further members does not
    count, because its rows tell what all of its members together say. Results of version 0.1 do not tell the content
    of the files and do not count.
    """
    by_name = {task.video_id: task for task in tasks}
    found: dict[str, list[tuple[_Saved, dict]]] = {}
    for place, theirs in places_of(epath.Path(folder), members):
        for path in sorted(place.glob(f'*{CLIPS}')):
            saved = _Saved(place.name, path.name.removesuffix(CLIPS), theirs)
            rows = place / (saved.batch + ROWS)
            for clip in (read_json(path) or []) if _is_whole(rows) else []:
                task = by_name.get(clip['video_id'])
                if task and clip.get('request') == names_request(task):
                    found.setdefault(task.video_id, []).append((saved, clip))

    def chosen(name: str) -> tuple[dict, list[_Saved]]:
        is_valid = functools.cache(lambda files: unchanged(files, by_name[name].paths()))
        about, known, counting = {}, set(), []
        for saved, clip in sorted(found[name], key=_lost_last):
            new = tuple(member for member in saved.members if member not in known)
            if new and is_valid(clip['files']):
                about = about or clip
                known |= {*new}
                counting.append(saved._replace(members=new))
        return about, counting

    names = [name for name in by_name if name in found]
    with ThreadPoolExecutor(16) as threads:
        results = dict(zip(names, threads.map(chosen, names), strict=True))
    return Answered(
        {name: clip for name, (clip, saved) in results.items() if saved},
        {name: saved for name, (_, saved) in results.items() if saved},
    )


def _lost_last(result: tuple[_Saved, dict]) -> tuple[bool, int]:
    """Sorts the results of a clip: those of runs that did not lose it, then that of the last run that lost it."""
    lost_runs = result[1].get(_LOST_RUNS, 0)
    return lost_runs > 0, -lost_runs


def _is_whole(rows: epath.Path) -> bool:
    """Returns whether a Parquet file has its end."""
    if not rows.exists():
        return False
    with rows.open('rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4))
        return file.read() == b'PAR1'


def places_of(folder: epath.Path, members: Sequence[Member]) -> list[tuple[epath.Path, tuple[str, ...]]]:
    """Returns (folder, names of its members) of the results by some of these members; most members first."""
    wanted = identities(members)
    places = []
    for path in folder.glob(f'*/{MEMBERS}'):
        theirs = read_json(path)
        if theirs and theirs.items() <= wanted.items():
            places.append((path.parent, tuple(theirs)))
    whole = folder / _folder_name(members)  # version 0.1 wrote no file of members
    if not (whole / MEMBERS).exists():
        places.append((whole, tuple(wanted)))
    return sorted(places, key=lambda place: (-len(place[1]), place[0].name))


def read_answered(answered: Answered, members: Sequence[Member], folder) -> Streamed:
    """Returns the saved results in one table."""
    columns = ['video_id', 'site', 'duration_s', 'gamma', 'white_fraction', 'problem']
    table = pd.DataFrame([answered.clips[name] for name in sorted(answered.clips)], columns=columns)
    files: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for name, places in answered.saved.items():
        for saved in places:
            files.setdefault((saved.folder, saved.batch), {})[name] = saved.members
    parts = [_no_rows([member.name for member in members])]
    for (place, batch), counting in sorted(files.items()):
        rows = pd.read_parquet(io.BytesIO((epath.Path(folder) / place / (batch + ROWS)).read_bytes()))
        from_here = rows['video_id'].map(counting)  # if a clip is in several batches, each member counts once
        for some in {*counting.values()}:
            parts.append(rows.loc[[names == some for names in from_here], [*KEY, *BOX, *ABOUT, *some]])
    rows = pd.concat(parts)
    if any(len(places) > 1 for places in answered.saved.values()):  # rows of some members each
        shared = rows.groupby(KEY)['shared'].any()
        rows = rows.groupby(KEY).first().assign(shared=shared).reset_index()[parts[0].columns]
    return Streamed(rows.sort_values(KEY, ignore_index=True), table)


def _no_rows(members: Sequence[str]) -> pd.DataFrame:
    keys = {'video_id': np.zeros(0, object), 'time': np.zeros(0, int), 'animal': np.zeros(0, object)}
    numbers = {name: np.zeros(0) for name in [*BOX, 'brightness', *members]}
    return pd.DataFrame(keys | {'shared': np.zeros(0, bool)} | numbers)


def _folder_name(members: Sequence[Member]) -> str:
    return _hash(*(member.fingerprint() for member in members))


def names_request(task: ClipTask) -> str:
    """Returns a hash of what is asked of a clip."""
    return _hash(repr(tuple(task)))


def _hash(*texts: str) -> str:
    return hashlib.sha256('\n'.join(texts).encode(errors='backslashreplace')).hexdigest()[:20]
