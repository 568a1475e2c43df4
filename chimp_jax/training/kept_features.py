"""The features of all training clips in memory: from the files beside the records, or encoded now."""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from chimp_jax.data.chunks import FRAMES_PER_CHUNK
from chimp_jax.data.frames import decode_records
from chimp_jax.data.operations import box_after
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.efficientnet import FEATURES
from chimp_jax.models.regions import BINS, Pooled
from chimp_jax.scoring import Scorer
from chimp_jax.training.clip_look import BOXES_PER_CALL, Calls, FramesToEncode, frames_to_encode, plan_calls
from chimp_jax.training.feature_files import read_features, write_features
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.workers.background import in_background

FLIP = 'flip_left_right'  # the operation whose pictures are encoded, too


class Encoder(NamedTuple):
    """The backbone that encodes clips."""

    scorer: Scorer
    weights: Any  # {'params', 'batch_stats'} of the backbone, on the scorer's devices
    size_px: int
    mirrored: bool  # whether the mirror image of each frame is encoded, too
    n_channels: int  # C of the middle map, 0 without a region branch

    @property
    def n_sides(self) -> int:
        return 1 + self.mirrored

    @property
    def box_numbers(self) -> int:
        """Returns the numbers that are kept of a box: the bins, then the mean."""
        return BINS * BINS * self.n_channels + FEATURES if self.n_channels else 0


class KeptFeatures:
    """The features of clips by row: N frames as they are, then their mirror images in the same order; boxes alike.

    features [sides * N, 1280]. boxes [1 + sides * M, numbers of a box]: row 0 is for no box. records: by video_id, with
    the SHA-256 of each picture in place of the picture.
    """

    def __init__(self, looks: Mapping[str, FramesToEncode], encoded: MutableMapping[str, np.ndarray], encoder: Encoder):
        """encoded: {video_id: the numbers in the clip's file}. It is emptied, to save memory."""
        self.records = {video_id: look.record for video_id, look in looks.items()}
        self.n_frames = sum(len(look.frame) for look in looks.values())
        self.n_boxes = sum(len(look.box) for look in looks.values())
        self._bins_shape = (BINS, BINS, encoder.n_channels)
        features = np.empty((encoder.n_sides, self.n_frames, FEATURES), np.float32)
        self.boxes = np.zeros((1 + encoder.n_sides * self.n_boxes, encoder.box_numbers), np.float32)
        boxes = self.boxes[1:].reshape(encoder.n_sides, self.n_boxes, encoder.box_numbers)
        self._frame_row: dict[tuple, int] = {}  # by video_id and SHA-256
        self._box_row: dict[tuple, int] = {}  # by the row of the frame and the box
        frame, box = 0, 0
        for video_id, look in looks.items():
            of_frames, of_boxes = split_numbers(look, encoded.pop(video_id), encoder)
            features[:, frame : frame + len(look.frame)] = of_frames
            boxes[:, box : box + len(look.box)] = of_boxes
            for row, digest in zip(look.row.tolist(), look.record.frame_jpeg, strict=True):
                self._frame_row[video_id, digest] = frame + row
            for row, corners in zip(look.box_frame.tolist(), look.box.tolist(), strict=True):
                box += 1
                self._box_row[frame + row, *corners] = box
            frame += len(look.frame)
        self.features = features.reshape(-1, FEATURES)

    def frame_rows(self, record: Record) -> np.ndarray:
        """Returns the row of each frame [n] of one of `records`, or of a part of it."""
        return np.array([self._frame_row[record.video_id, digest] for digest in record.frame_jpeg], int)

    def box_rows(self, frame_row: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Returns the rows [S, A] of boxes [S, A, 5] in frames [S], 0 where there is no box."""
        found = np.zeros(boxes.shape[:2], int)
        for s, a in zip(*np.nonzero(boxes[..., 4] > 0), strict=True):
            found[s, a] = self._box_row[int(frame_row[s]), *boxes[s, a, :4].tolist()]
        return found

    def pooled(self, box_row: np.ndarray) -> Pooled:
        """Returns what boxes pool, by their rows [...]: bins [..., 7, 7, C] and mean [..., 1280]."""
        n_bins = math.prod(self._bins_shape)
        numbers = self.boxes[box_row]
        return Pooled(numbers[..., :n_bins].reshape(*box_row.shape, *self._bins_shape), numbers[..., n_bins:])


def split_numbers(look: FramesToEncode, numbers: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Returns features [sides, F, 1280] and numbers of boxes [sides, M, ...] of a clip's file."""
    n = encoder.n_sides * len(look.frame) * FEATURES
    features = numbers[:n].reshape(encoder.n_sides, len(look.frame), FEATURES)
    return features, numbers[n:].reshape(encoder.n_sides, len(look.box), encoder.box_numbers)


def count_channels(model: DistanceModel, backbone: Any, size_px: int) -> int:
    """Returns the channels of the map that regions are pooled from, 0 for a model without a region branch."""
    if not model.regions:
        return 0
    frames = jax.ShapeDtypeStruct((1, 1, size_px, size_px, 3), np.uint8)
    boxes = jax.ShapeDtypeStruct((1, 1, BOXES_PER_CALL, 5), np.float32)
    _, pooled = jax.eval_shape(functools.partial(model.apply, method='look'), backbone, frames=frames, boxes=boxes)
    return pooled.bins.shape[-1]


def keep_features(records: Iterable[Record], n_clips: int, folder: epath.Path, encoder: Encoder) -> KeptFeatures:
    """Returns the features of the records. Encodes and saves the clips that have no whole file in the folder.

    n_clips: of the records, for the progress line.
    """
    looks, encoded = {}, {}
    with Progress('encode frames once', n_clips, work=float(n_clips), passing=True) as progress:

        def missing() -> Iterator[tuple[Record, FramesToEncode]]:
            for record in records:
                look = frames_to_encode(record, with_boxes=encoder.n_channels > 0)
                looks[record.video_id] = look
                n_numbers = encoder.n_sides * (len(look.frame) * FEATURES + len(look.box) * encoder.box_numbers)
                found = read_features(folder / f'{look.digest}.f32', n_numbers)
                if found is None:
                    yield record, look
                else:
                    encoded[record.video_id] = found
                    progress.skip(1, work=1.0)

        decode = functools.partial(_decode, size_px=encoder.size_px)
        for (record, look), frames in in_background(decode, missing(), overlap=True):
            numbers = _encode(look, frames, encoder)
            write_features(folder / f'{look.digest}.f32', numbers)
            encoded[record.video_id] = numbers
            progress.advance(1, work=1.0)
    return KeptFeatures(looks, encoded, encoder)


def _decode(missing: tuple[Record, FramesToEncode], size_px: int) -> np.ndarray:
    """Returns the distinct frames of a clip [F, size, size, 3] uint8."""
    record, look = missing
    return decode_records([record], size_px)[look.frame]


def _encode(look: FramesToEncode, frames: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Returns the numbers of a clip's file, float32 [n]: `split_numbers` divides them."""
    calls = plan_calls(look)
    sides = [(frames, calls.boxes)]
    if encoder.mirrored:
        sides.append((frames[:, :, ::-1], box_after(FLIP, calls.boxes)))
    parts = [_encode_side(pictures, boxes, calls, encoder) for pictures, boxes in sides]
    return np.concatenate([array.ravel() for arrays in zip(*parts, strict=True) for array in arrays])


def _encode_side(
    pictures: np.ndarray, boxes: np.ndarray, calls: Calls, encoder: Encoder
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features [F, 1280] and the numbers of the boxes [M, ...]."""
    features, of_boxes = [], []
    for i in range(0, len(calls.frame), FRAMES_PER_CHUNK):
        some = slice(i, i + FRAMES_PER_CHUNK)
        their_boxes = boxes[some] if encoder.n_channels else None
        found, pooled = encoder.scorer.look(encoder.weights, pictures, calls.frame[some], their_boxes)
        features.append(found)
        if pooled is not None:
            flat = pooled.bins.reshape(*pooled.mean.shape[:2], -1)
            of_boxes.append(np.concatenate([flat, pooled.mean], axis=-1))
    numbers = np.concatenate(of_boxes)[calls.of_box, calls.slot] if of_boxes else np.zeros((0, 0))
    return np.concatenate(features)[calls.of_frame].astype(np.float32), numbers.astype(np.float32)
