"""The seconds of a window. Pure NumPy, shared by data preparation, training and prediction.

A *window* is the T frames around a target second. An *example* is S frames of one clip together with the K windows
that are cut from them. The published example is one window (S = T, K = 1). In training, sharing frames among the
windows of neighbouring targets saves backbone calls. In prediction, a clip's frames are encoded once.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

# The frames stored around every target, for all recipes (Ivanov 2021, section 3): n = 5 at steps of 1 and 2 s.
STORED_HALF = 5
STORED_STEPS = (1, 2)


class Examples(NamedTuple):
    """Windows of one clip, grouped into E examples of fixed shape.

    frame [E, S] int32: positions in the clip's list of stored frames (the last one repeated as padding).
    window [E, K, T] int32: positions in the example's own S frames.
    target [E, K] int32: positions in the clip's list of targets, -1 if the place is unused.
    """

    frame: np.ndarray
    window: np.ndarray
    target: np.ndarray


def window_seconds(time_s, n_frames: int, step_s: int, first_s: int, last_s: int) -> np.ndarray:
    """Returns the seconds [K, T] int32 of the windows around targets [K].

    t + {-n..n} * step, clamped to first_s..last_s: the edge frame repeats. The target is the middle frame (Ivanov
    2021, section 3).
    """
    if n_frames % 2 == 0 or n_frames < 1:
        raise ValueError(f'a window has an odd number of frames, with the target in the middle; got {n_frames}')
    half = n_frames // 2
    offsets = np.arange(-half, half + 1, dtype=np.int32) * step_s
    times = np.asarray(time_s, np.int32).reshape(-1, 1)
    return np.clip(times + offsets, first_s, last_s).astype(np.int32)


def stored_seconds(target_times_s: Iterable[int], last_s: int) -> list[int]:
    """Returns the distinct seconds, ascending, that any published window of these targets requires."""
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

    frame_time_s [n]: the stored seconds, ascending. target_time_s [m]: in any order; each target gets exactly one
    place. An example takes the next targets in time while there are at most K of them and their windows require at most
    S distinct frames. S is frames_per_example, by default T (each target is then its own example).
    With K = 1 the frames are the published window with its edge frames repeated, so that each frame has the same
    weight in the batch statistics as in the original.
    """
    frames_per_example = frames_per_example or n_frames
    if frames_per_example < n_frames:
        raise ValueError(f'an example of {frames_per_example} frames cannot hold a window of {n_frames}')
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
    """Returns the positions [K, T] of each target's window among the stored seconds [n], ascending.

    Raises ValueError if a second is not stored.
    """
    frame_time_s = np.asarray(frame_time_s, np.int32)
    seconds = window_seconds(target_time_s, n_frames, step_s, frame_time_s[0], frame_time_s[-1])
    positions = np.searchsorted(frame_time_s, seconds)
    missing = np.unique(seconds[frame_time_s[np.minimum(positions, len(frame_time_s) - 1)] != seconds])
    if missing.size:
        raise ValueError(
            f'the record lacks the seconds {missing[:5].tolist()} that this recipe requires; prepare the data again'
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
