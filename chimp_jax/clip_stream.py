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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath
from PIL import Image

from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.ensemble.results import write_table
from chimp_jax.members import Member
from chimp_jax.scoring import Panel, target_boxes
from data_prep.files import fingerprint, read_json, unchanged, write_whole
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.workers import frame_store, local
from data_prep.workers.background import in_background
from data_prep.workers.clip_record import ClipTask

CLIPS_PER_BATCH = 16  # of a minute each: about two chunks of frames
ABOUT = ('brightness', 'shared')  # of a row, beside its key, its box and the predictions
ROWS, CLIPS = '.rows.parquet', '.clips.json'  # the files of each batch, in the order in which they are written


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


def stream_clips(
    tasks: Sequence[ClipTask], members: Sequence[Member], folder, panel: Panel, workers: int, progress: Progress
) -> Streamed:
    """Predicts the targets of the tasks by all members.

    folder: where results are saved; results of other members, tasks or files in it are left alone. workers: processes
    that decode. progress counts clips; its work is a clip for each member. Raises guard.WorkerError or OSError if the
    machine is at fault, not a clip.
    """
    folder = epath.Path(folder) / _hash(*(member.fingerprint() for member in members))
    finished = _finished(folder, tasks)
    done = {clip['video_id'] for clip in finished}
    progress.skip(len(done), work=len(done) * len(members))
    pending = [task for task in tasks if task.video_id not in done]
    batches = [pending[start : start + CLIPS_PER_BATCH] for start in range(0, len(pending), CLIPS_PER_BATCH)]
    names = _names(batches)
    scratches = [folder / f'unfinished-{name}' for name in names]
    for other in folder.glob('unfinished-*'):  # of a killed run with other clips
        if other not in scratches:
            other.rmtree()

    def decode(number: int) -> list[frame_store.Outcome]:
        return _decode(batches[number], scratches[number], workers)

    decoded = in_background(decode, range(len(batches)), panel.leaves_the_cpu_free)
    if batches:
        from chimp_jax import predict  # TensorFlow's import takes seconds; meanwhile the first clips are decoded
    for number, outcomes in decoded:
        ask = functools.partial(predict.predict_records, members, panel=panel, progress=progress)
        rows = _score(outcomes, ask, scratches[number]) if any(o.row for o in outcomes) else _no_rows(members)
        n_failed = sum(outcome.row is None for outcome in outcomes)
        n_problems = sum(outcome.problem is not None for outcome in outcomes)
        progress.advance(n_failed, work=n_failed * len(members), problems=n_problems)
        write_table(folder / (names[number] + ROWS), rows)
        clips = [
            _clip(outcome) | {'request': _request(task), 'files': outcome.files}
            for outcome, task in zip(outcomes, batches[number], strict=True)
        ]
        write_whole(folder / (names[number] + CLIPS), json.dumps(clips))
        finished += [clip | {'batch': names[number]} for clip in clips]
        scratches[number].rmtree()
    return _read(folder, finished, members)


def _names(batches: Sequence[Sequence[ClipTask]]) -> list[str]:
    """Returns a name for each batch, by what is asked of which files."""

    def identity(task: ClipTask) -> str:
        return f'{_request(task)} {fingerprint(task.paths())}'

    with ThreadPoolExecutor(16) as threads:  # reading parts of many files takes time, above all over a network
        identities = threads.map(identity, itertools.chain.from_iterable(batches))
        return [_hash(*itertools.islice(identities, len(batch))) for batch in batches]


def _decode(batch: Sequence[ClipTask], folder: epath.Path, workers: int) -> list[frame_store.Outcome]:
    """Decodes into the frame store the clips that are not there yet. Returns the outcomes of all."""
    before = frame_store.read_outcomes(folder / 'frames')
    pending = [task for task in batch if not local.still_valid(before.get(task.video_id), task)]
    local.store_clips(pending, str(folder / 'frames'), workers)
    outcomes = frame_store.read_outcomes(folder / 'frames')
    return [outcomes[task.video_id] for task in batch]


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


def _finished(folder: epath.Path, tasks: Sequence[ClipTask]) -> list[dict]:
    """Returns the clips of the tasks whose results are in the folder, each once, without changed files.

    Results of version 0.1 do not tell the content of the files and do not count.
    """
    by_name = {task.video_id: task for task in tasks}
    found = {}
    for path in sorted(folder.glob(f'*{CLIPS}')):
        rows = folder / (path.name.removesuffix(CLIPS) + ROWS)
        for clip in (read_json(path) or []) if _is_whole(rows) else []:
            task = by_name.get(clip['video_id'])
            if task and clip.get('request') == _request(task):
                found.setdefault(task.video_id, []).append(clip | {'batch': path.name.removesuffix(CLIPS)})

    def valid(name: str) -> dict | None:
        paths = by_name[name].paths()
        return next((clip for clip in found[name] if unchanged(clip['files'], paths)), None)

    with ThreadPoolExecutor(16) as threads:
        return [clip for clip in threads.map(valid, found) if clip]


def _is_whole(rows: epath.Path) -> bool:
    """Returns whether a Parquet file has its end."""
    return rows.exists() and rows.read_bytes().endswith(b'PAR1')


def _read(folder: epath.Path, finished: Sequence[dict], members: Sequence[Member]) -> Streamed:
    clips = {clip['video_id']: clip for clip in finished}
    parts = [_no_rows(members)]
    for path in {folder / (clip['batch'] + ROWS) for clip in clips.values()}:
        rows = pd.read_parquet(io.BytesIO(path.read_bytes()))
        batch = path.name.removesuffix(ROWS)  # if a clip is in several batches, one counts
        parts.append(rows[[name in clips and clips[name]['batch'] == batch for name in rows['video_id']]])
    columns = ['video_id', 'site', 'duration_s', 'gamma', 'white_fraction', 'problem']
    table = pd.DataFrame([clips[name] for name in sorted(clips)], columns=columns)
    return Streamed(pd.concat(parts).sort_values(KEY, ignore_index=True), table)


def _no_rows(members: Sequence[Member]) -> pd.DataFrame:
    keys = {'video_id': np.zeros(0, object), 'time': np.zeros(0, int), 'animal': np.zeros(0, object)}
    numbers = {name: np.zeros(0) for name in [*BOX, 'brightness', *(m.name for m in members)]}
    return pd.DataFrame(keys | {'shared': np.zeros(0, bool)} | numbers)


def _request(task: ClipTask) -> str:
    """Returns a hash of what is asked of a clip."""
    return _hash(repr(tuple(task)))


def _hash(*texts: str) -> str:
    return hashlib.sha256('\n'.join(texts).encode(errors='backslashreplace')).hexdigest()[:20]
