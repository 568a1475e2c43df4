"""Clips -> what the members say of them, a batch of clips at a time: nothing grows with the number of clips but rows.

A batch is decoded into a frame store (data_prep), scored, written down and its frames are thrown away; beside an
accelerator that scores it, the next one is decoded. Clips that are written down are not touched again, so a stream that
was killed goes on with the same call; a clip whose file has another size is done anew.
"""

import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath
from PIL import Image

from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.ensemble.results import write_table
from chimp_jax.members import Member
from chimp_jax.progress import Progress
from chimp_jax.scoring import Panel
from data_prep.archive import size_bytes
from data_prep.files import write_whole
from data_prep.records import Record
from data_prep.workers import frame_store, local
from data_prep.workers.background import in_background
from data_prep.workers.clip_record import ClipTask

CLIPS_PER_BATCH = 16  # of a minute each: about two chunks of frames
ROWS, CLIPS = '.rows.parquet', '.clips.json'  # of each batch, in this order


class Streamed(NamedTuple):
    """What is known of the targets and of the clips, sorted.

    rows: video_id, time, BOX (0..1 of the picture, NaN where unknown), brightness (0..255, of the target's frame),
    and a column for each member, recipe/fold_k, in metres. clips: video_id, site, duration_s, gamma, white_fraction
    and problem, '' where all its targets have rows.
    """

    rows: pd.DataFrame
    clips: pd.DataFrame

    def answers(self) -> pd.DataFrame:
        """[rows, members], metres, indexed by (video_id, time)."""
        return self.rows.set_index(KEY).drop(columns=[*BOX, 'brightness'])


def stream_clips(tasks: Sequence[ClipTask], members: Sequence[Member], folder, panel: Panel, workers: int) -> Streamed:
    """All members over the targets of the tasks.

    folder: where results are kept; those of other members, tasks or files are left alone. workers: processes that
    decode. Raises guard.WorkerError or OSError where the machine is at fault, not a clip.
    """
    folder = epath.Path(folder) / _hash(*(member.fingerprint() for member in members))
    wanted = {task.video_id: _identity(task) for task in tasks}
    done = {clip['video_id'] for clip in _finished(folder, wanted)}
    pending = [task for task in tasks if task.video_id not in done]
    progress = Progress('estimate', len(tasks) * len(members), len(done) * len(members))
    batches = [pending[start : start + CLIPS_PER_BATCH] for start in range(0, len(pending), CLIPS_PER_BATCH)]
    names = [_hash(*(wanted[task.video_id] for task in batch)) for batch in batches]
    scratches = [folder / f'unfinished-{name}' for name in names]
    for other in folder.glob('unfinished-*'):  # of a run that was killed, and asked something else
        if other not in scratches:
            other.rmtree()

    def decode(number: int) -> list[frame_store.Outcome]:
        return _decode(batches[number], scratches[number], workers)

    decoded = in_background(decode, range(len(batches)), panel.leaves_the_cpu_free)
    if batches:
        from chimp_jax import predict  # TensorFlow's import takes seconds: meanwhile the first clips are decoded
    for number, outcomes in decoded:
        ask = functools.partial(predict.predict_records, members, panel=panel, progress=progress)
        rows = _score(outcomes, ask, scratches[number]) if any(o.row for o in outcomes) else _no_rows(members)
        if n_failed := sum(outcome.row is None for outcome in outcomes):
            progress.advance(len(members) * n_failed)
        write_table(folder / (names[number] + ROWS), rows)
        clips = [_clip(outcome) | {'identity': wanted[outcome.video_id]} for outcome in outcomes]
        write_whole(folder / (names[number] + CLIPS), json.dumps(clips))
        scratches[number].rmtree()
    return _read(folder, wanted, members)


def _decode(batch: Sequence[ClipTask], folder: epath.Path, workers: int) -> list[frame_store.Outcome]:
    """Into the frame store, what is not there yet."""
    before = frame_store.read_outcomes(folder / 'frames')
    local.store_clips([task for task in batch if task.video_id not in before], str(folder / 'frames'), workers)
    outcomes = frame_store.read_outcomes(folder / 'frames')
    return [outcomes[task.video_id] for task in batch]


def _score(outcomes, ask: Callable, folder: epath.Path) -> pd.DataFrame:
    """What ask(read, parts) answers about the clips that have records, beside what is known of their targets."""
    names = [outcome.video_id for outcome in outcomes if outcome.row]

    def read(stream: str) -> Iterator[Record]:
        return (frame_store.load(folder / 'frames', stream, name) for name in names)

    about = pd.concat([_about(record) for record in read('down')])
    answers = ask(read, folder / 'parts').members(augmented=False)
    return about.merge(answers.reset_index(), on=KEY, validate='1:1').sort_values(KEY)


def _about(record: Record) -> pd.DataFrame:
    """The box and the brightness of each target."""
    times_s = record.target_time_s
    x1, y1, x2, y2 = record.target_box.T.astype(float)
    frames = np.searchsorted(record.frame_time_s, np.minimum(times_s, record.frame_time_s[-1]))
    brightness = [_brightness(record.frame_jpeg[frame]) for frame in frames]
    box = dict(zip(BOX, (x1, y1, x2 - x1, y2 - y1), strict=True))
    return pd.DataFrame({'video_id': record.video_id, 'time': times_s.astype(int), **box, 'brightness': brightness})


def _brightness(jpeg: bytes) -> float:
    """Mean luma, 0..255; from the coarsest form that the decoder gives, an eighth of the size."""
    picture = Image.open(io.BytesIO(jpeg))
    picture.draft('L', (1, 1))
    return float(np.asarray(picture.convert('L')).mean())


def _clip(outcome: frame_store.Outcome) -> dict:
    row = outcome.row or {}
    about = {name: row.get(name) for name in ('site', 'duration_s', 'gamma', 'white_fraction')}
    return {'video_id': outcome.video_id, **about, 'problem': outcome.problem[1] if outcome.problem else ''}


def _finished(folder: epath.Path, wanted: dict[str, str]) -> list[dict]:
    """What stands in the folder of the wanted clips {video_id: identity}."""
    batches = {path.name.removesuffix(CLIPS): json.loads(path.read_text()) for path in sorted(folder.glob(f'*{CLIPS}'))}
    clips = (clip | {'batch': name} for name, batch in batches.items() for clip in batch)
    return [clip for clip in clips if wanted.get(clip['video_id']) == clip['identity']]


def _read(folder: epath.Path, wanted: dict[str, str], members: Sequence[Member]) -> Streamed:
    clips = {clip['video_id']: clip for clip in _finished(folder, wanted)}
    parts = [_no_rows(members)]
    for path in {folder / (clip['batch'] + ROWS) for clip in clips.values()}:
        rows = pd.read_parquet(io.BytesIO(path.read_bytes()))
        batch = path.name.removesuffix(ROWS)  # where a clip stands in several, one counts
        parts.append(rows[[name in clips and clips[name]['batch'] == batch for name in rows['video_id']]])
    columns = ['video_id', 'site', 'duration_s', 'gamma', 'white_fraction', 'problem']
    table = pd.DataFrame([clips[name] for name in sorted(clips)], columns=columns)
    return Streamed(pd.concat(parts).sort_values(KEY, ignore_index=True), table)


def _no_rows(members: Sequence[Member]) -> pd.DataFrame:
    keys = {'video_id': np.zeros(0, object), 'time': np.zeros(0, int)}
    return pd.DataFrame(keys | {name: np.zeros(0) for name in [*BOX, 'brightness', *(m.name for m in members)]})


def _identity(task: ClipTask) -> str:
    """Of what was asked about which file."""
    sizes = [size_bytes(path) for path in (task.down_path, task.full_path) if path]
    return _hash(repr(tuple(task)), repr(sizes))


def _hash(*texts: str) -> str:
    return hashlib.sha256('\n'.join(texts).encode(errors='backslashreplace')).hexdigest()[:20]
