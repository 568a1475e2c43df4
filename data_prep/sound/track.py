"""Decodes the sound track of a clip, whatever its codec and rate, to the log-mel rows of whole seconds.

The rows of second t cover t - 0.5 s to t + 0.5 s on the clock of the frames (decoding/decode.py). A sound track never
costs a clip its record: what cannot be decoded is without sound.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from data_prep.archive import is_photo
from data_prep.decoding.container import open_clip
from data_prep.decoding.timestamps import start_ticks
from data_prep.sound.log_mel import BANDS, RATE_HZ, ROWS, SAMPLES, STEP, WINDOW, log_mel_db, stored_rows

YES, NO = 'yes', 'no'
UNHEARD = 'in 0 of '  # begins the state of a track that gives no sound at the wanted seconds, such as a damaged one
_LEAST_RATE_HZ, _MOST_RATE_HZ = 1_000, 768_000  # a damaged header may claim any rate
_GAP_S = Fraction(1, 10)  # samples that are farther from their timestamps start anew there


def is_silent(state: str) -> bool:
    """Returns whether a clip has no sound at the wanted seconds. state: of Sound."""
    return state == NO or state.startswith(UNHEARD)


class Sound(NamedTuple):
    """The sound of a clip's seconds.

    seconds: [n], ascending. rows: [n, ROWS, BANDS] uint8 (log_mel.py), or [0, ROWS, BANDS] without any sound. state:
    'yes', 'no' or 'in 34 of 60 seconds', for clips.csv.
    """

    seconds: list[int]
    rows: np.ndarray
    state: str

    def at(self, seconds: Iterable[int]) -> np.ndarray:
        """Returns the rows of some of the seconds, [m, ROWS, BANDS], or [0, ROWS, BANDS] without any sound."""
        return self.rows[np.searchsorted(self.seconds, list(seconds))] if len(self.rows) else self.rows


def sound_of_copies(paths: Iterable[str | None], seconds: Iterable[int]) -> Sound:
    """Returns `decode_sound` of the first copy of a clip that has sound. paths: local; None: no copy.

    Photos have no sound.
    """
    wanted, found = sorted(seconds), None
    for path in paths:
        if path is not None and not is_photo(path):
            sound = decode_sound(path, wanted)
            if len(sound.rows):
                return sound
            found = found or sound
    return found or _without_sound(wanted, NO)


def _without_sound(seconds: list[int], state: str) -> Sound:
    return Sound(seconds, np.zeros((0, ROWS, BANDS), np.uint8), state)


def decode_sound(path, seconds: list[int]) -> Sound:
    """Returns the sound of some seconds, ascending, of a clip on this machine.

    Where the track is damaged or ends, rows are without sound. No fault of the clip raises an error.
    """
    waves, has_track = _Waves(seconds), False
    try:
        with open_clip(path) as container:
            stream, has_track = container.streams.best('audio'), bool(container.streams.audio)
            for first, samples in _samples(container, stream, waves.end) if stream else ():
                waves.add(first, samples)
    except Exception:  # PyAV raises at least nine types on damaged clips
        pass  # the seconds so far are kept
    rows = waves.rows()
    heard = int(rows.any(axis=(1, 2)).sum())
    if not heard:
        return _without_sound(seconds, f'{UNHEARD}{len(seconds)} seconds' if has_track else NO)
    # The last picture is often shown for longer than the sound lasts.
    return Sound(seconds, rows, YES if heard >= len(seconds) - 1 else f'in {heard} of {len(seconds)} seconds')


class _Waves:
    """The samples of the wanted seconds. A second becomes rows as soon as the track is past it, to save memory."""

    def __init__(self, seconds: list[int]):
        self._place = {second: place for place, second in enumerate(seconds)}
        self._rows = np.zeros((len(seconds), ROWS, BANDS), np.uint8)
        self._open: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # {second: samples, whether they are there}
        self.end = max((_first_sample(second) + SAMPLES for second in seconds), default=0)

    def add(self, first: int, samples: np.ndarray) -> None:
        """Notes samples, float32 in -1..1, that begin at sample `first` of the clip."""
        stop = first + len(samples)
        for second in range((first - SAMPLES) // RATE_HZ, stop // RATE_HZ + 2):
            begin = _first_sample(second)
            low, high = max(first, begin), min(stop, begin + SAMPLES)
            if low < high and second in self._place:
                wave, there = self._open.setdefault(second, (np.zeros(SAMPLES, np.float32), np.zeros(SAMPLES, bool)))
                wave[low - begin : high - begin] = samples[low - first : high - first]
                there[low - begin : high - begin] = True
        for second in [one for one in self._open if _first_sample(one) + SAMPLES + RATE_HZ < first]:
            self._finish(second)

    def rows(self) -> np.ndarray:
        for second in [*self._open]:
            self._finish(second)
        return self._rows

    def _finish(self, second: int) -> None:
        wave, there = self._open.pop(second)
        place = np.arange(ROWS)[:, None] * STEP + np.arange(WINDOW)
        whole = there[place].all(axis=1)
        self._rows[self._place[second], whole] = stored_rows(log_mel_db(wave))[whole]


def _first_sample(second: int) -> int:
    return second * RATE_HZ - RATE_HZ // 2


def _samples(container, stream, end: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first sample, samples) of the track, mono at RATE_HZ, up to the sample `end` of the clip."""
    run = None
    for time_s, frame in _frames(container, stream):
        if time_s * RATE_HZ > end:
            break
        if run is None or not run.goes_on(time_s, frame):
            yield from run.rest() if run else ()
            run = _Run(time_s, frame)
        yield from run.add(frame)
    yield from run.rest() if run else ()


def _frames(container, stream) -> Iterator[tuple[Fraction, av.AudioFrame]]:
    """Yields the frames of sound with their times since t0. Packets that cannot be decoded are left out."""
    pictures = container.streams.best('video') or stream
    start_s = start_ticks(container, pictures) * pictures.time_base
    next_s = Fraction(0)
    for packet in _readable(container.demux(stream)):
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            continue
        for frame in frames:
            if not _LEAST_RATE_HZ <= frame.sample_rate <= _MOST_RATE_HZ:
                continue
            time_s = next_s if frame.pts is None else frame.pts * frame.time_base - start_s
            next_s = time_s + Fraction(frame.samples, frame.sample_rate)
            yield time_s, frame


def _readable(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Yields the packets up to the first place that cannot be read."""
    try:
        yield from packets
    except av.error.FFmpegError:
        return


class _Run:
    """Frames of sound without a gap, that one resampler takes."""

    def __init__(self, time_s: Fraction, frame: av.AudioFrame):
        self._resampler = av.AudioResampler('flt', 'mono', RATE_HZ)
        self._kind = _kind(frame)
        self._next_sample = round(time_s * RATE_HZ)
        self._end_s = time_s

    def goes_on(self, time_s: Fraction, frame: av.AudioFrame) -> bool:
        return self._kind == _kind(frame) and abs(time_s - self._end_s) <= _GAP_S

    def add(self, frame: av.AudioFrame) -> Iterator[tuple[int, np.ndarray]]:
        self._end_s += Fraction(frame.samples, frame.sample_rate)
        frame.pts = None  # the resampler counts on its own
        yield from self._placed(self._resampler.resample(frame))

    def rest(self) -> Iterator[tuple[int, np.ndarray]]:
        yield from self._placed(self._resampler.resample(None))

    def _placed(self, frames: list[av.AudioFrame]) -> Iterator[tuple[int, np.ndarray]]:
        for frame in frames:
            samples = frame.to_ndarray()[0]
            yield self._next_sample, samples
            self._next_sample += len(samples)


def _kind(frame: av.AudioFrame) -> tuple:
    return frame.sample_rate, frame.format.name, frame.layout.name
