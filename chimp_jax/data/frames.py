"""Records -> frames for evaluation, with the pixels of the published pipeline but without TensorFlow.

The published pipeline decodes with libjpeg's exact DCT and its smooth chroma, as Pillow does, and resizes bilinearly
between the centres of pixels, without smoothing before it shrinks. A test compares both on real clips, bit by bit.
"""

import functools
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from chimp_jax.data.chunks import first_of_equal
from data_prep.records import Record

_STRIP = 16  # rows of the result at once: their pixels stay in a core's cache


def decode_frame(jpeg: bytes, size_px: int) -> np.ndarray:
    """JPEG -> [size, size, 3] uint8, as published: exact DCT, bilinear without antialiasing, floor.

    Other resizers (Pillow's, jax.image.resize) smooth while they shrink. The published frames are not smoothed.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        # Four bytes a pixel, so that NumPy takes each pixel as one number.
        pixels = np.frombuffer(image.convert('RGB').tobytes('raw', 'RGBX'), np.uint32)
        strips, right_share = _resizing(image.height, image.width, size_px)
    resized = np.empty((size_px, size_px, 4), np.uint8)
    for strip in strips:
        rows = pixels.take(strip.left).view(np.uint8).astype(np.float32)
        rows += (pixels.take(strip.right).view(np.uint8).astype(np.float32) - rows) * right_share
        top, bottom = rows[strip.top], rows[strip.bottom]
        top += (bottom - top) * strip.bottom_share
        resized[strip.result] = top.astype(np.uint8).reshape(-1, size_px, 4)
    return resized[..., :3]


class _Strip(NamedTuple):
    """Some rows of a resized picture, and the pixels that they are made of."""

    result: slice  # n rows
    left: np.ndarray  # [r, size] positions among the pixels of the picture, of the r rows that are needed
    right: np.ndarray
    top: np.ndarray  # [n] positions among the r rows
    bottom: np.ndarray
    bottom_share: np.ndarray  # [n, 1] float32


@functools.lru_cache(maxsize=16)
def _resizing(height_px: int, width_px: int, size_px: int) -> tuple[list[_Strip], np.ndarray]:
    """Returns how a picture of this size is resized: strips, and the share of the right pixel [size * 4] float32."""
    top, bottom, bottom_share = _neighbours(height_px, size_px)
    left, right, right_share = _neighbours(width_px, size_px)
    strips = []
    for first in range(0, size_px, _STRIP):
        part = slice(first, min(first + _STRIP, size_px))
        rows, place = np.unique(np.concatenate([top[part], bottom[part]]), return_inverse=True)
        start, (above, below) = rows[:, None] * width_px, np.split(place, 2)
        strips.append(_Strip(part, start + left, start + right, above, below, bottom_share[part, None]))
    return strips, np.repeat(right_share, 4)


def _neighbours(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns for each place of the result the two nearest places before and after it, and the share of the second.

    All in float32, as tf.image.resize computes it.
    """
    place = (np.arange(n_out, dtype=np.float32) + np.float32(0.5)) * (np.float32(n_in) / np.float32(n_out))
    place -= np.float32(0.5)
    before = np.floor(place)
    lower, upper = np.maximum(before, 0), np.minimum(np.ceil(place), n_in - 1)
    return lower.astype(np.intp), upper.astype(np.intp), place - before


def decode_records(records: Sequence[Record], size_px: int) -> np.ndarray:
    """All frames of some records, one record after the other -> [N, size, size, 3] uint8. Uses all CPU cores.

    Equal JPEGs, such as those that the photos of a burst share, are decoded once.
    """
    jpegs = [jpeg for record in records for jpeg in record.frame_jpeg]
    frames = np.empty((len(jpegs), size_px, size_px, 3), np.uint8)

    def decode(place: int) -> None:
        frames[place] = decode_frame(jpegs[place], size_px)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        first = first_of_equal(jpegs)
        list(threads.map(decode, np.unique(first).tolist()))
    repeated = np.nonzero(first != np.arange(len(jpegs)))[0]
    frames[repeated] = frames[first[repeated]]
    return frames
