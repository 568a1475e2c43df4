"""The slow first stage: clips -> frame store, one small file a clip and stream.

A file appears whole or not at all, so a build that was killed goes on where it stopped.
"""

import hashlib
import io
import itertools
import json
import os
import re
import time
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from etils import epath

from data_prep import guard
from data_prep.clip_record import make_records
from data_prep.decode import ClipError
from data_prep.labels import Problem
from data_prep.records import STREAMS, Record

_ARRAYS = ('frame_time_s', 'target_time_s', 'target_distance_m')
_SIMPLE = tuple(field.name for field in fields(Record) if field.name not in (*_ARRAYS, 'frame_jpeg'))


class ClipTask(NamedTuple):
    """What a worker needs to make the records of one clip."""

    frames: str  # folder of the frame store
    video_id: str
    down_path: str | None
    full_path: str | None
    target_time_s: list[int] | None  # None: every whole second
    target_distance_m: list[float] | None
    site: str
    park: str


def make_frames(tasks: list[ClipTask], workers: int, n_problems: int) -> list[Problem]:
    """Every clip that is not in the frame store yet, each in a worker that may die.

    n_problems: those that are known already, for the progress lines. Returns the new ones.
    """
    pending = [task for task in tasks if not is_stored(task.frames, task.video_id)]
    n_before = len(tasks) - len(pending)
    print(f'{len(tasks)} clips, {n_before} of them decoded before; {workers} workers', flush=True)
    # Long clips first: otherwise the last worker decodes one while the others have nothing to do.
    pending.sort(key=_work, reverse=True)
    left = sum(map(_work, pending))
    problems: list[Problem] = []
    done, started, shown_s = 0.0, time.monotonic(), 0.0
    results = guard.run_guarded('data_prep.frame_store:store_clip', pending, workers, deadline_s)
    for n_done, (task, reason) in enumerate(results, 1):
        if reason is not None:
            reason = reason.reason if isinstance(reason, guard.Lost) else reason
            problems.append(Problem(task.video_id, '', 'decode', reason))
        done, left = done + _work(task), left - _work(task)
        elapsed_s = time.monotonic() - started
        if elapsed_s - shown_s > 2 or n_done == len(pending):
            shown_s, left_s = elapsed_s, elapsed_s * max(left, 0) / done
            print(
                f'decoded {n_done}/{len(pending)} clips, {n_done / elapsed_s:.1f} clips/s, '
                f'ETA {left_s:.0f} s, problems {n_problems + len(problems)}',
                flush=True,
            )
    return problems


def store_clip(task: ClipTask) -> str | None:
    """Runs in a worker: one clip into the frame store. Returns why that is impossible, or None.

    Errors of the clip are values; an error of the disk is raised, for it would meet the next clip
    too.
    """
    try:
        records = make_records(*task[1:])
    except ClipError as error:
        return str(error)
    store(task.frames, records)
    return None


def deadline_s(task: ClipTask) -> float:
    """How long a clip may take, by its size: many times what a slow machine needs."""
    return 120 + 5 * _work(task)


def _work(task: ClipTask) -> float:
    """About the seconds that a clip takes: one a megabyte and a tenth for opening it."""
    sizes = [os.path.getsize(path) for path in (task.down_path, task.full_path) if path]
    return 0.1 + 1e-6 * sum(sizes)


def frame_path(directory, stream: str, video_id: str) -> epath.Path:
    """Readable, and another for each video_id: equal stems in two folders do not collide."""
    readable = re.sub(r'[^A-Za-z0-9._-]', '_', video_id)[-60:]
    digest = hashlib.sha256(video_id.encode()).hexdigest()[:16]
    return epath.Path(directory) / stream / f'{digest}-{readable}.npz'


def is_stored(directory, video_id: str) -> bool:
    return all(frame_path(directory, stream, video_id).exists() for stream in STREAMS)


def store(directory, records: dict[str, Record]) -> None:
    """Writes the records {stream: Record} of one clip. Raises OSError where the disk is full."""
    for stream, record in records.items():
        path = frame_path(directory, stream, record.video_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f'{path.name}.{os.getpid()}.tmp')
        unfinished.write_bytes(to_bytes(record))
        unfinished.replace(path)


def load(directory, stream: str, video_id: str) -> Record:
    return from_bytes(frame_path(directory, stream, video_id).read_bytes())


def to_bytes(record: Record) -> bytes:
    simple = json.dumps({name: getattr(record, name) for name in _SIMPLE})
    target = io.BytesIO()
    np.savez(
        target,
        simple=np.frombuffer(simple.encode(), np.uint8),
        jpeg=np.frombuffer(b''.join(record.frame_jpeg), np.uint8),
        jpeg_size=np.array([len(jpeg) for jpeg in record.frame_jpeg], np.int64),
        **{name: getattr(record, name) for name in _ARRAYS},
    )
    return target.getvalue()


def from_bytes(stored: bytes) -> Record:
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        jpeg = arrays['jpeg'].tobytes()
        bounds = [0, *np.cumsum(arrays['jpeg_size'])]
        return Record(
            frame_jpeg=[jpeg[start:end] for start, end in itertools.pairwise(bounds)],
            **{name: arrays[name] for name in _ARRAYS},
            **json.loads(arrays['simple'].tobytes()),
        )
