"""The plain way of decoding, for damaged clips and clips with missing, repeated or wrong timestamps.

Decodes every picture in order, twice: once for the times, once for the pictures.
"""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

import av

from data_prep.decoding.container import (
    ClipError,
    Damage,
    frame_rate,
    open_clip,
    packets,
    promised_s,
    rate_fault,
    video_stream,
)
from data_prep.decoding.timestamps import (
    DurationGuess,
    Picture,
    Timeline,
    TimestampGuess,
    in_reach,
    is_avi,
    rate_ticks,
    start_ticks,
)


def decode_in_order(path: str, cut: Callable, wanted: Callable[[int], set[int]], add: Callable) -> Timeline:
    """Calls add(frame, seconds, damaged) for each wanted picture.

    cut: one of timestamps.SAMPLINGS. wanted: returns the wanted seconds, given the last one. Raises ClipError if there
    is no picture at all.
    """
    timeline = _timeline(path, cut)
    seconds = wanted(timeline.last_s)
    with open_clip(path) as container:
        shown = cut(in_reach(_pictures(container, video_stream(container))))
        for picture, group in itertools.groupby(shown, key=lambda pair: pair[1]):
            shows = [second for second, _ in group if second in seconds]
            if shows:
                frame, damaged = picture.content
                add(frame, shows, damaged)
    return timeline


def decoded_times(path: str) -> tuple[Fraction, ...]:
    """Returns the time of each picture in display order. Raises ClipError if there is no picture at all."""
    return _timeline(path, enumerate).shown_s


def _timeline(path: str, cut: Callable) -> Timeline:
    last, fault = None, None

    def times() -> Iterator[Picture]:
        nonlocal last, fault
        for picture in in_reach(_pictures(container, stream)):
            if last is not None and picture.time_s < last.time_s - 1:
                back_s, at_s = float(last.time_s - picture.time_s), float(last.time_s)
                fault = (
                    f'its clock goes back by {back_s:.1f} s at {at_s:.1f} s: of two joined films, save each as a file'
                )
            last = picture._replace(content=None)
            yield last

    with open_clip(path) as container:
        stream = video_stream(container)
        shown_s = tuple(picture.time_s for _, picture in cut(times()))
        if not shown_s:
            raise ClipError('no picture can be decoded')
        end_s, header = last.time_s + last.duration_s, (promised_s(container, stream), frame_rate(stream))
        return Timeline(end_s, *header, shown_s, fault or rate_fault(stream))


def _pictures(container, stream) -> Iterator[Picture]:
    """Yields every picture that can be decoded, with its time and duration as in the ffmpeg program.

    The content is (frame, damaged).
    """
    start, time_base = start_ticks(container, stream), stream.time_base
    guess, guess_duration = TimestampGuess(), DurationGuess(rate_ticks(stream))
    previous, duration = None, 0
    for frame, damaged in _frames(container, stream):
        tick = guess(None if is_avi(container) else frame.pts, frame.dts)
        if tick is None:
            tick = start if previous is None else previous + duration
        duration = guess_duration(tick, frame.duration or 0)
        previous = tick
        yield Picture((tick - start) * time_base, duration * time_base, (frame, damaged))


def _frames(container, stream) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yields (frame, damaged). Skips bad packets like the ffmpeg program."""
    damage = Damage()
    for packet in itertools.chain(packets(container, stream), [None]):
        try:
            for frame in stream.codec_context.decode(packet):
                yield frame, damage.spoils(frame)
        except av.error.FFmpegError:
            damage.lost()
