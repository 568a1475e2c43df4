"""Which picture is shown when: the time rules of the ffmpeg program."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av

_MICROSECOND = Fraction(1, 1_000_000)  # the unit of a container's start time


class Picture(NamedTuple):
    time_s: Fraction  # since t0
    duration_s: Fraction
    content: Any


def cut_seconds(pictures: Iterable[Picture]) -> Iterator[tuple[int, Picture]]:
    """(second, its picture) for 0, 1 ... from pictures in the order of their display.

    Written as ffmpeg's fps filter works, so that pictures whose time does not rise have the same
    effect: a picture replaces the one before it, which is shown at the seconds before the new one's
    time.
    """
    second, shown = 0, None
    for picture in pictures:
        while shown is not None and second < picture.time_s:
            yield second, shown
            second += 1
        shown = picture
    while shown is not None and second < shown.time_s + shown.duration_s:
        yield second, shown
        second += 1


class TimestampGuess:
    """A picture's time from its pts and dts: the one that has failed to rise less often so far.

    libavcodec's guess_correct_pts, which the ffmpeg program relies on and PyAV does not pass on.
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


def start_ticks(container, stream) -> int:
    """t0 in units of the stream's time base: what the program subtracts from every timestamp."""
    clocks_may_jump = container.format.flags & av.format.Flags.ts_discont.value
    if container.start_time is None or (clocks_may_jump and stream.start_time is not None):
        return stream.start_time or 0
    return round(container.start_time * _MICROSECOND / stream.time_base)


def rate_ticks(stream) -> int:
    """What one picture lasts by the stream's frame rate, where nothing better is known."""
    rate = stream.guessed_rate or stream.average_rate
    return max(1, round(1 / rate / stream.time_base)) if rate else 1


def is_avi(container) -> bool:
    """AVI keeps no presentation times. Those of reordered pictures are guesses: the program goes by
    dts.
    """
    return container.format.name == 'avi'
