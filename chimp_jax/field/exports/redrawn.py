"""Flat files with redraws of the true distances, which carry the error of the estimates into a density.

Each file has the observations of distance_flatfile.csv with distances drawn from P(true distance | estimate), see
chimp_jax.field.true_distance. An estimate outside of the bins may be drawn into them, and the other way round. A
distance that a person gave stays. distance.R fits all files and combines them by Rubin's rules.
"""

import collections
import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chimp_jax.field import status
from chimp_jax.field.exports.observed import Observed
from chimp_jax.field.exports.rows import short_number
from chimp_jax.field.exports.station_lines import bin_ends, is_inside
from chimp_jax.field.true_distance import LabelledEstimates, count_outside, redraw
from data_prep.inputs.tables import csv_text

_SEED = 0


class Redraws(NamedTuple):
    """What redraws are made of."""

    oof: LabelledEstimates
    number: int  # of files


class RedrawLines:
    """Takes all observations with a distance in pieces, and gives them back with drawn distances.

    The estimates stay in memory, 8 bytes each; the rest is kept in files.
    """

    def __init__(self, folder, cutpoints: list[float] | None, truncation: float | None):
        """folder: a local folder for a file for each station. cutpoints, truncation: of checked_bins."""
        self.cutpoints, self.truncation = cutpoints, truncation
        self._folder = Path(folder)
        self._files: dict[str, Path] = {}
        self._estimates: dict[str, list[float]] = collections.defaultdict(list)
        self._drawn: dict[str, np.ndarray] = {}

    def add(self, observed: Observed) -> None:
        rows = observed.rows[observed.rows['distance'].notna()]
        for station, part in rows.groupby('station', sort=False):
            measured = part['status'] == status.CORRECTED
            self._estimates[station] += part['distance'].where(~measured).tolist()
            path = self._files.setdefault(station, self._folder / f'redraw_{len(self._files)}.csv')
            lines = list(map(self._cells, part.to_dict('records'), measured))
            with path.open('a', errors='surrogateescape', newline='') as file:
                file.write(csv_text(lines[0], lines[1:]))

    def share_outside(self, redraws: Redraws) -> float:
        """Returns the share of the estimates that no out-of-fold row resembles, 0..1. See count_outside."""
        estimate_m = np.concatenate([np.zeros(0), *self._estimates.values()])
        known = estimate_m[~np.isnan(estimate_m)]
        return count_outside(redraws.oof, known) / max(len(known), 1)

    def draw(self, redraws: Redraws) -> Iterator['RedrawLines']:
        """Yields the lines of each redraw; of_station gives those of the latest one."""
        stations = list(self._estimates)
        estimate_m = np.concatenate([np.array(self._estimates[name], float) for name in stations] or [np.zeros(0)])
        station = np.repeat(np.arange(len(stations)), [len(self._estimates[name]) for name in stations])
        drawn = ~np.isnan(estimate_m)
        for metres in redraw(redraws.oof, estimate_m[drawn], station[drawn], redraws.number, _SEED):
            whole = np.full(len(estimate_m), np.nan)
            whole[drawn] = metres
            self._drawn = {name: whole[station == place] for place, name in enumerate(stations)}
            yield self

    def of_station(self, station: str) -> Iterator[list[str]]:
        """Yields the cells of each observation in the bins, as StationLines.of_station does. Intervals are empty."""
        if station not in self._files:
            return
        with self._files[station].open(errors='surrogateescape', newline='') as file:
            for drawn_m, (video_id, time, measured_m) in zip(self._drawn[station], csv.reader(file), strict=True):
                distance_m = float(measured_m) if math.isnan(drawn_m) else round(float(drawn_m), 3)
                if is_inside(distance_m, self.cutpoints, self.truncation):
                    ends = bin_ends(distance_m, self.cutpoints) if self.cutpoints else ()
                    yield [short_number(distance_m, 3), *ends, video_id, time, '', '']

    def _cells(self, row: dict, measured: bool) -> list[str]:
        return [row['video_id'], str(row['time']), repr(float(row['distance'])) if measured else '']
