"""The one function that turns a clip into records. Local worker processes and Apache Beam's workers call it."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_prep.archive import is_photo, local_copy
from data_prep.decoding import exposure
from data_prep.decoding.container import ClipError
from data_prep.decoding.damage import Doubt, find_doubt
from data_prep.decoding.decode import ClipInfo, decode_seconds
from data_prep.enhance.clip import make_enhancer
from data_prep.enhance.spec import Enhancement
from data_prep.records import Record
from data_prep.sound.track import Sound, sound_of_copies
from data_prep.windows import stored_seconds
from data_prep.workers.stored_frame import StoredFrame, StreamEncoder

GAMMAS = ('auto', 'always', 'never')


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
    enhance: Enhancement | None = None  # of the `full` stream, if the clip is small enough
    mates: Sequence[Mate] = ()  # of a photo
    audio: bool = False  # the records have the sound of the clip

    def paths(self) -> list[str]:
        """Returns the files that the records depend on."""
        own = [path for path in (self.down_path, self.full_path) if path]
        return own + [path for mate in self.mates for path in mate.paths()]


class ClipRecords(NamedTuple):
    records: dict[str, Record]  # by stream; empty if no target is left
    doubts: dict[str, Doubt]  # by stream
    n_left_out: int  # targets at seconds that cannot be used
    outside: str  # boxes outside the picture, which are left out while their targets stay; '' without any
    enhanced: str | None = None  # how the `full` frames were enhanced, '' if not at all; None: nobody asked
    sound: str | None = None  # the state of the sound track (sound/track.py); None: not asked for


class _Stream(NamedTuple):
    info: ClipInfo
    frames: dict[int, StoredFrame]  # by second
    stale: frozenset[int] | None = None  # of a photo: the seconds whose photo cannot be read; None: a video
    decoded: dict[int, bytes] | None = None  # of an enhanced clip: a hash of each frame as it was decoded

    def doubt(self, times_s: Sequence[int]) -> Doubt:
        if self.stale is not None:
            return find_doubt(self.info, {}, times_s)._replace(stale=self.stale)
        # Two frames of an empty place may become equal by being enhanced.
        contents = self.decoded or {second: frame.jpeg for second, frame in self.frames.items()}
        return find_doubt(self.info, contents, times_s)

    def seconds(self, target_times_s: Sequence[int]) -> list[int]:
        """Returns the seconds that the windows of the targets require."""
        return sorted(self.frames) if self.stale is not None else stored_seconds(target_times_s, self.info.last_s)


def make_records(task: ClipTask) -> ClipRecords:
    """Returns the record of a clip in each stream.

    If only one copy exists, it serves both streams, and `down` is scaled to a width of at most 640 px. Overexposure is
    judged on the `down` frames of the target seconds, or of fixed seconds if no targets are given. If one frame is
    white, the whole `full` stream is gamma corrected, `down` never (Ivanov 2021, section 4). If the full copy is small
    enough for task.enhance, the `full` stream is enhanced. Targets are left out if either copy is damaged at their
    second, or if they are more than 1 s past its end.
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
        enhancement = _enhancement(task, down.info)
        if full is None or gamma or enhancement:
            full = _decode_full(task, gamma, enhancement)
        sound = sound_of_copies((task.full_path, task.down_path), {*down.frames, *full.frames}) if task.audio else None
    doubts['full'] = full.doubt(times_s)
    unusable = doubts['down'].unusable() | doubts['full'].unusable()
    kept = [i for i, time_s in enumerate(times_s) if time_s not in unusable]
    boxes, outside = _box_fields(task, full.info)
    shared = _target_fields(task, times_s, kept, full.info) | boxes
    shared |= {'white_fraction': white_fraction, 'gamma': gamma}
    streams = {'down': down, 'full': full} if kept else {}
    records = {name: _record(task, stream, shared, sound) for name, stream in streams.items()}
    enhanced = None if task.enhance is None else str(enhancement or '')
    return ClipRecords(records, doubts, len(times_s) - len(kept), outside, enhanced, sound and sound.state)


def _times(task: ClipTask, last_s: int) -> Sequence[int]:
    return range(0, last_s + 1, task.every_s) if task.target_time_s is None else task.target_time_s


def _decode_down(task: ClipTask) -> tuple[_Stream, _Stream | None]:
    """Returns the `down` stream, and the uncorrected `full` stream if it comes from the same pictures, else None."""
    one_copy = task.down_path is None or task.full_path is None
    encoder = StreamEncoder(shrink=task.down_path is None, whole=one_copy and task.sampling == 'timestamp')

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


def _enhancement(task: ClipTask, down: ClipInfo) -> Enhancement | None:
    """Returns how the `full` stream is enhanced, None if it is not. down: of the copy that the `down` frames are from.

    A photo is never enhanced.
    """
    if task.enhance is None or is_photo(task.video_id):
        return None
    one_copy = task.down_path is None or task.full_path is None
    full = down if one_copy else decode_seconds(task.full_path, [0])[0]
    return task.enhance if task.enhance.applies_to(full.width_px) else None


def _decode_full(task: ClipTask, gamma: bool, enhancement: Enhancement | None = None) -> _Stream:
    encoder = StreamEncoder(shrink=False, whole=False)
    if is_photo(task.video_id):
        info, pairs, stale = _decode_burst(task, task.full_path is None, gamma, encoder)
        return _Stream(info, {second: frame for second, (frame, _) in pairs.items()}, stale)
    path = task.full_path or task.down_path

    def wanted(last_s: int) -> list[int]:
        return stored_seconds(_times(task, last_s), last_s)

    if enhancement is None:
        info, pairs = decode_seconds(path, wanted, gamma, encoder, task.sampling)
        return _Stream(info, {second: frame for second, (frame, _) in pairs.items()})
    enhancer = make_enhancer(path, wanted, enhancement, gamma, task.sampling)

    def convert(rgb: np.ndarray, _: bytes | None) -> tuple[StoredFrame, bytes]:
        return encoder(enhancer.improve(rgb), None)[0], hashlib.sha256(rgb).digest()

    info, both = decode_seconds(path, wanted, gamma, convert, task.sampling, enhancer.filters)
    frames = {second: frame for second, (frame, _) in both.items()}
    return _Stream(info, frames, decoded={second: digest for second, (_, digest) in both.items()})


def _decode_burst(
    task: ClipTask, down: bool, gamma: bool, encoder: 'StreamEncoder'
) -> tuple[ClipInfo, dict[int, tuple[StoredFrame, StoredFrame | None]], frozenset[int]]:
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


def _record(task: ClipTask, stream: _Stream, shared: dict, sound: Sound | None) -> Record:
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
        sound=sound and sound.at(seconds),
        **shared,
    )
