"""Overexposed clips: measures the whiteness of a frame and applies the gamma correction that recovers the animal.

Ivanov 2021, section 4: infrared flash or sun washes out some clips. The brightest luma of the original still shows the
animal, so the whole `full` stream of such a clip goes through ffmpeg's `eq=gamma=0.1`.
"""

from collections.abc import Iterable

import numpy as np

WHITE_LEVEL = 250  # a channel value above this (strictly) counts as white
WHITE_SHARE = 0.20  # a frame with a larger share of white values (strictly) is white

# ffmpeg's eq filter at its lowest gamma, 0.1, as a filter that every build of libav has: a table over luma, chroma
# unchanged. 126 -> 0, 231 -> 95. It comes before the conversion to RGB: a power law on RGB gives another result.
GAMMA_LUT = ('lut', 'c0=min(floor(256*pow(val/255,10)),255):c1=val:c2=val')
# The layouts that the eq filter accepts. Others are converted to the nearest of them first.
EQ_FORMATS = 'gray|yuv410p|yuv411p|yuv420p|yuv422p|yuv440p|yuv444p'

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
