"""How often each different distance occurs.

Distances of estimate have four decimals, so there are at most 10,000 different ones for each metre. The counts of these
give the exact median and percentiles of any number of rows.
"""

from typing import NamedTuple

import numpy as np


class DistanceCounts(NamedTuple):
    """values [k]: the different distances, metres, sorted. counts [k]: how often each occurs."""

    values: np.ndarray
    counts: np.ndarray

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def merged(self, other: 'DistanceCounts') -> 'DistanceCounts':
        values, place = np.unique(np.concatenate([self.values, other.values]), return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return DistanceCounts(values, counts)

    def quantile(self, share: float) -> float:
        """Returns the quantile of all distances, as np.quantile of the single ones. Requires a distance."""
        place = share * (self.n - 1)
        return float(np.quantile(self._nth([np.floor(place), np.ceil(place)]), place - np.floor(place)))

    def median(self) -> float:
        """Returns the median of all distances, NaN without any."""
        return float(np.mean(self._nth([(self.n - 1) // 2, self.n // 2]))) if self.n else np.nan

    def _nth(self, places) -> np.ndarray:
        """Returns the distances at these places of all distances, sorted."""
        return self.values[np.searchsorted(np.cumsum(self.counts), places, side='right')]


def count_distances(distance_m) -> DistanceCounts:
    """distance_m [n], metres, without NaN."""
    return DistanceCounts(*np.unique(np.asarray(distance_m, float), return_counts=True))
