"""The static background of a clip, and its fusion into each frame.

A camera trap does not move. Where a frame shows the background, the mean of many frames has less noise and less damage
by compression than the frame alone. Where something differs from the background, the frame is kept. A frame whose
brightness differs as a whole, for example by automatic exposure, gets the background at its own brightness.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MOST_FRAMES = 31  # from which the background is made
LEAST_FRAMES = 5  # with fewer frames an animal could be taken for the background
_WINDOW_PX = 5  # width of the square in which a frame is compared with the background: single pixels are too noisy
_LEAST_LEVEL = 1.0  # of the usual difference, grey levels: rounding and compression leave as much
_SAME, _OTHER = 1.5, 3.0  # times the usual difference: up to the first the background, from the second on the frame


class Background(NamedTuple):
    picture: np.ndarray  # float64 [H, W, 3], 0..255
    level: float  # usual difference of a static frame from the picture, mean of a square, grey levels


def background_seconds(seconds: Sequence[int]) -> list[int]:
    """Returns at most MOST_FRAMES evenly spaced ones of the seconds, including both ends; [] if they are too few."""
    if len(seconds) < LEAST_FRAMES:
        return []
    places = np.linspace(0, len(seconds) - 1, min(len(seconds), MOST_FRAMES)).round().astype(int)
    return [seconds[place] for place in np.unique(places)]


def find_background(frames: Sequence[np.ndarray]) -> Background:
    """Returns the background of frames [H, W, 3] uint8 of one size: the mean of each pixel's values near its median.

    An animal that stands in one place for less than half of the frames leaves no trace.
    """
    stack = np.stack(frames)
    brightness = np.stack([np.median(frame, axis=(0, 1)) for frame in frames]).astype(np.float32)
    offset = (brightness - np.median(brightness, axis=0))[:, None]
    # Row by row: all frames at once in float32 would fill the memory of a worker.
    picture = np.stack([_background_row(stack[:, row] - offset) for row in range(stack.shape[1])])
    usual = np.median([np.median(_difference(frame, picture)[0]) for frame in frames])
    return Background(picture, max(float(usual), _LEAST_LEVEL))


def _background_row(values: np.ndarray) -> np.ndarray:
    """Returns the background of a row of pixels, float32 [frames, W, 3] -> [W, 3]."""
    median = np.median(values, axis=0)
    difference = np.abs(values - median)
    near = difference <= np.maximum(2 * np.median(difference, axis=0), 2)
    return (values * near).sum(axis=0) / near.sum(axis=0)


def fuse_background(frame: np.ndarray, background: Background) -> np.ndarray:
    """Returns a frame [H, W, 3] uint8 with the background where the frame shows nothing else."""
    difference, offset = _difference(frame, background.picture)
    share = (_OTHER - difference / background.level) / (_OTHER - _SAME)
    share = np.clip(share, 0, 1)[..., None]
    return np.clip(np.rint(frame + share * (background.picture + offset - frame)), 0, 255).astype(np.uint8)


def _difference(frame: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean difference in the square around each pixel [H, W], and the frame's offset of brightness [3]."""
    apart = frame.astype(np.float32) - picture
    offset = np.median(apart, axis=(0, 1))
    return box_mean(np.abs(apart - offset).mean(axis=2), _WINDOW_PX), offset


def box_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Returns the mean of the square of odd width around each value [H, W]; the edges repeat."""
    padded = np.pad(values, width // 2, mode='edge').astype(np.float64)
    for axis in (0, 1):
        total = np.cumsum(padded, axis=axis)
        total = np.insert(total, 0, 0, axis=axis)
        upper, lower = np.arange(width, total.shape[axis]), np.arange(total.shape[axis] - width)
        padded = (total.take(upper, axis=axis) - total.take(lower, axis=axis)) / width
    return padded
