"""Clip + seconds -> frames, by timestamp.

The frame of second t is the last picture with pts * time_base - t0 <= t, else the first picture, in exact fractions;
that is ffmpeg's `fps=fps=1:round=up:start_time=0`. t0 is the container's start time, or the video stream's own in
formats whose clocks may jump (MPEG-TS and -PS), as the ffmpeg program subtracts it. The last picture is shown for its
duration, so the last second is the one before its end, rounded up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from data_prep.decoding import camera_jpeg, exposure, groups, in_order
from data_prep.decoding.container import ClipError, reason
from data_prep.decoding.timestamps import SAMPLINGS


@dataclass(frozen=True)
class ClipInfo:
    duration_s: float  # from t0 to the end of the last picture
    promised_s: float  # how long it is by its header; 0 where that does not say
    height_px: int  # both after display rotation
    width_px: int
    frame_rate: float  # average, pictures a second
    shown_s: tuple[Fraction, ...]  # of each whole second: since t0, the time of the picture that it shows
    damaged_s: frozenset[int]  # of the decoded seconds, those whose picture the decoder had to invent in part

    @property
    def last_s(self) -> int:
        """The last whole second that has a frame."""
        return len(self.shown_s) - 1


def decode_seconds(
    path,
    seconds: Iterable[int] | Callable[[int], Iterable[int]] | None,
    gamma: bool = False,
    convert: Callable[[np.ndarray, bytes | None], Any] | None = None,
    sampling: str = 'timestamp',
) -> tuple[ClipInfo, dict[int, Any]]:
    """The frames of whole seconds: RGB uint8 [H, W, 3], display rotation applied.

    seconds: None for every whole second, or a function of the last one that names them; those past the last one
    become the last one. gamma: correct the luma plane before the conversion to RGB. convert: applied to each frame as
    it comes, so that a long clip's frames need not be held together; its second argument is the camera's own JPEG of
    the frame, where there is one. sampling: 'timestamp', or 'legacy_r1', whose
    "seconds" are the numbers of the files that ffmpeg's `-r 1` writes. Returns {second: frame}, ascending. Raises
    ClipError, or ValueError where no second is asked for.
    """
    cut = SAMPLINGS[sampling]

    def wanted(last_s: int) -> set[int]:
        chosen = range(last_s + 1) if seconds is None else seconds(last_s) if callable(seconds) else seconds
        inside = {min(max(0, int(second)), last_s) for second in chosen}
        if not inside:
            raise _NothingAsked(f'no second of {path} is asked for')
        return inside

    try:
        for way in (groups.decode_groups, in_order.decode_in_order):
            frames = _Frames(gamma, convert)
            timeline = way(str(path), cut, wanted, frames.add)
            if timeline is not None:
                break
    except (ClipError, _NothingAsked):
        raise
    except Exception as error:  # PyAV raises at least nine types on damaged clips
        raise ClipError(reason(error)) from error
    damaged_s = frozenset(frames.damaged_s)
    info = ClipInfo(
        float(timeline.end_s), timeline.promised_s, *frames.size_px, timeline.frame_rate, timeline.shown_s, damaged_s
    )
    return info, dict(sorted(frames.by_second.items()))


class _NothingAsked(ValueError):
    """A mistake of the caller, not of the clip."""


class _Frames:
    """Collects frames by second and knows how they become RGB."""

    def __init__(self, gamma: bool, convert: Callable[[np.ndarray, bytes | None], Any] | None):
        self.by_second: dict[int, Any] = {}
        self.damaged_s: set[int] = set()
        self.size_px = (0, 0)
        self._gamma = gamma
        self._convert = convert
        self._reformatter = VideoReformatter()

    def add(self, frame: av.VideoFrame, seconds: Iterable[int], damaged: bool, packet: bytes | None = None) -> None:
        rotation = frame.rotation
        use_packet = packet is not None and self._convert and not self._gamma and not damaged
        jpeg = camera_jpeg.stored_jpeg(packet, frame) if use_packet else None
        if self._gamma:
            frame = exposure.apply_gamma(frame)
        # BICUBIC is what the ffmpeg program takes where it has to scale chroma: equal to the bit.
        rgb = self._reformatter.reformat(frame, format='rgb24', interpolation='BICUBIC', threads=1)
        # PyAV does not rotate; this equals ffmpeg's autorotate.
        rgb = np.ascontiguousarray(np.rot90(rgb.to_ndarray(), (rotation // 90) % 4))
        self.size_px = rgb.shape[:2]
        content = self._convert(rgb, jpeg) if self._convert else rgb
        self.by_second.update(dict.fromkeys(seconds, content))
        self.damaged_s.update(seconds if damaged else ())
