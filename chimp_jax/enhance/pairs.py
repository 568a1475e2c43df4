"""Pairs of small and large pictures from the user's own large clips.

A large picture is scaled to 640 px. Its small copy has half of that and is compressed as old cameras did, as JPEG of a
random quality: cameras that write 320 px write MJPEG, or MPEG-4 with blocks like those of JPEG.
"""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_prep.archive import local_copy
from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_seconds

LARGE_PX = 640  # width of the large pictures
FRAMES_PER_CLIP = 4
QUALITY = (20, 80)  # of JPEG
PATCH_PX = 32  # width of the squares of the small pictures; those of the large ones have twice the width


class Pairs(NamedTuple):
    """Squares of luma in 0..1, float32."""

    small: np.ndarray  # [n, PATCH_PX, PATCH_PX]
    enlarged: np.ndarray  # [n, 2 PATCH_PX, 2 PATCH_PX], the small picture by Lanczos
    large: np.ndarray  # as `enlarged`


def large_pictures(path: str) -> Iterator[Image.Image]:
    """Yields some pictures of a clip, LARGE_PX wide, of even height; nothing of a clip that is smaller or damaged.

    A picture that is too low for a square is left out.
    """
    try:
        with local_copy(path) as copy:
            info, frames = decode_seconds(
                copy, lambda last_s: np.linspace(0, last_s, FRAMES_PER_CLIP + 2)[1:-1].round().astype(int)
            )
    except ClipError:
        return
    for second, rgb in frames.items():
        height, width = rgb.shape[:2]
        if width >= LARGE_PX and second not in info.damaged_s:
            size = (LARGE_PX, round(height * LARGE_PX / width / 2) * 2)
            if size[1] < 2 * PATCH_PX:
                return
            yield Image.fromarray(rgb).resize(size, Image.Resampling.BOX, reducing_gap=None)


def make_pair(picture: Image.Image, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns luma in 0..1 of the small, the enlarged and the large picture."""
    small = picture.reduce(2)
    file = io.BytesIO()
    small.save(file, 'JPEG', quality=int(rng.integers(*QUALITY, endpoint=True)), subsampling='4:2:0')
    small = Image.open(file).convert('L')
    enlarged = small.resize(picture.size, Image.Resampling.LANCZOS)
    return tuple(np.asarray(one, np.float32) / 255 for one in (small, enlarged, picture.convert('L')))


def cut_pairs(pictures: Sequence[Image.Image], per_picture: int, rng: np.random.Generator) -> Pairs:
    """Returns random squares of the pictures, each turned and mirrored at random."""
    cut = []
    for picture in pictures:
        pair = make_pair(picture, rng)
        height, width = pair[0].shape
        for _ in range(per_picture):
            y, x = rng.integers(0, height - PATCH_PX, endpoint=True), rng.integers(0, width - PATCH_PX, endpoint=True)
            turns, mirrored = rng.integers(4), rng.integers(2)
            squares = []
            for values, times in zip(pair, (1, 2, 2), strict=True):
                square = values[y * times : (y + PATCH_PX) * times, x * times : (x + PATCH_PX) * times]
                square = np.rot90(square, turns)
                squares.append(square[:, ::-1] if mirrored else square)
            cut.append(squares)
    return Pairs(*(np.stack(values) for values in zip(*cut, strict=True)))
