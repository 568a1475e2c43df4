"""Which second a person is asked for next: the one that is expected to lower the errors of the others most.

The expected fall of the errors at a station is that of chimp_jax.stations.choice. A candidate counts by the confidence
of its box, because an answer "no animal" lowers no error.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from chimp_jax.field.label.candidates import AnsweredTargets, Candidates
from chimp_jax.stations.choice import StationTargets, label_gains

LEAST_APART_S = 5  # seconds of one clip that are closer show nearly the same picture
_MOST_CANDIDATES = 3000  # of all stations, to answer within 50 ms
_MOST_OF_STATION = 600
_LEAST_CANDIDATES = 40  # of a station
_MOST_OTHERS = 100  # targets of a station, on which a gain is measured
_MOST_MEASURED = 300  # of a station; older ones tell nothing that these do not
_LEAST_CONFIDENCE = 0.05


def next_targets(candidates: Candidates, answered: AnsweredTargets, n: int = 3) -> np.ndarray:
    """Returns the indices of the next n candidates, the best first; fewer if none is left. Deterministic.

    A station counts by the square root of the number of its targets, so that large stations come first, and not alone.
    Seconds that are answered are left out. Those near an answered one of their clip come when no other is left. If
    estimates and feet are unknown, the seconds spread over stations and clips.
    """
    search = _Search(candidates, answered)
    chosen: list[int] = []
    while len(chosen) < n:
        best = search.best()
        if best is None:
            break
        chosen.append(best)
        search.take(best)
    return np.array(chosen, int)


class _Search:
    """The state of a choice. A candidate that is chosen counts as measured for the next one."""

    def __init__(self, candidates: Candidates, answered: AnsweredTargets):
        self._all = candidates
        self._second = np.asarray(candidates.second, float)
        self._clip, self._clips = pd.factorize(candidates.clip)
        self._station, names = pd.factorize(candidates.station)
        order = np.argsort(self._station, kind='stable')
        self._rows = np.split(order, np.cumsum(np.bincount(self._station, minlength=len(names)))[:-1])
        self._confidence = np.fmax(np.nan_to_num(candidates.confidence, nan=1.0), _LEAST_CONFIDENCE)
        self._is_open = np.ones(len(self._clip), bool)
        self._is_near = np.zeros(len(self._clip), bool)
        self._measured: list[list[int]] = [[] for _ in names]
        share = _MOST_CANDIDATES // max(len(names), 1)
        self._most = min(max(share, _LEAST_CANDIDATES), _MOST_OF_STATION)
        for i, is_same, is_distance in self._answered_rows(answered):
            self._close(i, is_same)
            if is_distance:
                self._measured[self._station[i]].append(i)
        foot = np.stack([np.asarray(candidates.x, float), np.asarray(candidates.y, float)], axis=1)
        estimate_m, spread_m = (np.asarray(metres, float) for metres in (candidates.estimate_m, candidates.spread_m))
        self._targets = StationTargets(estimate_m, foot, self._clip, self._second, spread_m)
        self._best = {place: self._best_of(place) for place in range(len(names))}

    def best(self) -> int | None:
        """Returns the index of the best candidate; None if none is left."""
        left = [found for found in self._best.values() if found is not None]
        return max(left, key=lambda found: found[:2])[2] if left else None

    def take(self, i: int) -> None:
        """Counts a candidate as measured."""
        self._close(i, True)
        place = self._station[i]
        self._measured[place].append(i)
        self._best[place] = self._best_of(place)

    def _answered_rows(self, answered: AnsweredTargets) -> Iterator[tuple[int, bool, bool]]:
        """Yields (index, whether it is the answered candidate, whether the answer is a distance) of the answers.

        If an answered second is no candidate, the nearest one of its clip within LEAST_APART_S stands for it.
        """
        order = np.argsort(self._clip, kind='stable')
        of_clip = np.split(order, np.cumsum(np.bincount(self._clip, minlength=len(self._clips)))[:-1])
        codes = pd.Index(self._clips).get_indexer(list(answered.clip))
        for code, second, animal, distance_m in zip(codes, *answered[1:], strict=True):
            if code < 0:
                continue
            rows = of_clip[code]
            apart_s = np.abs(self._second[rows] - second)
            other_animal = np.asarray(self._all.animal)[rows] != animal
            nearest = np.lexsort((other_animal, apart_s))[0]
            if apart_s[nearest] < LEAST_APART_S:
                is_same = apart_s[nearest] == 0 and not other_animal[nearest]
                yield int(rows[nearest]), bool(is_same), not np.isnan(distance_m)

    def _close(self, i: int, is_same: bool) -> None:
        """Marks the candidates near i, and i itself as asked if it is the answered one."""
        self._is_open[i] &= not is_same
        rows = self._rows[self._station[i]]
        apart_s = np.abs(self._second[rows] - self._second[i])
        self._is_near[rows] |= (self._clip[rows] == self._clip[i]) & (apart_s < LEAST_APART_S)

    def _best_of(self, place: int) -> tuple[bool, float, int] | None:
        """Returns (whether it is far from answered seconds, gain, index) of the best candidate of a station."""
        rows = self._rows[place]
        left = rows[self._is_open[rows]]
        far = left[~self._is_near[left]]
        asked = _thinned(far if len(far) else left, self._most)
        if not len(asked):
            return None
        others = _thinned(left, _MOST_OTHERS)
        gain = label_gains(self._targets, self._measured[place][-_MOST_MEASURED:], asked, others)
        gain *= self._confidence[asked] * np.sqrt(len(left)) / len(others)
        best = int(np.argmax(gain))
        return len(far) > 0, float(gain[best]), int(asked[best])


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """Returns at most `most` of the rows, evenly spread over them."""
    if len(rows) <= most:
        return rows
    return rows[(np.arange(most) + 0.5).astype(int) * len(rows) // most]
