"""Overexposed clips: measures the whiteness of a frame and applies the gamma correction that recovers the animal.

Ivanov 2021, section 4: infrared flash or sun washes out some clips. The brightest luma of the original still shows the
animal, so the whole `full` stream of such a clip goes through ffmpeg's `eq=gamma=0.1`.
"""

from collections.abc import Iterable

import av
import numpy as np

WHITE_LEVEL = 250  # a channel value above this (strictly) counts as white
WHITE_SHARE = 0.20  # a frame with a larger share of white values (strictly) is white

# ffmpeg's eq filter at its lowest gamma, 0.1: floor(256 * (Y / 255) ** 10), at most 255. 126 -> 0, 231 -> 95.
GAMMA_TABLE = np.minimum(np.floor(256 * (np.arange(256) / 255) ** 10), 255).astype(np.uint8)

# The eq filter accepts these layouts directly. Others are converted first.
_EIGHT_BIT_PLANAR = frozenset(
    ['gray', *(f'yuv{sub}p' for sub in (410, 411, 420, 422, 440, 444))]
    + [f'yuvj{sub}p' for sub in (411, 420, 422, 440, 444)]
)

_N_FIXED_SECONDS = 16


def white_fraction(frame_rgb: np.ndarray) -> float:
    """Returns the share of the channel values of frame_rgb [H, W, 3] uint8 that are above 250."""
    return float(np.count_nonzero(frame_rgb > WHITE_LEVEL) / frame_rgb.size)


def clip_is_overexposed(white_fractions: Iterable[float]) -> bool:
    """Returns whether a clip is overexposed: one white target frame is enough (Ivanov 2021, section 4)."""
    return any(fraction > WHITE_SHARE for fraction in white_fractions)


def fixed_seconds(last_s: int) -> list[int]:
    """Returns at most 16 evenly spaced seconds, including both ends, on which an unlabelled clip is judged."""
    n_seconds = min(last_s + 1, _N_FIXED_SECONDS)
    return np.unique(np.linspace(0, last_s, n_seconds).round().astype(int)).tolist()


def apply_gamma(frame: av.VideoFrame) -> av.VideoFrame:
    """Returns a copy of the frame with GAMMA_TABLE applied to its luma plane and chroma unchanged.

    Apply it before the conversion to RGB: a power law on RGB gives another result. It is a copy because the decoder may
    still predict other pictures from this frame.
    """
    if frame.format.name not in _EIGHT_BIT_PLANAR:
        frame = frame.reformat(format='yuv420p', interpolation='BICUBIC', threads=1)
    result = av.VideoFrame(frame.width, frame.height, frame.format.name)
    result.colorspace, result.color_range = frame.colorspace, frame.color_range
    for i, (source, target) in enumerate(zip(frame.planes, result.planes, strict=True)):
        values = _plane(source)
        _plane(target)[:] = GAMMA_TABLE[values] if i == 0 else values
    return result


def _plane(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """Returns the plane's values [H, W] uint8: a view without the padding at the end of each line."""
    lines = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size]
    return lines.reshape(plane.height, plane.line_size)[:, : plane.width]
