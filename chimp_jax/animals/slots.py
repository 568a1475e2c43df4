"""Places for the animals of a clip: their boxes at the seconds of the frames, and which animal a target is about."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from chimp_jax.animals.tracks import boxes_at, follow, iou


class ClipBoxes(NamedTuple):
    """All known boxes of a clip, as in a record."""

    time_s: np.ndarray  # [b]
    box: np.ndarray  # [b, 4] x1, y1, x2, y2 in shares of the picture
    confidence: np.ndarray  # [b] 0..1
    animal: Sequence[str]  # [b] given names, '' if unknown

    @classmethod
    def of_record(cls, fields: Mapping) -> 'ClipBoxes':
        """Returns the boxes in the fields of a record."""
        return cls(*(fields[name] for name in ('box_time_s', 'box', 'box_confidence', 'box_animal')))


class Tracks(NamedTuple):
    """The tracks of a clip, sorted by name, with their boxes at given seconds."""

    name: list[str]  # J
    is_given: np.ndarray  # [J] bool: the name comes from a table
    box: np.ndarray  # [J, n, 5] float32: x1, y1, x2, y2 and confidence (0: no box)

    def padded(self) -> np.ndarray:
        """Returns the boxes [J + 1, n, 5]: the last track, which is also number -1, has none."""
        return np.concatenate([self.box, np.zeros((1, *self.box.shape[1:]), np.float32)])


class Abouts(NamedTuple):
    """Which track each of m targets is about."""

    track: np.ndarray  # [m] int: position among the tracks, -1 if none
    is_certain: np.ndarray  # [m] bool: by the animal's name or box, not by the confidence of the boxes alone


def tracks_at(boxes: ClipBoxes, at_s: np.ndarray) -> Tracks:
    """Returns the tracks of a clip and their boxes at the seconds at_s [n]."""
    of_box = np.array(follow(boxes.time_s, boxes.box, boxes.confidence, boxes.animal), object)
    names = sorted(set(of_box.tolist()) - {''})
    at = np.zeros((len(names), len(at_s), 5), np.float32)
    for place, name in enumerate(names):
        mine = of_box == name
        at[place] = boxes_at(boxes.time_s[mine], boxes.box[mine], boxes.confidence[mine], at_s)
    given = set(boxes.animal)
    return Tracks(names, np.array([name in given for name in names], bool), at)


def no_tracks(at_s: np.ndarray) -> Tracks:
    """Returns the tracks of a clip without boxes at the seconds at_s [n]."""
    return Tracks([], np.zeros(0, bool), np.zeros((0, len(at_s), 5), np.float32))


def targets_about(
    tracks: Tracks, frame: np.ndarray, second: np.ndarray, animal: Sequence[str], box: np.ndarray
) -> Abouts:
    """Returns which track each target [m] is about.

    frame: [m] the position, among the seconds of the tracks, of the frame of the target's second. second: [m] targets
    with equal values are about different animals. animal: [m], '' if unknown. box: [m, 4], NaN if unknown.

    A target is about the track with its animal's name; else about the track that overlaps its box best; else, if it is
    the only target of its second, about the track with the most confident box there; else about none. A target with a
    name is never about a track with another name of a table.
    """
    track, is_certain = np.full(len(frame), -1), np.zeros(len(frame), bool)
    place = {name: j for j, name in enumerate(tracks.name)}
    for one in np.unique(second):
        rows = np.nonzero(second == one)[0]
        for row in rows:
            if animal[row] in place:
                track[row], is_certain[row] = place[animal[row]], True
        boxed = [row for row in rows if track[row] < 0 and np.isfinite(box[row]).all()]
        taken = set(track[rows].tolist())
        for row, j in _best_overlaps(tracks, boxed, frame, animal, box, taken):
            track[row], is_certain[row] = j, True
        if len(rows) == 1 and track[rows[0]] < 0:
            row = rows[0]
            free = np.where(_may_be(tracks, animal[row], set()), tracks.box[:, frame[row], 4], 0)
            if free.any():
                track[row] = free.argmax()
    return Abouts(track, is_certain)


def _may_be(tracks: Tracks, animal: str, taken: set[int]) -> np.ndarray:
    """Returns [J] whether a track can be an animal whose name no track has."""
    free = ~np.isin(np.arange(len(tracks.name)), list(taken))
    return free & ~tracks.is_given if animal else free


def _best_overlaps(
    tracks: Tracks, rows: Sequence[int], frame: np.ndarray, animal: Sequence[str], box: np.ndarray, taken: set[int]
) -> list[tuple[int, int]]:
    """Returns pairs (target, track), the best overlap first. Each target and each track is in one pair at most."""
    overlaps = []
    for row in rows:
        here = tracks.box[:, frame[row]]
        overlap = iou(box[row : row + 1], here[:, :4])[0] * (here[:, 4] > 0) * _may_be(tracks, animal[row], taken)
        overlaps += [(float(overlap[j]), -int(row), -int(j)) for j in np.nonzero(overlap)[0]]
    pairs: dict[int, int] = {}
    for _, row, j in sorted(overlaps, reverse=True):
        if -row not in pairs and -j not in pairs.values():
            pairs[-row] = -j
    return list(pairs.items())


def ranked_slots(box: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the slots of each frame: its most confident tracks, at most `most`; of equals the first ones.

    box: [J, n, 5]. Returns the slot of each track in each frame [J, n] (-1: none), and the boxes [n, most, 5].
    """
    n_tracks, n_frames, _ = box.shape
    boxes, slot = np.zeros((n_frames, most, 5), np.float32), np.full((n_tracks, n_frames), -1)
    order = np.argsort(-box[..., 4], axis=0, kind='stable')[:most]  # [slots, n]
    for number, track in enumerate(order):
        frames = np.nonzero(box[track, np.arange(n_frames), 4] > 0)[0]
        slot[track[frames], frames] = number
        boxes[frames, number] = box[track[frames], frames]
    return slot, boxes


def example_slots(box: np.ndarray, about: Sequence[int], most: int) -> np.ndarray:
    """Returns the track in each slot of an example [most], -1 if the slot is empty.

    box: [J, K, 5], the boxes at the seconds of the example's targets. about: the tracks of the targets; they come
    first, then the tracks with the most confidence in one of these seconds; of equals the first ones.
    """
    confidence = box[..., 4].max(axis=1, initial=0)
    wanted = np.isin(np.arange(len(confidence)), list(about))
    order = np.lexsort((-confidence, ~wanted))
    order = order[(wanted | (confidence > 0))[order]][:most]
    return np.concatenate([order, np.full(most - len(order), -1)]).astype(int)
