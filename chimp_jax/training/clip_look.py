"""What is encoded of a record: its distinct frames, the distinct boxes in them, and the row of each."""

import dataclasses
import hashlib
from typing import NamedTuple

import numpy as np

from chimp_jax.animals import slots
from chimp_jax.data.chunks import first_of_equal
from data_prep.records import Record

BOXES_PER_CALL = 4  # of a frame; a frame with more is encoded several times


class FramesToEncode(NamedTuple):
    """F distinct frames and M distinct boxes of a clip.

    record: the clip's record with the SHA-256 of each picture in place of the picture. frame [F]: the first position of
    each distinct frame in the record. row [n]: the distinct frame of each of the record's frames. box_frame [M]: the
    distinct frame of each box, ascending. box [M, 4]: x1, y1, x2, y2 in shares. digest: SHA-256 of frames and boxes.
    """

    record: Record
    frame: np.ndarray
    row: np.ndarray
    box_frame: np.ndarray
    box: np.ndarray
    digest: str


class Calls(NamedTuple):
    """The frames to encode [C], with up to BOXES_PER_CALL boxes each, [C, A, 5]; confidence 0: no box.

    of_frame [F], of_box [M]: the call that encodes each frame, and each box; slot [M]: the place of the box there.
    """

    frame: np.ndarray
    boxes: np.ndarray
    of_frame: np.ndarray
    of_box: np.ndarray
    slot: np.ndarray


def frames_to_encode(record: Record, with_boxes: bool) -> FramesToEncode:
    """Returns what is to be encoded. with_boxes: for a model with a region branch."""
    digests = [hashlib.sha256(jpeg).digest() for jpeg in record.frame_jpeg]
    first = first_of_equal(digests)
    frame, row = np.unique(first, return_inverse=True)
    boxes = np.zeros((0, 1 + 4), np.float64)
    if with_boxes:
        tracks = slots.tracks_at(slots.ClipBoxes.of_record(vars(record)), record.frame_time_s)
        track, place = np.nonzero(tracks.box[..., 4] > 0)
        boxes = np.unique(np.column_stack([row[place], tracks.box[track, place, :4]]), axis=0)  # float64 keeps float32
    box_frame, box = boxes[:, 0].astype(int), boxes[:, 1:].astype(np.float32)
    whole = hashlib.sha256(b''.join(digests[place] for place in frame))
    whole.update(box_frame.astype('<i4').tobytes() + box.astype('<f4').tobytes())
    record = dataclasses.replace(record, frame_jpeg=digests)
    return FramesToEncode(record, frame, row.reshape(-1), box_frame, box, whole.hexdigest())


def plan_calls(look: FramesToEncode) -> Calls:
    """Returns the calls that encode all frames and boxes of a clip."""
    n_frames = len(look.frame)
    count = np.bincount(look.box_frame, minlength=n_frames)
    n_calls = np.maximum(-(-count // BOXES_PER_CALL), 1)
    of_frame = np.cumsum(n_calls) - n_calls
    number = np.arange(len(look.box)) - (np.cumsum(count) - count)[look.box_frame]  # within its frame
    of_box, slot = of_frame[look.box_frame] + number // BOXES_PER_CALL, number % BOXES_PER_CALL
    boxes = np.zeros((n_calls.sum(), BOXES_PER_CALL, 5), np.float32)
    boxes[of_box, slot, :4], boxes[of_box, slot, 4] = look.box, 1
    return Calls(np.repeat(np.arange(n_frames), n_calls), boxes, of_frame, of_box, slot)
