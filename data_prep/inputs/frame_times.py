"""Turns the frame numbers of a detector into seconds of the clip."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from data_prep.inputs.detections import ClipDetections, Detection
from data_prep.inputs.headers import Header, same_rate


def seconds_of_frames(numbers: Sequence[int], header: Header, frame_rate: float | None) -> np.ndarray:
    """Returns the time of each frame in seconds, [n] float64, on the clock of data_prep.decoding.

    numbers: from 0, of all frames of the clip. The clip's own frame times count; a frame beyond the last one is NaN.
    If the clip gives no frame times, the time is number / frame_rate, by the detector's rate or else by the clip's; NaN
    if both are unknown.
    """
    numbers = np.asarray(numbers, np.int64)
    if len(header.frame_times_s):
        last = len(header.frame_times_s) - 1
        return np.where(numbers > last, np.nan, header.frame_times_s[np.minimum(numbers, last)])
    rate = frame_rate or header.frame_rate
    if not rate:
        return np.full(len(numbers), np.nan)
    # In whole numbers (30000/1001 is recovered from its float), because rounding could move a frame into the second
    # before.
    exact = Fraction(rate).limit_denominator(1_000_000)
    return np.array([float(int(number) / exact) for number in numbers], np.float64)


class TimedSightings(NamedTuple):
    sightings: list[Detection]  # those with a time
    times_s: np.ndarray  # [n] float64: the time of each
    fault: str  # why others have no time or the times may be wrong; '' if nothing is wrong


def time_sightings(clip: ClipDetections, header: Header) -> TimedSightings:
    """Returns the sightings of a clip with their times in seconds."""
    times_s = seconds_of_frames([sighting.frame_number for sighting in clip.sightings], header, clip.frame_rate)
    has_time = ~np.isnan(times_s)
    timed = [sighting for sighting, good in zip(clip.sightings, has_time, strict=True) if good]
    lost = [sighting for sighting, good in zip(clip.sightings, has_time, strict=True) if not good]
    return TimedSightings(timed, times_s[has_time], _lost_fault(lost, header) or _copy_fault(clip, header))


def _lost_fault(lost: Sequence[Detection], header: Header) -> str:
    if not lost:
        return ''
    if not len(header.frame_times_s):
        return 'the frame rate is unknown; run the detector again, so that its file has a frame_rate'
    n_frames, first = len(header.frame_times_s), lost[0].frame_number
    what = f'a detection is in frame {first}'
    if len(lost) > 1:
        what = f'{len(lost)} detections are in frame {first} or other frames'
    return f'{what}, but the clip has the frames 0 to {n_frames - 1}; run the detector on this very file'


def _copy_fault(clip: ClipDetections, header: Header) -> str:
    """Returns a reason if the detector seems to have counted the frames of a copy with fewer frames per second.

    OpenCV reports some clips with a multiple of their rate. Then the numbers are those of the clip nevertheless.
    """
    n_frames = len(header.frame_times_s)
    if not n_frames or not clip.frame_rate or not header.frame_rate or same_rate(clip.frame_rate, header.frame_rate):
        return ''
    numbers = clip.frames_processed or [sighting.frame_number for sighting in clip.sightings]
    if max(numbers) >= n_frames * clip.frame_rate / header.frame_rate or clip.frame_rate > header.frame_rate:
        return ''
    return (
        f"the detector's file gives {clip.frame_rate:g} frames per second, the clip has {header.frame_rate:g}: if the "
        'detector ran on a converted copy, the seconds are wrong; run the detector on this very file'
    )


def rate_note(rates: dict[str, tuple[float | None, float]]) -> list[str]:
    """Returns a note if the frame rates of the detector's file and of the clips differ by more than 2 %.

    rates: {video_id: (the detector's, None if unknown; the clip's, 0 if unknown)}.
    """
    differing = {name: pair for name, pair in rates.items() if all(pair) and not same_rate(*pair)}
    if not differing:
        return []
    name, (theirs, ours) = next(iter(differing.items()))
    return [
        f"the detector's frame_rate differs from the clip's by more than 2 % in {len(differing)} clips, first {name}: "
        f'{theirs:g} in its file, {ours:g} in the clip. Seconds are taken from the clip. If the detector ran on '
        'converted copies, run it on these files'
    ]


def best_by_second(sightings: Sequence[Detection], times_s: np.ndarray) -> dict[int, Detection]:
    """Returns {second: its most confident sighting}. If two are equal, the earlier frame counts.

    times_s: of each sighting. A frame belongs to the last whole second that is not after it, and a frame before
    second 0 to second 0.
    """
    timed = sorted(
        zip(sightings, times_s, strict=True), key=lambda pair: (pair[0].confidence, -pair[0].frame_number)
    )  # best last
    return dict(sorted({max(0, math.floor(time_s)): sighting for sighting, time_s in timed}.items()))
