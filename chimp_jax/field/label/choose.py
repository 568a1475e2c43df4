"""Which second a person is asked for next."""

from collections import Counter

import numpy as np

from chimp_jax.field.label.candidates import AnsweredTargets, Candidates

LEAST_APART_S = 5  # seconds of one clip that are closer show nearly the same picture
_SPREAD = 0.618034  # of the golden ratio: its multiples spread over the seconds of a clip


def next_targets(candidates: Candidates, answered: AnsweredTargets, n: int = 3) -> np.ndarray:
    """Returns the indices of the next n candidates, the best first; fewer if none is left. Deterministic.

    Takes the station with the fewest answers, its clip with the fewest, and a second far from the answered ones.
    Seconds that are answered are left out. A second near an answered one of its clip comes last.
    """
    seconds: dict[str, list[int]] = {}
    for clip, second in zip(answered.clip, answered.second, strict=True):
        seconds.setdefault(clip, []).append(int(second))
    station_of = dict(zip(candidates.clip, candidates.station, strict=True))
    of_station = Counter(station_of.get(clip) for clip in answered.clip)
    done = set(zip(answered.clip, answered.second.tolist(), answered.animal, strict=True))
    left = [
        i
        for i, key in enumerate(zip(candidates.clip, candidates.second.tolist(), candidates.animal, strict=True))
        if key not in done
    ]
    chosen: list[int] = []
    while left and len(chosen) < n:

        def rank(i: int) -> tuple:
            clip, second = candidates.clip[i], int(candidates.second[i])
            apart_s = min((abs(second - other) for other in seconds.get(clip, ())), default=LEAST_APART_S)
            station = candidates.station[i]
            return (
                apart_s < LEAST_APART_S,
                of_station[station],
                len(seconds.get(clip, ())),
                (second * _SPREAD) % 1,
                station,
                clip,
                second,
            )

        best = min(left, key=rank)
        chosen.append(best)
        left.remove(best)
        seconds.setdefault(candidates.clip[best], []).append(int(candidates.second[best]))
        of_station[candidates.station[best]] += 1
    return np.array(chosen, int)
