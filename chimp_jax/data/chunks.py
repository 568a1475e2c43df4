"""Records in chunks of bounded size: prediction needs the same memory for any number and length of clips."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_prep.records import Record
from data_prep.windows import STORED_HALF, STORED_STEPS, window_positions

# 512 frames of 512 x 512 px take 400 MB. They fill many calls of the encoder, so padding the last call costs little.
FRAMES_PER_CHUNK = 512
REACH_S = STORED_HALF * max(STORED_STEPS)  # of any window, to each side of its target


def in_chunks(pieces: Iterable[Record], most_frames: int = FRAMES_PER_CHUNK) -> Iterator[list[Record]]:
    """Yields lists of records with at most `most_frames` frames together. A longer record is a list of its own."""
    chunk: list[Record] = []
    n_frames = 0
    for piece in pieces:
        if chunk and n_frames + len(piece.frame_time_s) > most_frames:
            yield chunk
            chunk, n_frames = [], 0
        chunk.append(piece)
        n_frames += len(piece.frame_time_s)
    if chunk:
        yield chunk


def split_long(records: Iterable[Record], most_frames: int = FRAMES_PER_CHUNK) -> Iterator[Record]:
    """Yields the records, long ones in pieces: some of the targets, and all frames that any of their windows needs.

    Frames near a cut are in both pieces, so every window is the same as in the whole record.
    """
    for record in records:
        if len(record.frame_time_s) <= most_frames:
            yield record
        else:
            yield from _split(record, most_frames)


def _split(record: Record, most_frames: int) -> Iterator[Record]:
    order = np.argsort(record.target_time_s, kind='stable')
    times_s = np.clip(record.target_time_s[order], record.frame_time_s[0], record.frame_time_s[-1])
    first = np.searchsorted(record.frame_time_s, times_s - REACH_S)
    stop = np.searchsorted(record.frame_time_s, times_s + REACH_S, side='right')
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or stop[end] - first[begin] > most_frames:
            frames, targets = slice(first[begin], stop[end - 1]), order[begin:end]
            yield dataclasses.replace(
                record,
                frame_jpeg=record.frame_jpeg[frames],
                frame_time_s=record.frame_time_s[frames],
                target_time_s=record.target_time_s[targets],
                target_distance_m=record.target_distance_m[targets],
                target_box=record.target_box[targets],
                target_animal=[record.target_animal[i] for i in targets],
            )
            begin = end


class WindowPlan(NamedTuple):
    """The windows of the targets of some pieces, and the distinct frames that these windows need."""

    frame: np.ndarray  # [F] int: positions among the frames of the chunk, ascending
    window: np.ndarray  # [N, T] int: positions among these F, or with boxes among their F * (1 + A) tokens: the frame's
    # position times (1 + A), plus 0 for the whole frame or 1 + slot for an animal
    boxes: np.ndarray | None = None  # [F, A, 5] float32: x1, y1, x2, y2 (shares) and confidence (0: no box)


def plan_windows(pieces: Iterable[Record], chosen: Iterable[bool], n_frames: int, step_s: int) -> WindowPlan:
    """Plans windows of T = n_frames for the chosen pieces. Positions count over the frames of all pieces."""
    places = [np.zeros((0, n_frames), int)]
    start = 0
    for piece, is_chosen in zip(pieces, chosen, strict=True):
        if is_chosen:
            places.append(start + window_positions(piece.frame_time_s, piece.target_time_s, n_frames, step_s))
        start += len(piece.frame_time_s)
    frame, window = np.unique(np.concatenate(places), return_inverse=True)
    return WindowPlan(frame, window.reshape(-1, n_frames))


def record_digest(record: Record) -> bytes:
    """Returns the SHA-256 of everything the record's predictions depend on."""
    whole = hashlib.sha256()
    for part in (record.video_id.encode(), record.target_time_s, record.frame_time_s, *record.frame_jpeg):
        whole.update(len(part).to_bytes(8))
        whole.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return whole.digest()
