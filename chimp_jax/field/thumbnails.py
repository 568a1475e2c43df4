"""The pictures of the report page: which seconds a person should see first, and their frames from the clips."""

import io
import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from chimp_jax.field import status
from data_prep.archive import Archive, local_copy, size_bytes
from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_seconds
from data_prep.progress import Progress
from data_prep.workers import guard
from data_prep.workers.local import deadline_s

WIDTH_PX = 320
JPEG_QUALITY = 70


class ThumbnailTask(NamedTuple):
    video_id: str
    path: str
    seconds: tuple[int, ...]


def doubtful_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a distance, the most doubtful first.

    First the rows with an interval, widest first; then the rows with only a spread of the members, widest first; then
    the rows with neither, most flags first; last the corrected rows. Ties are sorted by clip and second.
    """
    rows = rows[rows['distance'].notna()]
    width = (rows['distance_upper'] - rows['distance_lower']).rename('width')
    keys = pd.DataFrame(
        {
            'corrected': rows['status'] == status.CORRECTED,
            'kind': np.select([width.notna(), rows['spread'].notna()], [0, 1], 2),
            'doubt': -width.fillna(rows['spread']).fillna(rows['flags'].str.split().str.len()),
            'video_id': rows['video_id'],
            'time': rows['time'],
        }
    )
    return rows.loc[keys.sort_values(list(keys.columns)).index]


def frames_of(
    wanted: pd.DataFrame, clips_folder: str, n_workers: int | None = None
) -> dict[tuple[str, int], bytes | str]:
    """Returns {(video_id, time): JPEG of at most WIDTH_PX, or one line with the reason why it is missing}.

    wanted: a row for each frame, with video_id and time. Each clip is decoded in a worker, so a crash loses only this
    clip. Raises ValueError if the folder does not exist.
    """
    archive = Archive([clips_folder])
    found: dict[tuple[str, int], bytes | str] = {}
    tasks = []
    for video_id, rows in wanted.groupby('video_id'):
        path, seconds = archive.find(video_id), tuple(rows['time'].tolist())
        if path is None:
            found |= _each(video_id, seconds, 'the clip is not in the folder')
        else:
            tasks.append(ThumbnailTask(video_id, path, seconds))
    progress = Progress('pictures', len(tasks))
    for task, result in guard.run_guarded(
        'chimp_jax.field.thumbnails:thumbnails', tasks, n_workers or os.cpu_count() or 1, _deadline_s
    ):
        if isinstance(result, guard.WorkerDied):
            result = result.reason
        progress.advance(1, problems=isinstance(result, str))
        found |= _each(task.video_id, task.seconds, result) if isinstance(result, str) else result
    return found


def thumbnails(task: ThumbnailTask) -> dict[tuple[str, int], bytes] | str:
    """Returns the frames of one clip, or a reason. Runs in a worker. A second after the end gives the last frame."""
    try:
        with local_copy(task.path) as path:
            info, by_second = decode_seconds(path, task.seconds, convert=lambda rgb, _: to_jpeg(rgb))
    except (ClipError, OSError) as error:
        return ' '.join(str(error).split())
    return {(task.video_id, second): by_second[min(second, info.last_s)] for second in task.seconds}


def to_jpeg(rgb: np.ndarray) -> bytes:
    """[H, W, 3] uint8 -> at most WIDTH_PX wide."""
    height_px, width_px = rgb.shape[:2]
    picture = Image.fromarray(rgb)
    if width_px > WIDTH_PX:
        size_px = (WIDTH_PX, max(1, round(height_px * WIDTH_PX / width_px)))
        picture = picture.resize(size_px, Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def _deadline_s(task: ThumbnailTask) -> float:
    return deadline_s(1e-6 * size_bytes(task.path))


def _each(video_id: str, seconds: Iterable[int], reason: str) -> dict[tuple[str, int], str]:
    return {(video_id, second): reason for second in seconds}
