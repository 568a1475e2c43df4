"""Encodes the frames of a record as JPEG, in the sizes of its streams."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_prep.decoding import exposure
from data_prep.decoding.container import ClipError

JPEG_QUALITY = 92  # loses as much as the original's files (ffmpeg's -q:v 1): bench/data_prep.py
MOST_DOWN_WIDTH_PX = 640  # width of a `down` frame that is scaled here because no downsampled clip exists
_MOST_RECORD_BYTES = 512 << 20  # of both streams; a TFRecord example and a worker's memory cannot hold 2 GB


class StoredFrame(NamedTuple):
    jpeg: bytes
    white_fraction: float
    size_px: tuple[int, int]  # height, width


class StreamEncoder:
    """Encodes rgb [H, W, 3] uint8, or takes the camera's own JPEG of it. Returns the `down` and the `full` frame.

    shrink: scale the `down` frame. whole: also return the `full` frame, else None in its place.
    """

    def __init__(self, shrink: bool, whole: bool):
        self.whole = whole
        self._shrink = shrink
        self._n_bytes = 0

    def __call__(self, rgb: np.ndarray, jpeg: bytes | None) -> tuple[StoredFrame, StoredFrame | None]:
        if not self._shrink or rgb.shape[1] <= MOST_DOWN_WIDTH_PX:
            frame = self._frame(rgb, jpeg)
            return frame, frame if self.whole else None
        picture = Image.fromarray(rgb)
        down = shrunk(picture)
        return self._frame(np.asarray(down), None, down), self._frame(rgb, jpeg, picture) if self.whole else None

    def _frame(self, rgb: np.ndarray, jpeg: bytes | None, picture: Image.Image | None = None) -> StoredFrame:
        """Returns a stored frame. picture: the same as rgb, if it exists already."""
        if jpeg is None:
            file = io.BytesIO()
            # 4:2:0 like the clips: chroma at full size would store interpolated values.
            (picture or Image.fromarray(rgb)).save(file, 'JPEG', quality=JPEG_QUALITY, subsampling='4:2:0')
            jpeg = file.getvalue()
        self._n_bytes += len(jpeg)
        if self._n_bytes > _MOST_RECORD_BYTES:
            raise ClipError(f'its frames fill more than {_MOST_RECORD_BYTES >> 20} MB; cut the clip into shorter clips')
        return StoredFrame(jpeg, exposure.white_fraction(rgb), rgb.shape[:2])


def shrunk(picture: Image.Image) -> Image.Image:
    """Returns the picture MOST_DOWN_WIDTH_PX wide. Each pixel is the mean of the pixels that it replaces."""
    factor, rest = divmod(picture.width, MOST_DOWN_WIDTH_PX)
    if not rest and not picture.height % factor:  # whole pixels: faster, and rounded once
        return picture.reduce(factor)
    height_px = max(1, round(picture.height * MOST_DOWN_WIDTH_PX / picture.width))
    return picture.resize((MOST_DOWN_WIDTH_PX, height_px), Image.Resampling.BOX)
