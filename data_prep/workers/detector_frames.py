"""The frames of a clip at the detector's rate and size, in a raw file. Runs in worker processes that may die."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from data_prep.archive import local_copy, size_bytes
from data_prep.decoding.container import ClipError
from data_prep.decoding.damage import find_doubt
from data_prep.decoding.decode import ClipInfo, decode_at_rate
from data_prep.workers import guard

SIZE_PX = 640  # of the square into which a picture fits
# Mean difference of the largest and the smallest colour channel. In the 12 real clips it is 17 or more by day, and 4 or
# less in infrared light.
INFRARED = 10.0
_LONGEST_FRAMES = 20_000  # of one clip: 25 GB in the raw file
_TAKE_FRAMES = 'data_prep.workers.detector_frames:take_frames'


class FramesTask(NamedTuple):
    video_id: str
    path: str  # local or gs://
    per_second: str  # frames per second, such as '2' or '1/3'
    raw_file: str  # a local path, for the pictures


class DetectorFrames(NamedTuple):
    """The frames of one clip. A picture is RGB uint8, scaled so that its longer side has SIZE_PX pixels."""

    numbers: list[int]  # among all frames of the clip, from 0, ascending
    times_s: list[float]  # of the frames, from the clip's start
    places: list[tuple[int, int, int]]  # of the frames in the raw file: first byte, height, width
    brightness: list[float]  # mean luma of each frame, 0..255
    infrared: bool  # the pictures have no colour
    size_px: tuple[int, int]  # height and width of the clip
    frame_rate: float  # of the clip, frames per second
    duration_s: float
    doubt: str  # what is wrong with the clip's frames, '' if nothing

    def picture(self, raw: np.ndarray, i: int) -> np.ndarray:
        """raw: the bytes of the raw file -> the picture of frame i, uint8 [height, width, 3]."""
        start, height, width = self.places[i]
        return raw[start : start + height * width * 3].reshape(height, width, 3)


def frames_of_clips(
    tasks: Iterable[FramesTask], workers: int
) -> Iterator[tuple[FramesTask, DetectorFrames | str | guard.WorkerDied]]:
    """Yields each task with its frames, or why it has none, in the order of completion.

    One line tells why the clip cannot be decoded; a WorkerDied, why its worker ended.

    While the caller uses a result, the workers decode further clips, one each. Raises guard.WorkerError if the machine
    is at fault, for example a full disk.
    """
    yield from guard.run_guarded(_TAKE_FRAMES, tasks, workers, _deadline_s)


def take_frames(task: FramesTask) -> DetectorFrames | str:
    """Decodes the frames of a clip into its raw file. Returns one line if the clip cannot be decoded."""
    try:
        with local_copy(task.path) as path, Path(task.raw_file).open('wb') as file:
            take = _Writer(file)
            rated = decode_at_rate(path, Fraction(task.per_second), take)
    except ClipError as error:
        return str(error)
    info = rated.info
    places, brightness, colour = zip(*rated.contents, strict=True) if rated.contents else ((), (), (0,))
    return DetectorFrames(
        numbers=rated.numbers,
        times_s=rated.times_s,
        places=list(places),
        brightness=list(brightness),
        infrared=bool(np.median(colour) < INFRARED),
        size_px=(info.height_px, info.width_px),
        frame_rate=info.frame_rate,
        duration_s=info.duration_s,
        doubt=_doubt(info),
    )


class _Writer:
    """Writes scaled pictures into a file. Returns (first byte, height, width), the mean luma and the mean colour."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._n = 0

    def __call__(self, rgb: np.ndarray, _: bytes | None) -> tuple[tuple[int, int, int], float, float]:
        self._n += 1
        if self._n > _LONGEST_FRAMES:
            raise ClipError(f'it has more than {_LONGEST_FRAMES} frames for the detector; cut it into shorter clips')
        picture = fitted(rgb)
        start = self._file.tell()
        self._file.write(picture.tobytes())
        luma = float(np.asarray(Image.fromarray(picture).convert('L')).mean())
        return (start, *picture.shape[:2]), luma, float(np.ptp(picture, axis=2).mean())


def fitted(rgb: np.ndarray) -> np.ndarray:
    """Scales RGB uint8 [H, W, 3] so that it just fits into SIZE_PX x SIZE_PX, bicubic as zamba does."""
    return np.asarray(ImageOps.contain(Image.fromarray(rgb), (SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC))


def _doubt(info: ClipInfo) -> str:
    damaged = f'{len(info.damaged_s)} damaged frames left out' if info.damaged_s else ''
    whole = find_doubt(info, {}, [])
    return ', '.join(filter(None, [damaged, whole.missing_end, whole.fault]))


def _deadline_s(task: FramesTask) -> float:
    return 600 + 2e-5 * size_bytes(task.path)
