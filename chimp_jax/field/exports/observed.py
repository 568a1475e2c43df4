"""The animals of each snapshot moment: the rows of distances.csv that are observations of distance sampling."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY, SECOND

_DECIMALS = 3  # of seconds: the times of one frame are equal


class Observed(NamedTuple):
    """The observations, a row for each animal and snapshot moment.

    rows: the columns of distances.csv and the station; distance is NaN if the animal has no row. unused: {reason: rows
    of distances.csv that are no observation}. n_shared: moments with several animals whose row names none.
    """

    rows: pd.DataFrame
    unused: dict[str, int]
    n_shared: int


def observe(seen: pd.DataFrame, rows: pd.DataFrame, boxes: pd.DataFrame | None = None) -> Observed:
    """Returns the observations of snapshot moments with an animal.

    seen: Snapshots.seen. rows: of rows.checked_rows. boxes: video_id, time_s, animal of the boxes of tracks.
    The frame that stands for a moment tells which animals are in view: those with a box in this frame. An animal that
    is elsewhere in the same second does not count. Its row is the one at the moment, or else at the second of the
    frame. Without boxes, or if a row of the second names no animal, all rows of the second count.
    """
    places = _places(rows)
    in_frame = {} if boxes is None else _names_by_frame(boxes)
    seconds = rows['time'].to_numpy()
    picked, keys, stations, n_shared = [], [], [], 0
    for moment in seen.itertuples():
        here = places.get((moment.video_id, moment.time), {})
        names = in_frame.get((moment.video_id, round(moment.frame_s, _DECIMALS)), set())
        if names and '' not in here:
            beside = places.get((moment.video_id, math.floor(moment.frame_s)), {})
            found = {name: here.get(name, beside.get(name, -1)) for name in sorted(names)}
        else:
            found = here or {'': -1}
            n_shared += '' in found and moment.n_animals > 1
        picked += found.values()
        stations += [moment.station] * len(found)
        keys += [(moment.video_id, moment.time if k < 0 else seconds[k], name) for name, k in found.items()]
    taken = rows.drop(columns=KEY).reset_index(drop=True).reindex(picked).reset_index(drop=True)
    observed = pd.concat([pd.DataFrame(keys, columns=KEY), taken], axis=1).assign(station=stations)
    return Observed(observed, _unused(seen, rows, picked), n_shared)


class SeenInPieces:
    """The moments with an animal and the boxes of tracks, for one piece of distances.csv after another."""

    def __init__(self, seen: pd.DataFrame, boxes: pd.DataFrame | None):
        self._seen, self._boxes = seen, boxes
        self._moments = seen.groupby('video_id').indices
        self._of_clip = {} if boxes is None else boxes.groupby('video_id').indices

    def observe(self, rows: pd.DataFrame) -> Observed:
        """Returns `observe` of the clips of some rows. Each clip can be asked for once."""
        return self._observe(rows, rows['video_id'].unique())

    def observe_others(self, rows: pd.DataFrame) -> Observed:
        """Returns `observe` of the clips that no rows had. rows: an empty table with the columns of the others."""
        return self._observe(rows, list(self._moments))

    def _observe(self, rows: pd.DataFrame, video_ids: Iterable[str]) -> Observed:
        found = [self._moments.pop(name) for name in video_ids if name in self._moments]
        seen = self._seen.iloc[np.sort(np.concatenate([np.zeros(0, int), *found]))]
        if self._boxes is None:
            return observe(seen, rows)
        there = [self._of_clip[name] for name in video_ids if name in self._of_clip]
        return observe(seen, rows, self._boxes.iloc[np.sort(np.concatenate([np.zeros(0, int), *there]))])


def _places(rows: pd.DataFrame) -> dict[tuple[str, int], dict[str, int]]:
    """Returns {(video_id, second): {animal: position of its row}}."""
    places: dict[tuple[str, int], dict[str, int]] = {}
    for place, (video_id, second, animal) in enumerate(zip(*(rows[name] for name in KEY), strict=True)):
        places.setdefault((video_id, second), {})[animal] = place
    return places


def _names_by_frame(boxes: pd.DataFrame) -> dict[tuple[str, float], set[str]]:
    names: dict[tuple[str, float], set[str]] = {}
    for video_id, time_s, animal in zip(boxes['video_id'], boxes['time_s'], boxes['animal'], strict=True):
        if animal:
            names.setdefault((video_id, round(float(time_s), _DECIMALS)), set()).add(animal)
    return names


def _unused(seen: pd.DataFrame, rows: pd.DataFrame, picked: list[int]) -> dict[str, int]:
    idle = ~np.isin(np.arange(len(rows)), picked)
    at_moment = pd.MultiIndex.from_frame(rows[SECOND]).isin(pd.MultiIndex.from_frame(seen[SECOND]))
    return {
        'between snapshot moments': int((idle & ~at_moment).sum()),
        'not in the frame of the moment': int((idle & at_moment).sum()),
    }
