"""What the page tells about all rows: counts, the distances, and the rows that a person gave. Exact for any size."""

import collections
from collections.abc import Iterable

import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY, SECOND
from chimp_jax.field.flags import ONE_FOR_ALL
from chimp_jax.field.page.distance_counts import DistanceCounts, count_distances
from chimp_jax.field.status import CORRECTED, KNOWN, animal_rows

COUNTED = [*KEY, 'distance', 'distance_lower', 'spread', 'members', 'flags', 'status']  # columns of distances.csv


class Overview:
    """Counts of distances.csv, read in pieces; each clip in one piece. Rows with the status KNOWN count as no animal.

    names: of the clips with an animal. estimated, corrected: DistanceCounts. given: the rows with a distance that a
    person gave (status CORRECTED or KNOWN).
    """

    def __init__(self, pieces: Iterable[pd.DataFrame]):
        self.n_rows = self.n_seconds = self.n_tracks = self.n_flagged = self.n_one_for_all = self.n_clips_known = 0
        self.by_animal = self.has_intervals = self.has_spread = False
        self.names: list[str] = []
        self.status: collections.Counter[str] = collections.Counter()
        self.flags: collections.Counter[str] = collections.Counter()
        self.members: set[float] = set()
        self.estimated = self.corrected = count_distances([])
        given = []
        for rows in pieces:
            given.append(rows[rows['status'].isin([CORRECTED, KNOWN]) & rows['distance'].notna()])
            self._add(animal_rows(rows))
        self.given = pd.concat(given, ignore_index=True)

    @property
    def n_known(self) -> int:
        """The number of animals with a distance."""
        return self.estimated.n + self.corrected.n

    @property
    def distances(self) -> DistanceCounts:
        return self.estimated.merged(self.corrected)

    def _add(self, rows: pd.DataFrame) -> None:
        known = rows[rows['distance'].notna()]
        corrected = known['status'] == CORRECTED
        named = rows.loc[rows['animal'] != '', ['video_id', 'animal']]
        flags = known['flags'].value_counts(sort=False)  # few different texts
        self.n_rows += len(rows)
        self.n_seconds += len(rows[SECOND].drop_duplicates())
        self.n_tracks += len(named.drop_duplicates())
        self.by_animal |= len(named) > 0
        self.names += rows['video_id'].unique().tolist()
        self.n_clips_known += known['video_id'].nunique()
        self.status.update(rows['status'].value_counts(sort=False).to_dict())
        self.n_flagged += int((known['flags'] != '').sum())
        for text, n in flags.items():
            self.flags.update({name: n for name in text.split()})
            self.n_one_for_all += n * (ONE_FOR_ALL in text.split())
        self.members |= {n for n in rows['members'].unique().tolist() if n > 0}
        self.has_intervals |= bool(known['distance_lower'].notna().any())
        self.has_spread |= bool(known['spread'].notna().any())
        self.estimated = self.estimated.merged(count_distances(known.loc[~corrected, 'distance']))
        self.corrected = self.corrected.merged(count_distances(known.loc[corrected, 'distance']))
