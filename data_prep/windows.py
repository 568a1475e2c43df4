"""Which seconds make a window. Pure NumPy; data preparation, training and prediction share it.

A *window* is the T frames around a target second; an *example* is S frames of one clip together with the K windows
that are cut from them. The published example is one window (S = T, K = 1); sharing frames among the windows of
neighbouring targets saves backbone calls in training, and in prediction a clip's frames are encoded once.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

# What is stored around every target, whatever the recipe (Ivanov 2021, section 3): n = 5 at steps of 1 and 2 s.
STORED_HALF = 5
STORED_STEPS = (1, 2)


class Examples(NamedTuple):
    """Windows of one clip, grouped into E examples of fixed shape.

    frame [E, S] int32: positions in the clip's list of stored frames (the last one repeated as filling).
    window [E, K, T] int32: positions in the example's own S frames.
    target [E, K] int32: positions in the clip's list of targets, -1 where the place is not used.
    """

    frame: np.ndarray
    window: np.ndarray
    target: np.ndarray


def window_seconds(time_s, n_frames: int, step_s: int, first_s: int, last_s: int) -> np.ndarray:
    """Seconds of the windows around targets [K] -> [K, T] int32.

    t + {-n..n} * step, clamped to the first and last second there is: the edge frame repeats and is never
    zeros, nor taken from the other end of the clip. The target is the middle frame (Ivanov 2021, section 3).
    """
    if n_frames % 2 == 0 or n_frames < 1:
        raise ValueError(f'a window has an odd number of frames, the target in the middle; got {n_frames}')
    half = n_frames // 2
    offsets = np.arange(-half, half + 1, dtype=np.int32) * step_s
    times = np.asarray(time_s, np.int32).reshape(-1, 1)
    return np.clip(times + offsets, first_s, last_s).astype(np.int32)


def stored_seconds(target_times_s: Iterable[int], last_s: int) -> list[int]:
    """Distinct seconds, ascending, that a record must hold to cut any published window of these targets."""
    times = list(target_times_s)
    wanted = [window_seconds(times, 2 * STORED_HALF + 1, step, 0, last_s).ravel() for step in STORED_STEPS if times]
    return np.unique(np.concatenate(wanted)).tolist() if wanted else []


def plan_examples(
    frame_time_s: np.ndarray,
    target_time_s: np.ndarray,
    n_frames: int,
    step_s: int,
    windows_per_example: int = 1,
    frames_per_example: int | None = None,
) -> Examples:
    """Groups the windows of one clip into examples that share frames.

    frame_time_s [n]: the stored seconds, ascending. target_time_s [m]: in any order, each gets exactly one place.
    An example takes the next targets in time while there are at most K of them and their windows need at most S
    distinct frames; S is frames_per_example, by default T (then each target is an example of its own).
    With K = 1 the frames are the window as it was published, edge frames repeated, so that they count as often
    in the batch statistics as they did there.
    """
    frames_per_example = frames_per_example or n_frames
    if frames_per_example < n_frames:
        raise ValueError(f'{frames_per_example} frames an example cannot hold a window of {n_frames}')
    order = np.argsort(np.asarray(target_time_s), kind='stable')
    positions = window_positions(frame_time_s, np.asarray(target_time_s, np.int32)[order], n_frames, step_s)
    rows = [
        _example(positions, order, group, windows_per_example, frames_per_example)
        for group in _groups(positions, windows_per_example, frames_per_example)
    ]
    shapes = ((0, frames_per_example), (0, windows_per_example, n_frames), (0, windows_per_example))
    return Examples(
        *(
            np.stack([row[i] for row in rows]).astype(np.int32) if rows else np.zeros(shape, np.int32)
            for i, shape in enumerate(shapes)
        )
    )


def window_positions(frame_time_s: np.ndarray, target_time_s: np.ndarray, n_frames: int, step_s: int) -> np.ndarray:
    """Positions [K, T] of each target's window among the stored seconds [n], ascending.

    Raises ValueError where a second is not stored.
    """
    frame_time_s = np.asarray(frame_time_s, np.int32)
    seconds = window_seconds(target_time_s, n_frames, step_s, frame_time_s[0], frame_time_s[-1])
    positions = np.searchsorted(frame_time_s, seconds)
    missing = np.unique(seconds[frame_time_s[np.minimum(positions, len(frame_time_s) - 1)] != seconds])
    if missing.size:
        raise ValueError(
            f'the record lacks the seconds {missing[:5].tolist()} that this recipe needs; prepare the data again'
        )
    return positions


def _groups(positions: np.ndarray, most_windows: int, most_frames: int) -> list[range]:
    groups: list[range] = []
    start = 0
    for stop in range(1, len(positions) + 1):
        full = stop - start == most_windows
        if stop == len(positions) or full or len(np.unique(positions[start : stop + 1])) > most_frames:
            groups.append(range(start, stop))
            start = stop
    return groups


def _example(positions, order, group: range, n_windows: int, n_frames: int):
    wanted = positions[group.start : group.stop]
    if n_windows == 1 and n_frames == wanted.shape[1]:
        return wanted[0], np.arange(n_frames)[None], order[group.start : group.stop]
    distinct = np.unique(wanted)
    frame = np.concatenate([distinct, np.repeat(distinct[-1:], n_frames - len(distinct))])
    window = np.searchsorted(distinct, wanted)
    unused = n_windows - len(group)
    window = np.concatenate([window, np.repeat(window[-1:], unused, axis=0)])
    target = np.concatenate([order[group.start : group.stop], np.full(unused, -1)])
    return frame, window, target
