"""The one function that turns a clip into records. Local worker processes and Apache Beam's workers call it."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_prep.archive import is_photo, local_copy
from data_prep.decoding import exposure
from data_prep.decoding.container import ClipError
from data_prep.decoding.damage import Doubt, find_doubt
from data_prep.decoding.decode import ClipInfo, decode_seconds
from data_prep.records import Record
from data_prep.windows import stored_seconds

JPEG_QUALITY = 92  # loses as much as the original's files (ffmpeg's -q:v 1): bench/data_prep.py
MOST_DOWN_WIDTH_PX = 640  # width of a `down` frame that is scaled here because no downsampled clip exists
GAMMAS = ('auto', 'always', 'never')
_MOST_RECORD_BYTES = 512 << 20  # of both streams; a TFRecord example and a worker's memory cannot hold 2 GB


class Mate(NamedTuple):
    """Another photo in the window of a photo."""

    second: int  # of the window; the photo itself is at second 0. See inputs/photos.py
    video_id: str
    down_path: str | None  # as in ClipTask, and None if that of the photo is
    full_path: str | None

    def paths(self) -> list[str]:
        return [path for path in (self.down_path, self.full_path) if path]


class ClipTask(NamedTuple):
    """The input for the records of one clip."""

    video_id: str
    down_path: str | None  # local or gs://; if one is None, the other serves both streams
    full_path: str | None
    target_time_s: Sequence[int] | None = None  # None: every `every_s` seconds
    target_distance_m: Sequence[float] | None = None  # None: unknown
    target_box: Sequence[tuple[float, ...]] | None = None  # x1, y1, x2, y2; None: unknown
    target_animal: Sequence[str] | None = None  # '' or None: unknown
    boxes: Sequence[tuple] | None = None  # all known ones: (time_s, confidence, x1, y1, x2, y2, animal)
    box_in_pixels: bool = False  # a box that ends beyond 1 is in pixels of the full copy; the others are in 0..1
    every_s: int = 1
    site: str = ''
    park: str = ''
    sampling: str = 'timestamp'  # of the `full` stream; the original cuts its `down` frames always by timestamp
    gamma: str = 'auto'  # or 'always', 'never'
    mates: Sequence[Mate] = ()  # of a photo

    def paths(self) -> list[str]:
        """Returns the files that the records depend on."""
        own = [path for path in (self.down_path, self.full_path) if path]
        return own + [path for mate in self.mates for path in mate.paths()]


class ClipRecords(NamedTuple):
    records: dict[str, Record]  # by stream; empty if no target is left
    doubts: dict[str, Doubt]  # by stream
    n_left_out: int  # targets at seconds that cannot be used
    outside: str  # boxes outside the picture, which are left out while their targets stay; '' without any


class _Frame(NamedTuple):
    jpeg: bytes
    white_fraction: float
    size_px: tuple[int, int]  # height, width


class _Stream(NamedTuple):
    info: ClipInfo
    frames: dict[int, _Frame]  # by second
    stale: frozenset[int] | None = None  # of a photo: the seconds whose photo cannot be read; None: a video

    def doubt(self, times_s: Sequence[int]) -> Doubt:
        if self.stale is not None:
            return find_doubt(self.info, {}, times_s)._replace(stale=self.stale)
        return find_doubt(self.info, {second: frame.jpeg for second, frame in self.frames.items()}, times_s)

    def seconds(self, target_times_s: Sequence[int]) -> list[int]:
        """Returns the seconds that the windows of the targets require."""
        return sorted(self.frames) if self.stale is not None else stored_seconds(target_times_s, self.info.last_s)


def make_records(task: ClipTask) -> ClipRecords:
    """Returns the record of a clip in each stream.

    If only one copy exists, it serves both streams, and `down` is scaled to a width of at most 640 px. Overexposure is
    judged on the `down` frames of the target seconds, or of fixed seconds if no targets are given. If one frame is
    white, the whole `full` stream is gamma corrected, `down` never (Ivanov 2021, section 4). Targets are left out if
    either copy is damaged at their second, or if they are more than 1 s past its end.
    A photo is a clip with the second 0. Its frames are the photos of its burst around it, at the seconds of task.mates;
    in the place of a photo that cannot be read stands the next one on the way to second 0.
    Raises ClipError if a copy cannot be decoded, ValueError if no path is given.
    """
    if task.down_path is None and task.full_path is None:
        raise ValueError(f'{task.video_id}: neither a downsampled nor a full clip is given')
    with local_copy(task.down_path) as down_path, local_copy(task.full_path) as full_path:
        task = task._replace(down_path=down_path, full_path=full_path)
        down, full = _decode_down(task)
        times_s = _times(task, down.info.last_s)
        doubts = {'down': down.doubt(times_s)}
        white_fraction = _white_fraction(task, down, doubts['down'].unusable())
        gamma = task.gamma == 'always' or (task.gamma == 'auto' and exposure.clip_is_overexposed([white_fraction]))
        if full is None or gamma:
            full = _decode_full(task, gamma)
    doubts['full'] = full.doubt(times_s)
    unusable = doubts['down'].unusable() | doubts['full'].unusable()
    kept = [i for i, time_s in enumerate(times_s) if time_s not in unusable]
    boxes, outside = _box_fields(task, full.info)
    shared = _target_fields(task, times_s, kept, full.info) | boxes
    shared |= {'white_fraction': white_fraction, 'gamma': gamma}
    streams = {'down': down, 'full': full} if kept else {}
    records = {name: _record(task, stream, shared) for name, stream in streams.items()}
    return ClipRecords(records, doubts, len(times_s) - len(kept), outside)


def _times(task: ClipTask, last_s: int) -> Sequence[int]:
    return range(0, last_s + 1, task.every_s) if task.target_time_s is None else task.target_time_s


def _decode_down(task: ClipTask) -> tuple[_Stream, _Stream | None]:
    """Returns the `down` stream, and the uncorrected `full` stream if it comes from the same pictures, else None."""
    one_copy = task.down_path is None or task.full_path is None
    encoder = _Encoder(shrink=task.down_path is None, whole=one_copy and task.sampling == 'timestamp')

    def chosen(last_s: int) -> set[int]:
        judged = exposure.fixed_seconds(last_s) if task.target_time_s is None else ()
        return {*stored_seconds(_times(task, last_s), last_s), *judged}

    if is_photo(task.video_id):
        info, pairs, stale = _decode_burst(task, task.down_path is not None, False, encoder)
    else:
        info, pairs = decode_seconds(task.down_path or task.full_path, chosen, convert=encoder)
        stale = None
    down = _Stream(info, {second: down for second, (down, _) in pairs.items()}, stale)
    full = _Stream(info, {second: full for second, (_, full) in pairs.items()}, stale)
    return down, full if encoder.whole else None


def _decode_full(task: ClipTask, gamma: bool) -> _Stream:
    encoder = _Encoder(shrink=False, whole=False)
    if is_photo(task.video_id):
        info, pairs, stale = _decode_burst(task, task.full_path is None, gamma, encoder)
    else:
        info, pairs = decode_seconds(
            task.full_path or task.down_path,
            lambda last_s: stored_seconds(_times(task, last_s), last_s),
            gamma,
            encoder,
            task.sampling,
        )
        stale = None
    return _Stream(info, {second: frame for second, (frame, _) in pairs.items()}, stale)


def _decode_burst(
    task: ClipTask, down: bool, gamma: bool, encoder: '_Encoder'
) -> tuple[ClipInfo, dict[int, tuple[_Frame, _Frame | None]], frozenset[int]]:
    """Returns the ClipInfo of a photo, the encoded photos of its window by second, and the seconds without a photo.

    Such a second has the next photo on the way to second 0. down: of the downsampled copies, else of the full ones.
    Raises ClipError if the photo itself cannot be decoded.
    """
    info, pairs = decode_seconds(task.down_path if down else task.full_path, [0], gamma, encoder)
    stale = set()
    for second, _, down_path, full_path in sorted(task.mates, key=lambda mate: abs(mate.second)):
        try:
            with local_copy(down_path if down else full_path) as path:
                pairs[second] = decode_seconds(path, [0], gamma, encoder)[1][0]
        except ClipError:
            stale.add(second)
            inner = [other for other in pairs if 0 <= other < second or second < other <= 0]
            pairs[second] = pairs[max(inner, key=abs)]
    return info, pairs, frozenset(stale)


def _white_fraction(task: ClipTask, down: _Stream, unusable: frozenset[int]) -> float:
    """Returns the white fraction of the whitest judged frame: at the targets, or at fixed seconds without targets."""
    last_s = down.info.last_s
    judged = exposure.fixed_seconds(last_s) if task.target_time_s is None else task.target_time_s
    return max((down.frames[min(s, last_s)].white_fraction for s in judged if s not in unusable), default=0.0)


def _target_fields(task: ClipTask, times_s: Sequence[int], kept: list[int], full: ClipInfo) -> dict[str, np.ndarray]:
    distance_m = np.full(len(times_s), np.nan) if task.target_distance_m is None else task.target_distance_m
    box = np.full((len(times_s), 4), np.nan) if task.target_box is None else task.target_box
    animal = [''] * len(times_s) if task.target_animal is None else task.target_animal
    return {
        'target_time_s': np.array(times_s, np.int32)[kept],
        'target_distance_m': np.array(distance_m, np.float32)[kept],
        'target_box': _shares(task, box, full)[kept],
        'target_animal': [animal[i] for i in kept],
    }


def _box_fields(task: ClipTask, full: ClipInfo) -> tuple[dict[str, np.ndarray | list[str]], str]:
    """Returns the fields of Record about all known boxes, and a text about boxes outside the picture.

    The boxes do not depend on the targets that are left out.
    """
    boxes = sorted(task.boxes or (), key=lambda box: (box[0], box[6], -box[1], box[2:6]))
    shares = _shares(task, [box[2:6] for box in boxes], full)
    inside = [i for i, outside in enumerate(np.isnan(shares).any(axis=1)) if not outside]
    fields = {
        'box_time_s': np.array([boxes[i][0] for i in inside], np.float32),
        'box': shares[inside],
        'box_confidence': np.array([boxes[i][1] for i in inside], np.float32),
        'box_animal': [boxes[i][6] for i in inside],
    }
    if len(inside) == len(boxes):
        return fields, ''
    size = f'{full.width_px} x {full.height_px} px'
    what = f'{len(boxes) - len(inside)} boxes are outside the picture ({size})'
    return fields, f'{what} and are left out; run the detector on this very file'


def _shares(task: ClipTask, boxes, full: ClipInfo) -> np.ndarray:
    """Returns boxes [n, 4] in 0..1 of width and height as float32, NaN for a box in pixels outside the picture."""
    box = np.array(boxes, float).reshape(-1, 4)
    if task.box_in_pixels:
        shares = np.clip(box / ([full.width_px, full.height_px] * 2), 0, 1)
        shares[(shares[:, :2] >= shares[:, 2:]).any(axis=1)] = np.nan
        box = np.where(box[:, 2:].max(axis=1, keepdims=True) > 1, shares, box)
    return box.astype(np.float32)


def _record(task: ClipTask, stream: _Stream, shared: dict) -> Record:
    seconds = stream.seconds(shared['target_time_s'].tolist())
    frames = [stream.frames[second] for second in seconds]
    size_px = stream.frames[max(0, seconds[0])].size_px  # the photos of a burst may differ in size
    return Record(
        video_id=task.video_id,
        frame_jpeg=[frame.jpeg for frame in frames],
        frame_time_s=np.array(seconds, np.int32),
        site=task.site,
        park=task.park,
        duration_s=stream.info.duration_s,
        height_px=size_px[0],
        width_px=size_px[1],
        frame_rate=stream.info.frame_rate,
        **shared,
    )


class _Encoder:
    """Encodes rgb [H, W, 3] uint8, or takes the camera's own JPEG of it. Returns the `down` and the `full` frame.

    shrink: scale the `down` frame. whole: also return the `full` frame, else None in its place.
    """

    def __init__(self, shrink: bool, whole: bool):
        self.whole = whole
        self._shrink = shrink
        self._n_bytes = 0

    def __call__(self, rgb: np.ndarray, jpeg: bytes | None) -> tuple[_Frame, _Frame | None]:
        if not self._shrink or rgb.shape[1] <= MOST_DOWN_WIDTH_PX:
            frame = self._frame(rgb, jpeg)
            return frame, frame if self.whole else None
        picture = Image.fromarray(rgb)
        down = _shrunk(picture)
        return self._frame(np.asarray(down), None, down), self._frame(rgb, jpeg, picture) if self.whole else None

    def _frame(self, rgb: np.ndarray, jpeg: bytes | None, picture: Image.Image | None = None) -> _Frame:
        """Returns a stored frame. picture: the same as rgb, if it exists already."""
        if jpeg is None:
            file = io.BytesIO()
            # 4:2:0 like the clips: chroma at full size would store interpolated values.
            (picture or Image.fromarray(rgb)).save(file, 'JPEG', quality=JPEG_QUALITY, subsampling='4:2:0')
            jpeg = file.getvalue()
        self._n_bytes += len(jpeg)
        if self._n_bytes > _MOST_RECORD_BYTES:
            raise ClipError(f'its frames fill more than {_MOST_RECORD_BYTES >> 20} MB; cut the clip into shorter clips')
        return _Frame(jpeg, exposure.white_fraction(rgb), rgb.shape[:2])


def _shrunk(picture: Image.Image) -> Image.Image:
    """Returns the picture MOST_DOWN_WIDTH_PX wide. Each pixel is the mean of the pixels that it replaces."""
    factor, rest = divmod(picture.width, MOST_DOWN_WIDTH_PX)
    if not rest and not picture.height % factor:  # whole pixels: faster, and rounded once
        return picture.reduce(factor)
    height_px = max(1, round(picture.height * MOST_DOWN_WIDTH_PX / picture.width))
    return picture.resize((MOST_DOWN_WIDTH_PX, height_px), Image.Resampling.BOX)
