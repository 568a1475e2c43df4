"""The results of clips in memory: a row for each target, a row for each clip."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import BOX, KEY

ABOUT = ('brightness', 'shared')  # of a row, beside its key, its box and the predictions
CLIP = ('video_id', 'site', 'duration_s', 'gamma', 'white_fraction', 'sound', 'problem')


class Streamed(NamedTuple):
    """The results of the targets and of the clips, sorted.

    rows: KEY, BOX (0..1 of the picture, NaN if unknown), brightness (0..255, of the target's frame), shared (whether a
    member gives an animal the distance of the whole picture), and a column for each member, recipe/fold_k, in metres.
    clips: video_id, site, duration_s, gamma, white_fraction, sound (None if no member hears) and problem, '' if all
    its targets have rows.
    """

    rows: pd.DataFrame
    clips: pd.DataFrame

    def answers(self) -> pd.DataFrame:
        """Returns the predictions [rows, members], metres, indexed by KEY."""
        return self.rows.set_index(KEY).drop(columns=[*BOX, *ABOUT])

    def names(self) -> set[str]:
        """Returns the clips that have a result."""
        return {*self.clips['video_id'], *self.rows['video_id']}

    def of_clips(self, video_ids: Collection[str]) -> 'Streamed':
        """Returns the results of some clips."""
        return Streamed(*(_of_clips(table, video_ids) for table in self))


def no_rows(members: Sequence[str]) -> pd.DataFrame:
    """Returns the rows of Streamed without any row."""
    keys = {'video_id': np.zeros(0, object), 'time': np.zeros(0, int), 'animal': np.zeros(0, object)}
    numbers = {name: np.zeros(0) for name in [*BOX, 'brightness', *members]}
    return pd.DataFrame(keys | {'shared': np.zeros(0, bool)} | numbers)


def _of_clips(table: pd.DataFrame, video_ids: Collection[str]) -> pd.DataFrame:
    """Returns the rows of some clips. Looks only between the first and the last one, because the table is sorted."""
    if not len(video_ids):
        return table[:0]
    first, last = (
        np.searchsorted(table['video_id'], name, side)
        for name, side in ((min(video_ids), 'left'), (max(video_ids), 'right'))
    )
    near = table[first:last]
    return near[near['video_id'].isin(list(video_ids))].reset_index(drop=True)
