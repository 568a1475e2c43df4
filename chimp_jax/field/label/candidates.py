"""The seconds that a person may be asked for, and those that are answered, as arrays."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Candidates(NamedTuple):
    """The seconds, and with boxes the animals, that can be asked: arrays [n]."""

    clip: np.ndarray  # object, video_id
    station: np.ndarray  # object; after a move of the camera another name, '' if unknown
    second: np.ndarray  # int
    animal: np.ndarray  # object, name of the track, '' if unknown
    estimate_m: np.ndarray  # float, of members or of the ground, NaN if unknown
    spread_m: np.ndarray  # float, standard deviation between members, NaN if unknown
    x: np.ndarray  # float, foot point as a share of the picture from the left, NaN without box or with feet cut off
    y: np.ndarray  # float, from the top
    confidence: np.ndarray  # float, of the detector, NaN if unknown


class AnsweredTargets(NamedTuple):
    """The seconds that a person was asked for: arrays [m]."""

    clip: np.ndarray  # object
    second: np.ndarray  # int
    animal: np.ndarray  # object
    distance_m: np.ndarray  # float; NaN: no animal, cannot tell, skipped. Any number if an answer is expected soon


def as_answered(rows: Iterable[tuple[str, int, str, float]]) -> AnsweredTargets:
    """Returns the arrays of (clip, second, animal, distance in metres or NaN)."""
    rows = list(rows)
    clip, second, animal, distance_m = zip(*rows, strict=True) if rows else ((), (), (), ())
    return AnsweredTargets(
        np.array(clip, object), np.array(second, int), np.array(animal, object), np.array(distance_m, float)
    )
