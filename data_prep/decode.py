"""Clip + seconds -> frames, by timestamp.

The frame of second t is the last picture with pts * time_base - t0 <= t, else the first picture, in
exact fractions; that is ffmpeg's `fps=fps=1:round=up:start_time=0`. t0 is the container's start
time, or the video stream's own in formats whose clocks may jump (MPEG-TS and -PS), as the ffmpeg
program subtracts it. The last picture is shown for its duration, so the last second is the one
before its end, rounded up.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from data_prep import exposure
from data_prep.timestamps import (
    Picture,
    TimestampGuess,
    cut_seconds,
    is_avi,
    rate_ticks,
    start_ticks,
)


@dataclass(frozen=True)
class ClipInfo:
    duration_s: float  # from t0 to the end of the last picture
    height_px: int  # both after display rotation
    width_px: int
    frame_rate: float  # average, pictures a second
    last_s: int  # the last whole second that has a frame


class ClipError(Exception):
    """A clip that gives no frames; the text is a reason in one line."""


def probe(path) -> ClipInfo:
    """Raises ClipError where not one picture can be decoded."""
    return decode_seconds(path, [0])[0]


def decode_seconds(
    path,
    seconds: Iterable[int] | None,
    gamma: bool = False,
    convert: Callable[[np.ndarray], Any] | None = None,
) -> tuple[ClipInfo, dict[int, Any]]:
    """The frames of whole seconds: RGB uint8 [H, W, 3], display rotation applied.

    seconds: None for every whole second; those past the last one become the last one. gamma:
    correct the luma plane before the conversion to RGB. convert: applied to each frame as it comes,
    so that a long clip's frames need not be held together. Returns {second: frame}, ascending.
    Raises ClipError.
    """
    wanted = None if seconds is None else {max(0, int(second)) for second in seconds}
    if wanted is not None and not wanted:
        raise ValueError(f'no second of {path} is asked for')
    frames = _Frames(gamma, convert)
    try:
        plan = _plan(str(path))
        if plan and _decode_plan(str(path), plan, wanted, frames):
            end_s, frame_rate = plan.end_s, plan.frame_rate
        else:
            frames = _Frames(gamma, convert)
            end_s, frame_rate = _decode_in_order(str(path), wanted, frames)
    except ClipError:
        raise
    except Exception as error:  # PyAV raises at least nine types on damaged clips
        raise ClipError(_reason(error)) from error
    info = ClipInfo(float(end_s), *frames.size_px, frame_rate, last_s=math.ceil(end_s) - 1)
    return info, dict(sorted(frames.by_second.items()))


class _Frames:
    """Collects frames by second and knows how they become RGB."""

    def __init__(self, gamma: bool, convert: Callable[[np.ndarray], Any] | None):
        self.by_second: dict[int, Any] = {}
        self.size_px = (0, 0)
        self._gamma = gamma
        self._convert = convert
        self._reformatter = VideoReformatter()

    def add(self, frame: av.VideoFrame, seconds: Iterable[int]) -> None:
        rotation = frame.rotation
        if self._gamma:
            frame = exposure.apply_gamma(frame)
        # BICUBIC is what the ffmpeg program takes where it has to scale chroma: equal to the bit.
        rgb = self._reformatter.reformat(frame, format='rgb24', interpolation='BICUBIC', threads=1)
        # PyAV does not rotate; this equals ffmpeg's autorotate.
        rgb = np.ascontiguousarray(np.rot90(rgb.to_ndarray(), (rotation // 90) % 4))
        self.size_px = rgb.shape[:2]
        content = self._convert(rgb) if self._convert else rgb
        self.by_second.update(dict.fromkeys(seconds, content))


# The quick way: the packets' timestamps say which pictures are wanted; these and those that they
# rest on are decoded.


class _Packet(NamedTuple):
    pts: int
    duration: int
    is_keyframe: bool


class _Plan(NamedTuple):
    packets: list[_Packet]  # in the order of the file
    pts_by_second: list[int]
    end_s: Fraction
    frame_rate: float


def _plan(path: str) -> _Plan | None:
    """Which picture each second shows, from the packets alone; None where their times are bad."""
    with av.open(path) as container:
        stream = _video_stream(container)
        if is_avi(container) and stream.codec_context.has_b_frames:
            return None
        packets = [
            _Packet(packet.pts, packet.duration or 0, packet.is_keyframe) for packet in _packets(container, stream)
        ]
        start, time_base = start_ticks(container, stream), stream.time_base
        frame_rate = _frame_rate(stream)
    times = {packet.pts for packet in packets}
    if not packets or None in times or len(times) < len(packets):
        return None
    shown = sorted(packets)
    if not shown[-1].duration:
        return None
    pictures = [Picture((packet.pts - start) * time_base, packet.duration * time_base, packet.pts) for packet in shown]
    pts_by_second = [picture.content for _, picture in cut_seconds(pictures)]
    end_s = pictures[-1].time_s + pictures[-1].duration_s
    return _Plan(packets, pts_by_second, end_s, frame_rate) if pts_by_second else None


def _decode_plan(path: str, plan: _Plan, wanted: set[int] | None, frames: _Frames) -> bool:
    """Fills `frames`; False where the decoder gives other pictures than planned."""
    seconds_by_pts: dict[int, list[int]] = {}
    last_s = len(plan.pts_by_second) - 1
    for second in range(last_s + 1) if wanted is None else {min(s, last_s) for s in wanted}:
        seconds_by_pts.setdefault(plan.pts_by_second[second], []).append(second)
    runs = _runs(plan.packets, seconds_by_pts)
    try:
        for frame in _decode_runs(path, runs, seconds_by_pts):
            if frame.pts in seconds_by_pts:
                frames.add(frame, seconds_by_pts.pop(frame.pts))
    except (av.error.FFmpegError, _OutOfOrder):
        return False
    return not seconds_by_pts


class _OutOfOrder(Exception):
    """Pictures come in the order of display: falling times mean that the container's are wrong."""


def _runs(packets: list[_Packet], wanted_pts) -> list[tuple[int, int]]:
    """Ranges [start, stop) of packets: from a key frame to the last wanted one on it.

    The key frame must also be *shown* no later than the wanted picture: pictures that follow a key
    frame in the file but are shown before it (open groups of pictures) rest on the group before.
    """
    runs: list[tuple[int, int]] = []
    keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    for i, packet in enumerate(packets):
        if packet.pts not in wanted_pts:
            continue
        latest_key = bisect.bisect_right(keys, i) - 1
        start = next((keys[k] for k in range(latest_key, -1, -1) if packets[keys[k]].pts <= packet.pts), 0)
        if runs and start < runs[-1][1]:
            start = runs.pop()[0]
        runs.append((start, i + 1))
    return runs


def _decode_runs(path: str, runs: list[tuple[int, int]], wanted_pts) -> Iterator[av.VideoFrame]:
    wanted_pts = frozenset(wanted_pts)
    with av.open(path) as container:
        stream = _video_stream(container)
        decoder = stream.codec_context
        remaining = iter(runs)
        start, stop = next(remaining)
        latest = None
        for i, packet in enumerate(_packets(container, stream)):
            if i < start:
                continue
            # Pictures that no other one rests on are passed over unless they are wanted.
            decoder.skip_frame = 'DEFAULT' if packet.pts in wanted_pts else 'NONREF'
            decoded = decoder.decode(packet)
            if i == stop - 1:
                decoded += decoder.decode(None)
                decoder.flush_buffers()
            for frame in decoded:
                if frame.pts is None or (latest is not None and frame.pts <= latest):
                    raise _OutOfOrder
                latest = frame.pts
                yield frame
            if i == stop - 1:
                start, stop = next(remaining, (None, None))
                if start is None:
                    return


# The plain way, for clips whose timestamps are missing, repeat or are wrong, and for damaged ones:
# every picture in order.


def _decode_in_order(path: str, wanted: set[int] | None, frames: _Frames) -> tuple[Fraction, float]:
    """Fills `frames`; returns the end of the clip and its frame rate. Raises ClipError where there
    is no picture at all.
    """
    second, last = -1, None
    with av.open(path) as container:
        stream = _video_stream(container)
        for second, last in cut_seconds(_pictures_in_order(container, stream)):
            if wanted is None or second in wanted:
                frames.add(last.content, [second])
        if last is None:
            raise ClipError('no picture can be decoded')
        if wanted is not None and max(wanted) > second and second not in frames.by_second:
            frames.add(last.content, [second])
        return last.time_s + last.duration_s, _frame_rate(stream)


def _pictures_in_order(container, stream) -> Iterator[Picture]:
    """Every picture that can be decoded, with its time and duration as the program sees them."""
    start, time_base = start_ticks(container, stream), stream.time_base
    guess = TimestampGuess()
    previous, duration = None, 0
    for frame in _frames_in_order(container, stream):
        tick = guess(None if is_avi(container) else frame.pts, frame.dts)
        if tick is None:
            tick = start if previous is None else previous + duration
        rising = previous is not None and tick > previous
        duration = frame.duration or (tick - previous if rising else rate_ticks(stream))
        previous = tick
        yield Picture((tick - start) * time_base, duration * time_base, frame)


def _frames_in_order(container, stream) -> Iterator[av.VideoFrame]:
    """Bad packets are passed over, as the ffmpeg program does."""
    for packet in itertools.chain(_packets(container, stream), [None]):
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            continue


# What both ways share.


def _video_stream(container) -> av.video.stream.VideoStream:
    stream = container.streams.best('video')
    if stream is None:
        raise ClipError('no video stream')
    stream.thread_count = 1  # clips are decoded side by side, one process a core
    return stream


def _packets(container, stream) -> Iterator[av.Packet]:
    """The stream's packets up to the end of the file, or to where it cannot be read any more."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty packet would tell the decoder that the clip is over
                yield packet
    except av.error.FFmpegError:
        return


def _frame_rate(stream) -> float:
    return float(stream.average_rate or stream.guessed_rate or 0)


def _reason(error: Exception) -> str:
    """One line, without the path that libav puts at its end."""
    text = ' '.join((getattr(error, 'strerror', None) or str(error)).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__
