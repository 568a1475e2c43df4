"""Decodes the frames of whole seconds of a clip, by timestamp.

The frame of second t is the last picture with pts * time_base - t0 <= t, else the first picture, in exact fractions.
This equals ffmpeg's `fps=fps=1:round=up:start_time=0`. As in the ffmpeg program, t0 is the container's start time, or
the video stream's start time in formats with jumping clocks (MPEG-TS and -PS). The last picture is shown for its
duration, so the last second is the last whole second before its end. A photo has one picture, at time 0.
"""

import bisect
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np

from data_prep.archive import is_photo
from data_prep.decoding import camera_jpeg, groups, in_order, joined
from data_prep.decoding.container import ClipError, reason
from data_prep.decoding.photos import read_photo
from data_prep.decoding.timestamps import SAMPLINGS, cut_seconds
from data_prep.decoding.to_rgb import Converter


@dataclass(frozen=True)
class ClipInfo:
    duration_s: float  # from t0 to the end of the last picture
    promised_s: float  # length by the header, 0 if the header does not give it
    height_px: int  # height and width after display rotation
    width_px: int
    frame_rate: float  # average, pictures per second
    shown_s: tuple[Fraction, ...]  # for each whole second, the time of its picture since t0
    damaged_s: frozenset[int]  # the decoded seconds with a picture that the decoder had to invent in part
    fault: str = ''  # a text if pictures are missing from all seconds, or the seconds may be wrong; else ''

    @property
    def last_s(self) -> int:
        """The last whole second with a frame."""
        return len(self.shown_s) - 1


def decode_seconds(
    path,
    seconds: Iterable[int] | Callable[[int], Iterable[int]] | None,
    gamma: bool = False,
    convert: Callable[[np.ndarray, bytes | None], Any] | None = None,
    sampling: str = 'timestamp',
    filters: Sequence[tuple[str, str | None]] = (),
) -> tuple[ClipInfo, dict[int, Any]]:
    """Returns the clip's ClipInfo and its frames {second: RGB uint8 [H, W, 3]}, ascending, display rotation applied.

    seconds: None for every whole second, or a function of the last second that returns them. A second past the last
    one becomes the last one. gamma: correct the luma plane before the conversion to RGB. convert: applied to each
    frame as soon as it is decoded, so that the frames of a long clip are not in memory together; its second argument is
    the camera's own JPEG of the frame, or None. sampling: 'timestamp' or 'legacy_r1', whose "seconds" are the numbers
    of the files that ffmpeg's `-r 1` writes. filters: of libav (name, arguments), applied to each frame of a video
    before gamma.
    Raises ClipError if the clip cannot be decoded, ValueError if `seconds` is empty.
    """
    return _decode(path, seconds, SAMPLINGS[sampling], _Frames(gamma, convert, filters))


class RatedFrames(NamedTuple):
    """Frames of a clip at a rate, each picture once."""

    info: ClipInfo  # its shown_s and damaged_s are about ticks, not about seconds
    numbers: list[int]  # of the frames among all frames of the clip, from 0, ascending
    times_s: list[float]  # of the frames
    contents: list[Any]  # of the frames


def decode_at_rate(path, per_second: Fraction | int, convert: Callable[[np.ndarray, bytes | None], Any]) -> RatedFrames:
    """Returns the frames at the moments 0, 1 / per_second, 2 / per_second ... of a clip.

    A moment shows the last picture with a time up to it. If several moments show one picture, it is converted once.
    Pictures that the decoder had to invent in part are left out. convert: as in decode_seconds. Raises ClipError if the
    clip cannot be decoded.
    """
    cut = functools.partial(cut_seconds, per_second=per_second)
    info, by_tick = _decode(path, None, cut, _Frames(False, convert))
    times = picture_times(path)
    sound = [tick for tick in by_tick if tick not in info.damaged_s]
    tick_of = {max(0, bisect.bisect_right(times, info.shown_s[tick]) - 1): tick for tick in reversed(sound)}
    numbers = sorted(tick_of)
    return RatedFrames(
        info,
        numbers,
        [float(times[number]) for number in numbers],
        [by_tick[tick_of[number]] for number in numbers],
    )


def _decode(
    path, seconds: Iterable[int] | Callable[[int], Iterable[int]] | None, cut: Callable, frames: '_Frames'
) -> tuple[ClipInfo, dict[int, Any]]:
    """Returns the clip's ClipInfo and {second, or tick of the cut: content of its frame}."""

    def wanted(last_s: int) -> set[int]:
        chosen = range(last_s + 1) if seconds is None else seconds(last_s) if callable(seconds) else seconds
        inside = {min(max(0, int(second)), last_s) for second in chosen}
        if not inside:
            raise _NothingAsked(f'{path}: the list of seconds is empty')
        return inside

    if is_photo(str(path)):
        wanted(0)
        fault = frames.add_photo(path)
        return ClipInfo(0.0, 0.0, *frames.size_px, 0.0, (Fraction(0),), frozenset(), fault), frames.by_second
    try:
        for way in (groups.decode_groups, in_order.decode_in_order):
            frames.clear()
            timeline = way(str(path), cut, wanted, frames.add)
            if timeline is not None:
                break
    except (ClipError, _NothingAsked):
        raise
    except Exception as error:  # PyAV raises at least nine types on damaged clips
        raise ClipError(reason(error)) from error
    damaged_s = frozenset(frames.damaged_s)
    fault = ', '.join(filter(None, (timeline.clock_fault, joined.unread_film(path))))
    info = ClipInfo(
        float(timeline.end_s),
        timeline.promised_s,
        *frames.size_px,
        timeline.frame_rate,
        timeline.shown_s,
        damaged_s,
        fault,
    )
    return info, dict(sorted(frames.by_second.items()))


def picture_times(path) -> tuple[Fraction, ...]:
    """Returns the time of each picture of a clip in display order, on the clock of decode_seconds.

    A time that falls is raised to the time before it, because the picture is shown after the picture before it. Reads
    the packets; if their times are unusable, decodes every picture. Raises ClipError if there is no picture at all.
    """
    if is_photo(str(path)):
        return (Fraction(0),)
    try:
        times = groups.packet_times(str(path)) or in_order.decoded_times(str(path))
    except ClipError:
        raise
    except Exception as error:  # PyAV raises at least nine types on damaged clips
        raise ClipError(reason(error)) from error
    return tuple(itertools.accumulate(times, max))


class _NothingAsked(ValueError):
    """The caller made a mistake; the clip is sound."""


class _Frames:
    """Converts frames to RGB and collects them by second."""

    def __init__(
        self,
        gamma: bool,
        convert: Callable[[np.ndarray, bytes | None], Any] | None,
        filters: Sequence[tuple[str, str | None]] = (),
    ):
        self._gamma = gamma
        self._filters = filters
        self._convert = convert
        self.clear()

    def clear(self) -> None:
        """Forgets all frames: the fast way of decoding may fail in the middle of a clip."""
        self.by_second: dict[int, Any] = {}
        self.damaged_s: set[int] = set()
        self.size_px = (0, 0)
        self._to_rgb = Converter(self._gamma, self._filters)

    def add(self, frame: av.VideoFrame, seconds: Iterable[int], damaged: bool, packet: bytes | None = None) -> None:
        changed = self._gamma or self._filters or damaged
        use_packet = packet is not None and self._convert and not changed
        jpeg = camera_jpeg.stored_jpeg(packet, frame) if use_packet else None
        self._add(self._to_rgb(frame), jpeg, seconds)
        self.damaged_s.update(seconds if damaged else ())

    def add_photo(self, path) -> str:
        """Adds the picture of a photo. Returns a text if it may be turned wrongly, else ''."""
        photo = read_photo(path, self._gamma)
        self._add(photo.rgb, photo.jpeg, [0])
        return photo.fault

    def _add(self, rgb: np.ndarray, jpeg: bytes | None, seconds: Iterable[int]) -> None:
        self.size_px = rgb.shape[:2]
        content = self._convert(rgb, jpeg) if self._convert else rgb
        self.by_second.update(dict.fromkeys(seconds, content))
