"""Counts of result rows that are read in pieces."""

import collections
from collections.abc import Iterable, Iterator

import pandas as pd

from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field import status


class RowCounts:
    """The counts of distances.csv that a summary needs. The rows of a clip must come in one piece.

    n_rows: all rows. n_missing: rows without a distance. n_animals: rows that are animals, of which n_distances have a
    distance. n_tracks: animals that were followed. flags: of the animals. seconds: {video_id: seconds with a distance}
    of the clips with an animal.
    """

    def __init__(self, pieces: Iterable[pd.DataFrame] = ()):
        self.n_rows = self.n_missing = self.n_animals = self.n_distances = self.n_tracks = 0
        self.flags: collections.Counter[str] = collections.Counter()
        self.seconds: dict[str, int] = {}
        for _ in self.passing(pieces):
            pass

    def passing(self, pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Yields the pieces and counts their rows."""
        for rows in pieces:
            self._add(rows)
            yield rows

    def _add(self, rows: pd.DataFrame) -> None:
        animals = status.animal_rows(rows)
        found = animals[animals['distance'].notna()]
        self.n_rows += len(rows)
        self.n_missing += int(rows['distance'].isna().sum())
        self.n_animals += len(animals)
        self.n_distances += len(found)
        named = animals.loc[animals['animal'] != '', ['video_id', 'animal']]
        self.n_tracks += len(named.drop_duplicates())
        self.flags.update(' '.join(animals['flags']).split())
        seconds = found[SECOND].drop_duplicates().groupby('video_id').size()
        self.seconds |= seconds.reindex(animals['video_id'].unique(), fill_value=0).to_dict()
