"""The frame store of the first stage: one small file per clip and stream, and the outcome of each clip.

A file appears whole or not at all, and the outcome is written last, so a killed build resumes.
"""

import functools
import hashlib
import io
import itertools
import json
import logging
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from etils import epath

from data_prep.files import read_json, write_whole
from data_prep.records import STREAMS, Record

log = logging.getLogger(__name__)

_ARRAYS = tuple('frame_time_s target_time_s target_distance_m target_box box_time_s box box_confidence'.split())
_SIMPLE = tuple(field.name for field in fields(Record) if field.name not in (*_ARRAYS, 'frame_jpeg', 'sound'))
_IN_CLIPS_CSV = 'site park duration_s height_px width_px frame_rate white_fraction gamma'.split()


class Outcome(NamedTuple):
    """The outcome of decoding a clip."""

    video_id: str
    row: dict | None  # its row of clips.csv, about the full copy; None if it has no record
    problem: tuple[str, str] | None  # (stage, reason) if it has no record or the record lacks targets
    files: str = ''  # fingerprint of the clip's files
    lost_runs: int = 0  # in so many runs in a row the clip was lost with its worker process, see lost.py


def frame_path(directory, kind: str, video_id: str, suffix: str = '.npz') -> epath.Path:
    """Returns the path of a file of a clip: readable, and unique even if two folders hold equal stems."""
    readable = re.sub(r'[^A-Za-z0-9._-]', '_', video_id)[-60:]
    digest = hashlib.sha256(video_id.encode()).hexdigest()[:16]
    return epath.Path(directory) / kind / f'{digest}-{readable}{suffix}'


def store(directory, outcome: Outcome, records: dict[str, Record]) -> None:
    """Writes the records {stream: Record} of one clip, then the outcome. Raises OSError if the disk is full."""
    for stream, record in records.items():
        write_whole(frame_path(directory, stream, record.video_id), to_bytes(record))
    write_whole(frame_path(directory, 'outcome', outcome.video_id, '.json'), json.dumps(outcome._asdict()))


def read_outcomes(directory) -> dict[str, Outcome]:
    """Returns {video_id: Outcome} of the decoded clips. A clip with a damaged file is left out."""
    folder = epath.Path(directory) / 'outcome'
    if not folder.exists():
        return {}
    with ThreadPoolExecutor(16) as threads:  # for remote folders
        outcomes = threads.map(functools.partial(_read_outcome, directory), sorted(folder.glob('*.json')))
        return {outcome.video_id: outcome for outcome in outcomes if outcome}


def _read_outcome(directory, path: epath.Path) -> Outcome | None:
    content = read_json(path)
    if content is None:
        return None
    outcome = Outcome(**content)
    for stream in STREAMS if outcome.row else ():
        file = frame_path(directory, stream, outcome.video_id)
        if not _is_whole(file):
            log.warning('%s is missing or damaged; the clip is decoded again', file)
            return None
    return outcome


def _is_whole(path: epath.Path) -> bool:
    try:
        with path.open('rb') as file:
            return zipfile.is_zipfile(file)  # looks for the table of contents at the end
    except OSError:
        return False


def clip_row(record: Record, doubtful: str, sound: str | None = None) -> dict:
    """Returns a row of clips.csv. doubtful: the doubtful seconds and the reasons. n_animals: those with a name.

    sound: the state of the sound track, None for no column.
    """
    counts = {
        'n_frames': len(record.frame_jpeg),
        'n_targets': len(record.target_time_s),
        'n_animals': len({*record.target_animal} - {''}),
        'n_boxes': len(record.box),
    }
    heard = {} if sound is None else {'sound': sound}
    return {name: getattr(record, name) for name in _IN_CLIPS_CSV} | counts | {'doubtful': doubtful} | heard


def load(directory, stream: str, video_id: str) -> Record:
    return from_bytes(frame_path(directory, stream, video_id).read_bytes())


def to_bytes(record: Record) -> bytes:
    simple = json.dumps({name: getattr(record, name) for name in _SIMPLE})
    target = io.BytesIO()
    sound = {} if record.sound is None else {'sound': record.sound}
    np.savez(
        target,
        simple=np.frombuffer(simple.encode(), np.uint8),
        jpeg=np.frombuffer(b''.join(record.frame_jpeg), np.uint8),
        jpeg_size=np.array([len(jpeg) for jpeg in record.frame_jpeg], np.int64),
        **{name: getattr(record, name) for name in _ARRAYS},
        **sound,
    )
    return target.getvalue()


def from_bytes(stored: bytes) -> Record:
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        jpeg = arrays['jpeg'].tobytes()
        bounds = [0, *np.cumsum(arrays['jpeg_size'])]
        return Record(
            frame_jpeg=[jpeg[start:end] for start, end in itertools.pairwise(bounds)],
            **{name: arrays[name] for name in _ARRAYS},
            sound=arrays['sound'] if 'sound' in arrays else None,
            **json.loads(arrays['simple'].tobytes()),
        )
