"""Records in chunks of bounded size: prediction needs the same memory for any number and length of clips."""

import dataclasses
import hashlib
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from chimp_jax.animals import slots
from data_prep.records import Record
from data_prep.windows import STORED_HALF, STORED_STEPS, window_positions
from data_prep.workers import memory

# 512 frames of 512 x 512 px take 400 MB. They fill many calls of the encoder, so padding the last call costs little.
FRAMES_PER_CHUNK = 512
FEWEST_FRAMES = 32  # of a chunk, however small the memory is
_SHARE = 0.25  # of the memory, for the frames of a chunk: there may be two chunks, and an augmented copy
REACH_S = STORED_HALF * max(STORED_STEPS)  # of any window, to each side of its target


def frames_that_fit(size_px: int) -> int:
    """Returns the frames of a chunk: FRAMES_PER_CHUNK, or in a small memory a smaller power of two.

    Saved predictions are those of whole chunks. Only a few numbers are possible, so that the same command finds what it
    saved although other programs leave it another memory now.
    """
    fitting = memory.bytes_for(_SHARE) // (3 * size_px**2)
    return min(FRAMES_PER_CHUNK, max(FEWEST_FRAMES, 1 << max(0, fitting.bit_length() - 1)))


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
                sound=None if record.sound is None else record.sound[frames],
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
    # [N] bool, with boxes: the distance may be of another animal. The target has a name or shares its second with other
    # targets, but its animal has no box there; or A animals with more confidence share a frame with its animal.
    without_slot: np.ndarray | None = None
    sound: np.ndarray | None = None  # [F, R, bands] uint8: the log-mel rows around each frame, for a model with audio


def plan_windows(
    pieces: Iterable[Record],
    chosen: Iterable[bool],
    n_frames: int,
    step_s: int,
    most_animals: int = 0,
    with_sound: bool = False,
) -> WindowPlan:
    """Plans windows of T = n_frames for the chosen pieces. Positions count over the frames of all pieces.

    Frames with equal JPEGs, equal boxes and equal sound count once, because the photos of a burst share their frames.
    most_animals: A, the boxes of a frame for a model with a region branch; 0 for a model without. A window about an
    animal has the animal's token in the frames in which it has a slot, and the frame's token in the others.
    with_sound: the plan has sound, which is not possible beside boxes. Raises ValueError if a record lacks the field.
    """
    places, contents, tokens, boxes, without = [np.zeros((0, n_frames), int)], [], [], [], []
    sounds = []
    start = 0
    for piece, is_chosen in zip(pieces, chosen, strict=True):
        here = np.zeros((len(piece.frame_time_s), most_animals, 5), np.float32)
        if is_chosen:
            window = window_positions(piece.frame_time_s, piece.target_time_s, n_frames, step_s)
            places.append(start + window)
            if most_animals:
                here, token, lacks = _plan_animals(piece, window, most_animals)
                tokens.append(token)
                without.append(lacks)
        boxes.append(here)
        sound = _sound_of(piece) if with_sound else here
        sounds.append(sound)
        contents += zip(
            piece.frame_jpeg, (box.tobytes() for box in here), (rows.tobytes() for rows in sound), strict=True
        )
        start += len(piece.frame_time_s)
    frame, window = np.unique(first_of_equal(contents)[np.concatenate(places)], return_inverse=True)
    window = window.reshape(-1, n_frames)
    if not most_animals:
        return WindowPlan(frame, window, sound=np.concatenate(sounds)[frame] if with_sound else None)
    token = np.concatenate([np.zeros((0, n_frames), int), *tokens])
    boxes = np.concatenate([np.zeros((0, most_animals, 5), np.float32), *boxes])[frame]
    return WindowPlan(frame, window * (1 + most_animals) + token, boxes, np.concatenate([np.zeros(0, bool), *without]))


def _sound_of(piece: Record) -> np.ndarray:
    """Returns the rows around each frame, [n, R, bands] uint8: zeros without sound."""
    if piece.sound is None:
        raise ValueError(
            f'{piece.video_id}: its record has no field for sound, which this model hears; prepare the records with '
            'python -m data_prep.build --audio'
        )
    if len(piece.sound):
        return piece.sound
    return np.zeros((len(piece.frame_time_s), *piece.sound.shape[1:]), np.uint8)


def first_of_equal(contents: Iterable[Hashable]) -> np.ndarray:
    """Returns for each content the position of the first one that equals it, int [n]."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(content, place) for place, content in enumerate(contents)], int)


def _plan_animals(piece: Record, window: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the boxes of all frames [n, most, 5], the tokens of the windows [m, T] within their frames (0: the whole
    frame, else 1 + slot), and whether each target [m] is without a slot (see WindowPlan)."""
    tracks = slots.tracks_at(slots.ClipBoxes.of_record(vars(piece)), piece.frame_time_s)
    slot, boxes = slots.ranked_slots(tracks.box, most)
    second = window[:, window.shape[1] // 2]
    about = slots.targets_about(tracks, second, piece.target_time_s, piece.target_animal, piece.target_box)
    mine = about.track[:, None]
    has_box = tracks.padded()[mine, window, 4] > 0
    padded = np.concatenate([slot, np.full((1, slot.shape[1]), -1)])
    token = 1 + padded[mine, window]
    _, number, count = np.unique(piece.target_time_s, return_inverse=True, return_counts=True)
    is_one_of_several = (count[number] > 1) | np.array([name != '' for name in piece.target_animal], bool)
    unseen = is_one_of_several & ~has_box[:, window.shape[1] // 2]
    return boxes, token, unseen | (has_box & (token == 0)).any(axis=1)


def record_digest(record: Record) -> bytes:
    """Returns the SHA-256 of everything the record's predictions depend on."""
    whole = hashlib.sha256()
    texts = (record.video_id, '\n'.join(record.target_animal), '\n'.join(record.box_animal))
    arrays = (record.target_time_s, record.frame_time_s, record.target_box)
    arrays += (record.box_time_s, record.box, record.box_confidence)
    arrays += () if record.sound is None else (record.sound,)
    for part in (*(text.encode() for text in texts), *arrays, *record.frame_jpeg):
        whole.update(len(part).to_bytes(8))
        whole.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return whole.digest()
