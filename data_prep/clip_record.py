"""The one function clip -> record, whatever runs it: build, prediction on raw clips, others."""

import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from chimp_jax.windows import stored_seconds
from data_prep import exposure
from data_prep.decode import decode_seconds, probe
from data_prep.records import Record

JPEG_QUALITY = 95
MOST_DOWN_WIDTH_PX = 640  # of a `down` frame that is made here because no downsampled clip exists


class _Frame(NamedTuple):
    jpeg: bytes
    white_fraction: float
    size_px: tuple[int, int]  # height, width


def make_records(
    video_id: str,
    down_path=None,
    full_path=None,
    target_time_s: Sequence[int] | None = None,
    target_distance_m: Sequence[float] | None = None,
    site: str = '',
    park: str = '',
) -> dict[str, Record]:
    """One clip -> {'down': Record, 'full': Record}.

    down_path, full_path: the two copies of the clip. Where one is None the other serves both
    streams; `down` is then scaled to at most 640 px width. target_time_s: None makes every whole
    second a target. target_distance_m: None where unknown.

    White frames are judged on the `down` frames of the target seconds, or of fixed seconds where no
    targets are given; one white frame has the whole `full` version gamma corrected, `down` never
    (Ivanov 2021, section 4). Raises ClipError where a copy cannot be decoded, ValueError where no
    path is given.
    """
    if down_path is None and full_path is None:
        raise ValueError(f'{video_id}: neither a downsampled nor a full clip is given')
    down_source = full_path if down_path is None else down_path
    last_s = probe(down_source).last_s
    if target_time_s is None:
        target_time_s, judged = range(last_s + 1), exposure.fixed_seconds(last_s)
    else:
        judged = {min(time_s, last_s) for time_s in target_time_s}
    if target_distance_m is None:
        target_distance_m = np.full(len(target_time_s), np.nan)

    down = _stored_frames(down_source, target_time_s, shrink=down_path is None)
    white_fractions = [down[1][second].white_fraction for second in sorted(judged & down[1].keys())]
    gamma = exposure.clip_is_overexposed(white_fractions)
    full = _stored_frames(down_path if full_path is None else full_path, target_time_s, gamma=gamma)
    return {
        stream: Record(
            video_id=video_id,
            frame_jpeg=[frame.jpeg for frame in frames.values()],
            frame_time_s=np.array(list(frames), np.int32),
            target_time_s=np.array(target_time_s, np.int32),
            target_distance_m=np.array(target_distance_m, np.float32),
            site=site,
            park=park,
            duration_s=info.duration_s,
            height_px=next(iter(frames.values())).size_px[0],
            width_px=next(iter(frames.values())).size_px[1],
            frame_rate=info.frame_rate,
            white_fraction=max(white_fractions),
            gamma=gamma,
        )
        for stream, (info, frames) in (('down', down), ('full', full))
    }


def _stored_frames(path, target_time_s: Iterable[int], gamma: bool = False, shrink: bool = False):
    """(ClipInfo, {second: _Frame}) of the seconds that the targets' windows need."""
    seconds = stored_seconds(target_time_s, probe(path).last_s)
    return decode_seconds(path, seconds, gamma, convert=lambda rgb: _frame(rgb, shrink))


def _frame(rgb: np.ndarray, shrink: bool) -> _Frame:
    """rgb [H, W, 3] uint8 as it is stored."""
    image = Image.fromarray(rgb)
    if shrink and image.width > MOST_DOWN_WIDTH_PX:
        height_px = round(image.height * MOST_DOWN_WIDTH_PX / image.width)
        image = image.resize((MOST_DOWN_WIDTH_PX, height_px), Image.Resampling.BOX)
    jpeg = io.BytesIO()
    # 4:2:0, as the clips themselves: chroma at full size would store interpolated values.
    image.save(jpeg, 'JPEG', quality=JPEG_QUALITY, subsampling='4:2:0')
    white_fraction = exposure.white_fraction(np.asarray(image))
    return _Frame(jpeg.getvalue(), white_fraction, (image.height, image.width))
