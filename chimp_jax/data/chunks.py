"""Records in chunks of bounded size, so that prediction's memory is the same for any number and length of clips."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from data_prep.records import Record
from data_prep.windows import STORED_HALF, STORED_STEPS, window_positions

# 512 frames of 512 x 512 are 400 MB; enough calls of the encoder that padding the last one costs little.
FRAMES_PER_CHUNK = 512
REACH_S = STORED_HALF * max(STORED_STEPS)  # of any window, to each side of its target


class Timed(Protocol):
    """What a window is planned from: a Record, or a Clip of the input pipeline."""

    video_id: str
    frame_time_s: np.ndarray
    target_time_s: np.ndarray
    target_distance_m: np.ndarray


Piece = TypeVar('Piece', bound=Timed)


def in_chunks(pieces: Iterable[Piece], most_frames: int = FRAMES_PER_CHUNK) -> Iterator[list[Piece]]:
    """Pieces in lists of at most `most_frames` frames together; a longer one stands alone."""
    chunk: list[Piece] = []
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
    """Records of long clips as several, each with some of the targets and all frames that any window of them needs.

    Frames near the cuts stand on both sides, so every window is the same as in the whole record.
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
            )
            begin = end


class WindowPlan(NamedTuple):
    """The windows of some pieces' targets, and the distinct frames that they need."""

    frame: np.ndarray  # [F] int: positions among the frames of the chunk, ascending
    window: np.ndarray  # [N, T] int: positions among these F


def plan_windows(pieces: Iterable[Timed], chosen: Iterable[bool], n_frames: int, step_s: int) -> WindowPlan:
    """Windows of T = n_frames for the targets of the chosen pieces; frames count over all pieces of the chunk."""
    places = [np.zeros((0, n_frames), int)]
    start = 0
    for piece, wanted in zip(pieces, chosen, strict=True):
        if wanted:
            places.append(start + window_positions(piece.frame_time_s, piece.target_time_s, n_frames, step_s))
        start += len(piece.frame_time_s)
    frame, window = np.unique(np.concatenate(places), return_inverse=True)
    return WindowPlan(frame, window.reshape(-1, n_frames))


def record_digest(record: Record) -> bytes:
    """Of all that a prediction of its targets depends on."""
    whole = hashlib.sha256()
    for part in (record.video_id.encode(), record.target_time_s, record.frame_time_s, *record.frame_jpeg):
        whole.update(len(part).to_bytes(8))
        whole.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return whole.digest()
