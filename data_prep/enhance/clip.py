"""Makes the function that enhances the frames of one clip."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from data_prep.decoding.decode import decode_seconds
from data_prep.enhance import network
from data_prep.enhance.background import background_seconds, find_background, fuse_background
from data_prep.enhance.spec import Enhancement

# libav's own filters. Cameras compress in blocks of 8 x 8 pixels; the thresholds of `strong` suit old cameras.
_FILTERS = {'deblock': ('deblock', 'filter=strong:block=8'), 'denoise': ('nlmeans', 's=1.5:p=5:r=9')}
MOST_HEIGHTS = 2  # upright pictures of phones have 16:9; a frame of 2 x 1000 px would fill the memory
_SHARPEN = ImageFilter.UnsharpMask(radius=1.5, percent=60, threshold=2)


class Enhancer(NamedTuple):
    """How the frames of one clip are enhanced."""

    filters: tuple[tuple[str, str], ...]  # of libav, for decode_seconds: they act before gamma and RGB
    improve: Callable[[np.ndarray], np.ndarray]  # a decoded frame, RGB [H, W, 3] uint8 -> the enhanced frame


def make_enhancer(
    path, seconds: Callable[[int], Iterable[int]], enhancement: Enhancement, gamma: bool, sampling: str = 'timestamp'
) -> Enhancer:
    """Returns the enhancer of a clip. Decodes some of its seconds to find the background.

    seconds: returns the seconds that will be enhanced, given the last one, as of decode_seconds. gamma: whether they
    will be corrected. Raises ClipError if the clip cannot be decoded.
    """
    steps = enhancement.steps
    filters = tuple(_FILTERS[step] for step in steps if step in _FILTERS)
    background = None
    if 'fuse' in steps:
        chosen: list[int] = []

        def some(last_s: int) -> list[int]:
            chosen[:] = background_seconds(sorted({*seconds(last_s)}))
            return chosen or [0]

        _, frames = decode_seconds(path, some, gamma, sampling=sampling, filters=filters)
        background = find_background([*frames.values()]) if chosen else None

    def improve(frame: np.ndarray) -> np.ndarray:
        if background is not None and frame.shape == background.picture.shape:
            frame = fuse_background(frame, background)
        if 'upscale' in steps:
            frame = enlarge(frame, enhancement)
        return sharpen(frame) if 'sharpen' in steps else frame

    return Enhancer(filters, improve)


def enlarge(frame: np.ndarray, enhancement: Enhancement) -> np.ndarray:
    """Returns a frame [H, W, 3] uint8 of the enhancement's width, by its network and Lanczos; never a smaller one.

    A frame becomes at most MOST_HEIGHTS times as high as the width that is asked for.
    """
    height, width = frame.shape[:2]
    factor = min(enhancement.to_px / width, MOST_HEIGHTS * enhancement.to_px / height)
    if factor <= 1:
        return frame
    size = (round(width * factor), max(1, round(height * factor)))
    if enhancement.network:
        frame = network.double(frame, network.read_network(enhancement.network, enhancement.network_sha256))
    if frame.shape[1::-1] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def sharpen(frame: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).filter(_SHARPEN))
