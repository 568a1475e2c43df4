"""The moments of a clip at which a detector or a person looked for animals, and what they saw at snapshot moments.

A moment that nobody looked at is neither an animal nor effort. Pure functions; times are seconds from the first frame.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

ANIMAL, EMPTY, NOT_LOOKED = 'animal', 'empty', 'not looked at'

UNKNOWN_STEP = math.nan
OWN_SECONDS = 0.0
# Detectors round the seconds between frames down to whole frames: 2 s at 29.97 frames per second become 59 frames,
# 1.97 s. The frames drift away from the moments, by half a step at most.
_KEEPS_PACE = 0.1  # share of the snapshot interval: down to 10 frames per second at 1 s
_NEAR = 0.3  # share of the snapshot interval: a frame this near stands for the moment, whatever the step
_SLACK_S = 1e-6  # of floating-point numbers


class LookedAt(NamedTuple):
    """The frames of one clip in which somebody looked for animals."""

    times_s: np.ndarray  # [n] float64, ascending
    n_animals: np.ndarray  # [n] int: animals at or above the least confidence
    step_s: float  # between the frames of a detector; OWN_SECONDS: rows of a table; UNKNOWN_STEP: others are not listed

    @property
    def is_known(self) -> bool:
        """Whether a time that is not listed was not looked at."""
        return not math.isnan(self.step_s)


class Moments(NamedTuple):
    """The snapshot moments of one clip: 0, t, 2t, ..."""

    times_s: np.ndarray  # [m] int
    states: np.ndarray  # [m] str: ANIMAL, EMPTY or NOT_LOOKED
    frames_s: np.ndarray  # [m] float64: the time of the frame that stands for the moment; without one, the moment
    n_animals: np.ndarray  # [m] int

    @property
    def seconds(self) -> np.ndarray:
        """Returns the whole seconds of the frames [m] int."""
        return np.maximum(np.floor(self.frames_s), 0).astype(int)


def detector_looks(processed_s: Sequence[float] | None, seen_s: Sequence[float]) -> LookedAt:
    """Returns where a detector looked.

    processed_s: the times of its frames, in any order; None if its file does not give them. seen_s: the time of each
    animal; animals of one frame have one time.
    """
    seen, n_seen = np.unique(np.asarray(seen_s, float), return_counts=True)
    times = seen if processed_s is None else np.union1d(np.asarray(processed_s, float), seen)
    n_animals = np.zeros(len(times), int)
    n_animals[np.searchsorted(times, seen)] = n_seen
    return LookedAt(times, n_animals, UNKNOWN_STEP if processed_s is None else _step(times))


def stated_frames(step_s: float, frame_rate: float, n_frames: int, seen: Collection[int]) -> list[int]:
    """Returns the frame numbers of a detector that looked every step_s seconds from the first frame on.

    seen: the frame numbers with an animal. Detectors round the step down or up to whole frames. Raises ValueError if
    the numbers in `seen` fit neither.
    """
    exact = step_s * frame_rate
    steps = [max(1, math.floor(exact + _SLACK_S)), max(1, math.ceil(exact - _SLACK_S))]
    for step in steps:
        if all(number % step == 0 for number in seen):
            return list(range(0, n_frames, step))
    wrong = next(number for number in sorted(seen) if number % steps[0])
    raise ValueError(
        f'frame {wrong} has an animal, but a detector that looks every {step_s:g} s at {frame_rate:g} frames per '
        f'second looks at each {steps[0]}th frame'
    )


def table_looks(seen_s: Collection[int], empty_s: Collection[int], last_s: int | None = None) -> LookedAt:
    """Returns where a person looked, from whole seconds with and without an animal.

    seen_s: one for each animal. last_s: the last second of the clip if the person watched all of it; the other seconds
    are then empty.
    """
    seen, n_seen = np.unique(np.asarray(list(seen_s), float), return_counts=True)
    times = np.union1d(seen, np.asarray(list(empty_s), float))
    if last_s is not None:
        times = np.union1d(times, np.arange(last_s + 1, dtype=float))
    n_animals = np.zeros(len(times), int)
    n_animals[np.searchsorted(times, seen)] = n_seen
    return LookedAt(times, n_animals, OWN_SECONDS)


def snapshot_moments(looked: LookedAt | None, end_s: float, interval_s: int) -> Moments:
    """Returns what is known about the snapshot moments 0, t, 2t, ... of a clip.

    looked: None if nobody looked at the clip. end_s: the time of the last frame; a moment after it is not in the clip.
    interval_s: t. The frame nearest to a moment stands for it, and one frame for one moment. It may be 0.3 t away, or
    half of the detector's step if the step is t (to 10 %), but less than half of t. A row of a table stands for its
    own second alone.
    """
    times = np.arange(math.floor(max(end_s, 0) / interval_s + _SLACK_S) + 1) * interval_s
    states = np.full(len(times), NOT_LOOKED, object)
    frames_s, n_animals = times.astype(float), np.zeros(len(times), int)
    if looked is None or not looked.is_known or not len(looked.times_s):
        return Moments(times, states, frames_s, n_animals)
    frames, near = _frames_of(looked, times, interval_s)
    n_animals[near] = looked.n_animals[frames[near]]
    states[near] = np.where(n_animals[near] > 0, ANIMAL, EMPTY)
    frames_s[near] = looked.times_s[frames[near]]
    return Moments(times, states, frames_s, n_animals)


def animals_by_second(looked: LookedAt) -> dict[int, int]:
    """Returns {second: the most animals in one of its frames}, without the seconds without an animal."""
    most: dict[int, int] = {}
    for time_s, n in zip(looked.times_s, looked.n_animals, strict=True):
        second = max(0, math.floor(time_s))
        if n:
            most[second] = max(most.get(second, 0), int(n))
    return most


def _step(times_s: np.ndarray) -> float:
    """Returns the usual time between frames, infinite if there is one frame."""
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else math.inf


def _keeps_pace(step_s: float, interval_s: int) -> bool:
    return abs(step_s - interval_s) <= _KEEPS_PACE * interval_s


def _frames_of(looked: LookedAt, moments_s: np.ndarray, interval_s: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the frame of each moment, and whether the frame is near enough to stand for the moment."""
    frames = _nearest(looked.times_s, moments_s)
    near = np.abs(looked.times_s[frames] - moments_s) <= _reach(looked.step_s, interval_s)
    if not near[-1] and _keeps_pace(looked.step_s, interval_s) and looked.step_s <= interval_s:
        # The frames have drifted so far that the one nearest to the last moment would be after the end of the clip.
        # Each moment then has its own frame before it.
        before = np.maximum(np.searchsorted(looked.times_s, moments_s + _SLACK_S, 'right') - 1, 0)
        age_s = moments_s - looked.times_s[before]
        return before, (age_s > -_SLACK_S) & (age_s < looked.step_s - _SLACK_S)
    return frames, near


def _reach(step_s: float, interval_s: int) -> float:
    """Returns how far a frame that stands for a moment may be from the moment, in seconds."""
    if step_s == OWN_SECONDS:
        return 0
    farthest = step_s / 2 if _keeps_pace(step_s, interval_s) else _NEAR * interval_s
    return min(farthest + _SLACK_S, interval_s / 2 - _SLACK_S)


def _nearest(times_s: np.ndarray, moments_s: np.ndarray) -> np.ndarray:
    """Returns the index of the nearest time of each moment, the earlier one of two."""
    after = np.clip(np.searchsorted(times_s, moments_s), 1, max(1, len(times_s) - 1))
    before = after - 1
    after = np.minimum(after, len(times_s) - 1)
    return np.where(moments_s - times_s[before] <= times_s[after] - moments_s, before, after)
