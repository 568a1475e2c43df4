"""Joins the boxes of a clip to tracks, one per animal, and returns the box of a track at any second."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, groupby

import numpy as np
import scipy

WEAK = 0.25  # a box with less confidence joins a track and starts none
LONGEST_GAP_S = 2.0  # without a box, after which an animal is a new track
NEAREST_S = 0.5  # before or after its boxes, a track has its nearest box for so long
SAME_BOX_IOU = 0.7  # two boxes of one time that overlap more are one detection
NO_NEW_TRACK_IOU = 0.45  # a box that overlaps a tracked box more starts no track: an ordinary limit of NMS
_MEMORY_S, _MEMORY_BOXES = 1.0, 40  # older boxes say nothing about the velocity
_STEADY_S2 = 0.02  # shrinks a velocity from few boxes: (box noise over the usual speed) squared
_SLOWEST_SAMPLES_S = 3.5  # photos further apart show no motion
# Boxes 2 s apart often do not overlap. They are one animal if the middle is within a reach, in units of the box's size,
# and if the smaller size is at least a share of the larger one. Chosen with `python -m bench.track_scores --seed 0`.
_REACH, _REACH_PER_S, _LONGEST_REACH = 0.8, 1.0, 2.5
_LEAST_SIMILAR = 0.5
_STOPPED = 0.8  # weight of a box near the last one, beside one near the predicted one
_WEAK_WEIGHT = 0.5  # a weak box gives way to a strong one
_LEAST_SCORE, _REPEATED_SCORE = 0.05, 1.0


@dataclass
class _Track:
    """The boxes of one animal until now. name: '' if no box of the track has a given name."""

    name: str
    times_s: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    shapes: list[np.ndarray] = field(default_factory=list)  # x, y of the middle, log width, log height

    def predict(self, time_s: float) -> np.ndarray:
        """Returns the shape at time_s: the middle moves with constant velocity, the size stays."""
        times_s, shapes = np.array(self.times_s[-_MEMORY_BOXES:]), np.array(self.shapes[-_MEMORY_BOXES:])
        recent = times_s >= times_s[-1] - _MEMORY_S
        recent[-2:] = True
        times_s, middles = times_s[recent], shapes[recent, :2]
        centred = times_s - times_s.mean()
        velocity = centred @ (middles - middles.mean(0)) / (centred @ centred + _STEADY_S2)
        shape = shapes[-1].copy()
        shape[:2] += velocity * (time_s - times_s[-1])
        return shape


def follow(
    time_s: np.ndarray,
    boxes: np.ndarray,
    confidence: np.ndarray,
    animal: Sequence[str] | None = None,
    weak: float = WEAK,
) -> list[str]:
    """Returns the name of the track of each box [n] of one clip, '' for a box that belongs to no track.

    time_s: seconds [n]. boxes: x1, y1, x2, y2 [n, 4] in shares of the picture. confidence: [n], 0..1. animal: given
    names [n], '' if unknown. weak: a box with less confidence is weak.

    Boxes are joined forwards in time, by an assignment on their overlap with the predicted boxes of the tracks. A track
    bridges gaps up to 2 s. If all boxes of the clip are further apart, it bridges one interval, up to 3.5 s. Weak boxes
    belong to a track if it has a strong box before or after them, and give way to
    strong boxes. A box that nearly repeats another box of its time starts no track. A single strong box is a track,
    because a clip may have only one.

    A given name stays, and boxes without a name join the track of that name. If two boxes of one time have one given
    name, the more confident box keeps the name and the other has ''. Found tracks are '1', '2', ... in order of first
    appearance, then from left to right. A given name is not used again. The names are independent of the order of the
    input. A box without area, with a value that is not finite, or with confidence 0 has ''.

    Raises ValueError if the lengths differ. Source: weak boxes as in ByteTrack (Zhang et al. 2022, arXiv:2110.06864).
    """
    time_s, boxes = np.asarray(time_s, float), np.asarray(boxes, float).reshape(-1, 4)
    confidence = np.asarray(confidence, float)
    given = [''] * len(time_s) if animal is None else [str(name) for name in animal]
    if not len(time_s) == len(boxes) == len(confidence) == len(given):
        raise ValueError('Times, boxes, confidences and animals differ in number.')
    good = np.isfinite(boxes).all(1) & np.isfinite(time_s) & (confidence > 0)
    good &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    stamps = np.round(np.where(good, time_s, 0), 3)
    order = sorted(
        np.nonzero(good)[0].tolist(), key=lambda k: (stamps[k], -confidence[k], given[k] == '', given[k], *boxes[k])
    )
    gap_s = _longest_gap_s(np.unique(stamps[order]))
    tracks: list[_Track] = []
    for stamp, rows in groupby(order, key=lambda k: float(stamps[k])):
        rows = list(rows)
        second = _Second(stamp, boxes, tracks, gap_s)
        _join_given(second, tracks, [row for row in rows if given[row]], given)
        others = [row for row in rows if not given[row]]
        second.join(others, np.where(confidence[others] < weak, _WEAK_WEIGHT, 1))
        for row in others:
            if row not in second.used and not second.repeats(row, NO_NEW_TRACK_IOU):
                tracks.append(second.add(_Track(''), row))
    names = [''] * len(time_s)
    found = [track for track in tracks if track.name or confidence[track.rows].max() >= weak]
    for name, track in _named(found, boxes, set(given)):
        for row in track.rows:
            names[row] = name
    return names


class _Second:
    """The boxes of one second on their way into the tracks."""

    def __init__(self, stamp: float, boxes: np.ndarray, tracks: list[_Track], gap_s: float):
        self.stamp, self.boxes = stamp, boxes
        # Tracks that may take a box of this second, and have none.
        self.free = [track for track in tracks if 0 < stamp - track.times_s[-1] <= gap_s]
        self.used: list[int] = []  # rows that are in a track

    def add(self, track: _Track, row: int) -> _Track:
        track.times_s.append(self.stamp)
        track.rows.append(row)
        track.shapes.append(_shape(self.boxes[row]))
        self.used.append(row)
        self.free = [other for other in self.free if other is not track]
        return track

    def repeats(self, row: int, limit: float) -> bool:
        """Returns whether the box overlaps one that is in a track by more than the limit."""
        return bool(self.used) and iou(self.boxes[[row]], self.boxes[self.used]).max() > limit

    def pairs(self, tracks: list[_Track], rows: list[int], least: float, weight=1) -> list[tuple[_Track, int]]:
        """Returns the pairs of the best assignment with scores above the least."""
        if not tracks or not rows:
            return []
        scores = np.stack([_scores(track, self.stamp, self.boxes[rows]) for track in tracks])
        scores = np.where(scores > least, scores * weight, 0)
        chosen = zip(*scipy.optimize.linear_sum_assignment(-scores), strict=True)
        return [(tracks[i], rows[k]) for i, k in chosen if scores[i, k]]

    def join(self, rows: list[int], weight: np.ndarray) -> None:
        """Joins boxes without a name to the free tracks.

        A box that repeats a more confident one of this second is a leftover, or an animal that crosses another. It
        comes second, and joins only a track whose prediction it overlaps well.
        """
        distinct: list[int] = []
        for row in rows:
            beside = self.used + distinct
            if not beside or iou(self.boxes[[row]], self.boxes[beside]).max() <= SAME_BOX_IOU:
                distinct.append(row)
        repeated = [row for row in rows if row not in distinct]
        for some, least in ((distinct, _LEAST_SCORE), (repeated, _REPEATED_SCORE)):
            here = weight[[rows.index(row) for row in some]]
            for track, row in self.pairs(self.free, some, least, here):
                self.add(track, row)


def _join_given(second: _Second, tracks: list[_Track], rows: list[int], given: list[str]) -> None:
    """Joins boxes with a given name to the track of this name, to one without a name, or to a new one."""
    best: dict[str, int] = {}
    for row in rows:  # the most confident first
        best.setdefault(given[row], row)
    for track in list(second.free):
        if track.name in best:
            second.add(track, best.pop(track.name))
    last_s = {track.name: track.times_s[-1] for track in tracks}
    unnamed = [track for track in second.free if not track.name]
    for track, row in second.pairs(unnamed, list(best.values()), _LEAST_SCORE):
        if track.times_s[0] > last_s.get(given[row], -np.inf):  # else the name would be at two places at once
            track.name = given[row]
            second.add(track, best.pop(given[row]))
    for name, row in best.items():
        tracks.append(second.add(_Track(name), row))


def _longest_gap_s(stamps: np.ndarray) -> float:
    """Returns the longest gap that a track bridges in a clip with boxes at these seconds."""
    between_s = np.diff(stamps).min() if len(stamps) > 1 else 0.0
    slow = LONGEST_GAP_S < between_s <= _SLOWEST_SAMPLES_S
    return (between_s * 1.1 if slow else LONGEST_GAP_S) + 1e-3


def _shape(box: np.ndarray) -> np.ndarray:
    sides = np.maximum(box[2:] - box[:2], 1e-6)
    return np.concatenate([(box[:2] + box[2:]) / 2, np.log(sides)])


def _scores(track: _Track, stamp: float, boxes: np.ndarray) -> np.ndarray:
    """Returns how well each box [n] continues the track: the overlap, and how near and how similar in size it is.

    The better of two cases counts: the animal goes on with its velocity, or it has stopped.
    """
    gap_s = stamp - track.times_s[-1]
    moved, stopped = (_closeness(shape, gap_s, boxes) for shape in (track.predict(stamp), track.shapes[-1]))
    return np.maximum(moved, _STOPPED * stopped)


def _closeness(shape: np.ndarray, gap_s: float, boxes: np.ndarray) -> np.ndarray:
    half = np.exp(shape[2:]) / 2
    overlap = iou(np.concatenate([shape[:2] - half, shape[:2] + half])[None], boxes)[0]
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    log_size = np.log(sides).mean(1)
    size = np.exp((shape[2:].mean() + log_size) / 2)
    similar = np.exp(-np.abs(log_size - shape[2:].mean()))
    away = np.hypot(*(middles - shape[:2]).T) / size
    reach = min(_REACH + _REACH_PER_S * gap_s, _LONGEST_REACH)
    near = np.maximum(0, 1 - away / reach) * similar * (similar > _LEAST_SIMILAR)
    return overlap + near


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of each of the first boxes [a, 4] with each of the second [b, 4]: [a, b]."""
    first, second = first[:, None], second[None]
    shared = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    shared = np.maximum(shared, 0).prod(-1)
    areas = [np.maximum(box[..., 2:] - box[..., :2], 0).prod(-1) for box in (first, second)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-12)


def _named(tracks: list[_Track], boxes: np.ndarray, given: set[str]) -> list[tuple[str, _Track]]:
    """Returns the tracks with their names."""
    free = (name for number in count(1) if (name := str(number)) not in given)
    in_order = sorted(tracks, key=lambda track: (track.times_s[0], *boxes[track.rows[0]]))
    return [(track.name or next(free), track) for track in in_order]


def boxes_at(time_s: np.ndarray, boxes: np.ndarray, confidence: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    """Returns x1, y1, x2, y2 and confidence of one track at the seconds at_s [k]: [k, 5].

    time_s [n], boxes [n, 4], confidence [n]: of the track, in any order. A row is interpolated between two boxes up to
    2 s apart. Elsewhere the nearest box within 0.5 s is taken, the earlier of two. Else the row is 0.
    """
    time_s, at_s = np.asarray(time_s, float), np.asarray(at_s, float)
    rows = np.column_stack([np.asarray(boxes, float).reshape(-1, 4), np.asarray(confidence, float)])
    order = np.lexsort((-rows[:, 4], time_s))
    order = order[np.diff(time_s[order], prepend=-np.inf) > 0]  # the most confident of each time
    time_s, rows = time_s[order], rows[order]
    if not len(rows):
        return np.zeros((len(at_s), 5))
    later = np.searchsorted(time_s, at_s).clip(0, len(rows) - 1)
    earlier = (later - 1).clip(0)
    gap_s, after_s = time_s[later] - time_s[earlier], at_s - time_s[earlier]
    share = np.where(gap_s > 0, after_s / np.where(gap_s > 0, gap_s, 1), 0)
    between = (share >= 0) & (share <= 1) & (gap_s <= LONGEST_GAP_S + 1e-3) & (gap_s > 0)
    away_s = np.abs(at_s[:, None] - time_s[None])
    found = np.where((away_s.min(1) <= NEAREST_S + 1e-6)[:, None], rows[away_s.argmin(1)], 0)
    return np.where(between[:, None], rows[earlier] + share[:, None] * (rows[later] - rows[earlier]), found)
