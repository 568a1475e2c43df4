"""The rules of the ffmpeg program for the time at which a picture is shown."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av

_MICROSECOND = Fraction(1, 1_000_000)  # the unit of a container's start time
_LONGEST_CLIP_S = 86_400  # a picture at a later time has a damaged timestamp


class Picture(NamedTuple):
    time_s: Fraction  # since t0
    duration_s: Fraction
    content: Any


class Timeline(NamedTuple):
    """The times of a clip's pictures."""

    end_s: Fraction  # end of the last picture, since t0
    promised_s: float  # length by the header, 0 if the header does not give it
    frame_rate: float  # average, pictures per second
    shown_s: tuple[Fraction, ...]  # for each whole second, the time of its picture
    clock_fault: str = ''  # a text if the clock goes back, which hides pictures, or if there is no clock

    @property
    def last_s(self) -> int:
        return len(self.shown_s) - 1


def in_reach(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Returns the pictures without those at absurd times: filling the gap before one would take too long."""
    return (picture for picture in pictures if picture.time_s < _LONGEST_CLIP_S)


def cut_seconds(pictures: Iterable[Picture], per_second: Fraction | int = 1) -> Iterator[tuple[int, Picture]]:
    """Yields (second, its picture) for seconds 0, 1 ... from pictures in display order.

    per_second: the ticks of a second, if other moments than whole seconds are wanted; yields (tick, its picture) then.
    Works like ffmpeg's fps filter, so that pictures with times that do not rise have the same effect: a picture
    replaces the picture before it, which is shown at the ticks before the time of the new picture.
    """
    tick, shown = 0, None
    for picture in pictures:
        while shown is not None and tick < picture.time_s * per_second:
            yield tick, shown
            tick += 1
        shown = picture
    while shown is not None and tick < (shown.time_s + shown.duration_s) * per_second:
        yield tick, shown
        tick += 1


def cut_legacy_r1(pictures: Iterable[Picture]) -> Iterator[tuple[int, Picture]]:
    """Yields (number, its picture) for the files 0, 1 ... that ffmpeg's output option `-r 1` writes.

    The original cuts its `full` frames like this (Ivanov 2021, section 3): from the third file on, a file shows the
    picture of about 1.13 s before its number. Works like the program's conversion to a constant rate: if the end of a
    picture is less than 1.1 s before the next file's time, the picture becomes a file. If its end is more than 1.1 s
    after, it becomes several files, of which the first ones show the picture before it.
    """
    number, before = 0, None
    repeats = [0, 0, 0]  # how often the latest pictures repeated the picture before them
    for picture in pictures:
        drift = _encoder_time(picture.time_s) - number
        end = drift + float(picture.duration_s)
        n_files, n_before = int(end >= -1.1), 0
        if end > 1.1:
            n_files = round(end)
            n_before = round(drift - 0.6) if drift > 1.1 else 0
        for i in range(n_files):
            yield number, before if i < n_before and before is not None else picture
            number += 1
        repeats = [n_before, *repeats[:2]]
        before = picture
    for _ in range(statistics.median(repeats)):
        yield number, before
        number += 1


def _encoder_time(time_s: Fraction) -> float:
    """Returns a time as the program compares it: in 1/65536 s, and moved off exact midpoints."""
    ticks = _round_half_away(time_s * (1 << 16))
    time = ticks / (1 << 16)
    return time if time == round(time) else time + (1 if time > 0 else -1) / (1 << 17)


def _round_half_away(value: Fraction) -> int:
    return int(abs(value) + Fraction(1, 2)) * (1 if value >= 0 else -1)


SAMPLINGS: dict[str, Callable[[Iterable[Picture]], Iterator[tuple[int, Picture]]]] = {
    'timestamp': cut_seconds,
    'legacy_r1': cut_legacy_r1,
}


class TimestampGuess:
    """Guesses a picture's time: its pts or its dts, whichever failed to rise less often so far.

    This is libavcodec's guess_correct_pts, which the ffmpeg program uses and PyAV does not offer.
    """

    def __init__(self):
        self._latest = {'pts': None, 'dts': None}
        self._faults = {'pts': 0, 'dts': 0}

    def __call__(self, pts: int | None, dts: int | None) -> int | None:
        for name, value, other in (('dts', dts, pts), ('pts', pts, dts)):
            latest = self._latest[name]
            self._faults[name] += None not in (value, latest) and value <= latest
            if value is not None or other is not None:
                self._latest[name] = other if value is None else value
        use_pts = self._faults['pts'] <= self._faults['dts'] or dts is None
        return pts if use_pts and pts is not None else dts


class DurationGuess:
    """Guesses for how long a picture is shown, as the ffmpeg program does: ASF and FLV often do not tell."""

    def __init__(self, rate_ticks: int):
        self._rate_ticks = rate_ticks
        self._previous = None

    def __call__(self, tick: int, duration: int) -> int:
        """Returns the duration in ticks. Takes pictures in display order. duration: as stored, 0 if unknown."""
        since = 0 if self._previous is None else tick - self._previous
        self._previous = tick
        invented = duration == 1 and since > 2  # by libav, for lack of a better one
        if duration and not invented:
            return duration
        return since if since > 0 else self._rate_ticks


class Clock:
    """Lets the time go on where a clip's clock jumps: two films joined in one file, a camera that set its clock anew.

    As in the ffmpeg program, this concerns the formats whose clocks may jump (MPEG-TS and -PS, Ogg). A clock jumps if
    it goes back by more than 0.1 s, or forwards by more than 10 s.
    """

    def __init__(self, container, stream):
        self._may_jump = clock_may_jump(container)
        self._start, self._time_base, self._rate_ticks = (
            start_ticks(container, stream),
            stream.time_base,
            rate_ticks(stream),
        )
        self._offset_us = 0  # added after the jumps so far
        self._latest_us = self._next_us = None  # decoding time of the latest packet, and what the next one should have

    def correct(self, packet: av.Packet) -> None:
        """Changes the timestamps of a packet. Takes the packets in the order of the file."""
        if not self._may_jump:
            return
        self._shift(packet, self._ticks(self._offset_us))
        if packet.dts is None:
            return
        dts_us = self._microseconds(packet.dts - self._start)
        if self._next_us is not None:
            jump_us = dts_us - self._next_us
            if abs(jump_us) > 10_000_000 or dts_us + 100_000 < self._latest_us:
                self._offset_us -= jump_us
                self._shift(packet, self._ticks(-jump_us))
                dts_us = self._microseconds(packet.dts - self._start)
        self._latest_us = dts_us
        self._next_us = dts_us + self._microseconds(packet.duration or self._rate_ticks)

    def _shift(self, packet: av.Packet, ticks: int) -> None:
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def _microseconds(self, ticks: int) -> int:
        return _round_half_away(ticks * self._time_base / _MICROSECOND)

    def _ticks(self, microseconds: int) -> int:
        return _round_half_away(microseconds * _MICROSECOND / self._time_base)


def clock_may_jump(container) -> bool:
    """Returns whether the clocks of the clip's format may jump."""
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def start_ticks(container, stream) -> int:
    """Returns t0 in units of the stream's time base. The ffmpeg program subtracts it from every timestamp."""
    if container.start_time is None or (clock_may_jump(container) and stream.start_time is not None):
        return stream.start_time or 0
    return round(container.start_time * _MICROSECOND / stream.time_base)


def rate_ticks(stream) -> int:
    """Returns the duration of a picture by the stream's frame rate, for pictures without their own duration."""
    rate = stream.guessed_rate or stream.average_rate
    return max(1, round(1 / rate / stream.time_base)) if rate else 1


def is_avi(container) -> bool:
    """Returns whether the clip is AVI, which stores no presentation times.

    Those of reordered pictures are guesses, so the ffmpeg program uses dts.
    """
    return container.format.name == 'avi'
