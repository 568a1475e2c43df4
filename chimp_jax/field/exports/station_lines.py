"""The observations of a flat file, sorted by station: kept in files, because they may not fit in memory."""

import collections
import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from chimp_jax.field.bins import bin_of
from chimp_jax.field.exports.observed import Observed
from chimp_jax.field.exports.rows import short_number
from data_prep.inputs.tables import csv_text


class StationLines:
    """Takes observations in pieces and gives them back station by station.

    left_out: {reason: rows or animals that were left out}. kinds: observations by label.
    """

    def __init__(self, folder, cutpoints: list[float] | None, truncation: float | None):
        """folder: a local folder for a file for each station. cutpoints, truncation: of checked_bins."""
        self.cutpoints, self.truncation = cutpoints, truncation
        self.left_out: collections.Counter[str] = collections.Counter()
        self.kinds: collections.Counter[str] = collections.Counter()
        self._folder = Path(folder)
        self._files: dict[str, Path] = {}

    def add(self, observed: Observed) -> None:
        """Adds the observations with a distance in the bins."""
        rows = self._kept(observed)
        if 'label' in rows:
            self.kinds.update(rows['label'].replace('', 'animal'))
        for station, part in rows.groupby('station', sort=False):
            path = self._files.setdefault(station, self._folder / f'{len(self._files)}.csv')
            lines = [self._cells(row) for row in part.to_dict('records')]
            with path.open('a', errors='surrogateescape', newline='') as file:
                file.write(csv_text(lines[0], lines[1:]))

    def of_station(self, station: str) -> Iterator[list[str]]:
        """Yields the cells of each observation: distance, the ends of its bin if there are bins, video_id, time,
        distance_lower, distance_upper."""
        if station in self._files:
            with self._files[station].open(errors='surrogateescape', newline='') as file:
                yield from csv.reader(file)

    def _kept(self, observed: Observed) -> pd.DataFrame:
        rows = observed.rows
        distance = rows['distance'].to_numpy(float)
        known = ~np.isnan(distance)
        first, last = limits(self.cutpoints, self.truncation)
        # The last bin includes its end, the first bin its start, like R's cut(include.lowest = TRUE).
        near, far = known & (distance < first), known & (distance > last)
        self.left_out.update(observed.unused)
        self.left_out.update({'no distance': int((~known).sum()), 'nearer than the first cutpoint': int(near.sum())})
        self.left_out.update({'beyond the truncation': int(far.sum())})
        return rows[known & ~near & ~far]

    def _cells(self, row: dict) -> list[str]:
        ends = bin_ends(row['distance'], self.cutpoints) if self.cutpoints else ()
        lower, upper = (short_number(float(row[name]), 3) for name in ('distance_lower', 'distance_upper'))
        return [short_number(row['distance'], 3), *ends, row['video_id'], str(row['time']), lower, upper]


def bin_ends(distance_m: float, cutpoints: list[float]) -> tuple[str, str]:
    """Returns distbegin and distend of a distance within the cutpoints."""
    k = int(bin_of(distance_m, cutpoints))
    return short_number(cutpoints[k], 6), short_number(cutpoints[k + 1], 6)


def limits(cutpoints: list[float] | None, truncation: float | None) -> tuple[float, float]:
    """Returns the least and the largest distance of a flat file, metres. cutpoints, truncation: of checked_bins."""
    if cutpoints:
        return cutpoints[0], cutpoints[-1]
    return 0, math.inf if truncation is None else truncation


def is_inside(distance_m: float, cutpoints: list[float] | None, truncation: float | None) -> bool:
    first, last = limits(cutpoints, truncation)
    return first <= distance_m <= last
