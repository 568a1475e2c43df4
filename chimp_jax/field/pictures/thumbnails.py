"""The pictures of the report page: frames of clips as small JPEGs."""

import io
import os
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_prep.archive import Archive, local_copy, size_bytes
from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_seconds
from data_prep.progress import Progress
from data_prep.workers import guard
from data_prep.workers.local import deadline_s

SMALL_PX, LARGE_PX = 360, 800  # widths of pictures
JPEG_QUALITY = 70


class ThumbnailTask(NamedTuple):
    video_id: str
    path: str
    width_px: dict[int, int]  # of the picture of each second
    gamma: bool


def frames_of(
    width_px: Mapping[tuple[str, int], int],
    clips_folder: str,
    overexposed: Collection[str] = (),
    n_workers: int | None = None,
) -> dict[tuple[str, int], bytes | str]:
    """Returns {(video_id, time): JPEG, or one line with the reason why it is missing}.

    width_px: {(video_id, time): largest width of the picture}. overexposed: the clips whose frames are gamma-corrected,
    as in the stream `full`. Each clip is decoded in a worker, so a crash loses only this clip. Raises ValueError if the
    folder does not exist.
    """
    archive = Archive([clips_folder])
    found: dict[tuple[str, int], bytes | str] = {}
    tasks = []
    by_clip: dict[str, dict[int, int]] = {}
    for (video_id, time), width in sorted(width_px.items()):
        by_clip.setdefault(video_id, {})[time] = width
    for video_id, widths in by_clip.items():
        path = archive.find(video_id)
        if path is None:
            found |= _each(video_id, widths, 'the clip is not in the folder')
        else:
            tasks.append(ThumbnailTask(video_id, path, widths, video_id in overexposed))
    progress = Progress('pictures', len(tasks))
    for task, result in guard.run_guarded(
        'chimp_jax.field.pictures.thumbnails:thumbnails', tasks, n_workers or os.cpu_count() or 1, _deadline_s
    ):
        if isinstance(result, guard.WorkerDied):
            result = result.reason
        progress.advance(1, problems=isinstance(result, str))
        found |= _each(task.video_id, task.width_px, result) if isinstance(result, str) else result
    return found


def thumbnails(task: ThumbnailTask) -> dict[tuple[str, int], bytes] | str:
    """Returns the frames of one clip, or a reason. Runs in a worker. A second after the end gives the last frame."""
    widths = sorted(set(task.width_px.values()))
    try:
        with local_copy(task.path) as path:
            info, by_second = decode_seconds(
                path, task.width_px, task.gamma, convert=lambda rgb, _: {width: to_jpeg(rgb, width) for width in widths}
            )
    except (ClipError, OSError) as error:
        return ' '.join(str(error).split())
    return {
        (task.video_id, second): by_second[min(second, info.last_s)][width] for second, width in task.width_px.items()
    }


def to_jpeg(rgb: np.ndarray, most_px: int = SMALL_PX) -> bytes:
    """[H, W, 3] uint8 -> at most most_px wide."""
    height_px, width_px = rgb.shape[:2]
    picture = Image.fromarray(rgb)
    if width_px > most_px:
        size_px = (most_px, max(1, round(height_px * most_px / width_px)))
        picture = picture.resize(size_px, Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def _deadline_s(task: ThumbnailTask) -> float:
    return deadline_s(1e-6 * size_bytes(task.path))


def _each(video_id: str, seconds: Iterable[int], reason: str) -> dict[tuple[str, int], str]:
    return {(video_id, second): reason for second in seconds}
