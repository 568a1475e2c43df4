"""Chooses what the page shows first: a card per clip, the most doubtful second of each, spread over the distances.

A second with several animals is as doubtful as its most doubtful animal.

Widest interval first would be farthest first, because the fitted width of an interval grows with the distance. The
width divided by the distance can be nearest first, if the fit gives the models' spread no share. The spread itself is
not a function of the distance. The doubt of a second is therefore the spread divided by the distance. The turns through
the bins remove what is left of an order by distance.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field import status
from chimp_jax.field.bins import bin_of

FLOOR_M = 2.0  # nearer estimates are divided by this: an estimate of 0.1 m is not ten times as doubtful as one of 1 m

RANKED = [*SECOND, 'distance', 'distance_upper', 'spread', 'flags', 'status']

Second = tuple[str, int]  # (video_id, time)
Key = tuple[str, int, str]  # (video_id, time, animal): a row of distances.csv


class Choice(NamedTuple):
    """The seconds with a picture. cards: one per clip, in order; others: more seconds of these clips, in order."""

    cards: list[Second]
    others: list[Second]


def choose_cards(pieces: Iterable[pd.DataFrame], edges_m: Sequence[float], n_frames: int) -> list[Second]:
    """Chooses at most n_frames seconds of rows (RANKED), each clip in one piece: the cards of a Choice.

    Each clip has one card, its most doubtful second. The cards take turns through the bins of edges_m, so that each
    bin, and the distances on either side of all bins, has one of the first cards. Clips in which a person corrected
    every second come last.
    """
    first = pd.DataFrame(columns=[*RANKED, 'turn'])
    for rows in pieces:
        of_clips = rank_doubt(rows[RANKED]).drop_duplicates('video_id')
        both = pd.concat([first[RANKED], of_clips], ignore_index=True) if len(first) else of_clips
        first = rank_doubt(both.reset_index(drop=True))
        done = first['status'] == status.CORRECTED
        first['turn'] = first.groupby([done, bin_of(first['distance'], edges_m)], sort=False).cumcount()
        first = first[first['turn'] < n_frames]  # a later one of its bin is no card, whatever follows
    order = first.assign(done=first['status'] == status.CORRECTED).sort_values(['done', 'turn'], kind='stable')
    return _seconds(order)[:n_frames]


def choose_others(rows: pd.DataFrame, cards: Sequence[Second], n_frames: int) -> list[Second]:
    """Returns other seconds of the clips with cards, one per clip in turn, if there are fewer cards than n_frames.

    rows: those of these clips, and perhaps of others.
    """
    place = {video_id: i for i, (video_id, _) in enumerate(cards)}
    ranked = rank_doubt(rows[rows['video_id'].isin(place)]).drop_duplicates(SECOND)
    nth = ranked.groupby('video_id', sort=False).cumcount()
    rest = ranked[nth > 0]
    keys = pd.DataFrame({'nth': nth[rest.index], 'place': rest['video_id'].map(place)})
    return _seconds(rest.loc[keys.sort_values(['nth', 'place']).index])[: n_frames - len(cards)]


def rank_doubt(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with a distance, the most doubtful first.

    First the rows with an interval, then the rows with only a spread, then the rows with neither; last the corrected
    rows. Within each, the largest doubt comes first, then most flags, clip, second and the order of the rows. If a row
    has an interval and no spread (one recipe), its upper half takes the place of the spread: the lower half is cut at
    0 m.
    """
    rows = rows[rows['distance'].notna()]
    half_m = rows['distance_upper'] - rows['distance']
    keys = pd.DataFrame(
        {
            'corrected': rows['status'] == status.CORRECTED,
            'kind': np.select([half_m.notna(), rows['spread'].notna()], [0, 1], 2),
            'doubt': -rows['spread'].fillna(half_m).fillna(0) / rows['distance'].clip(lower=FLOOR_M),
            'flags': rows['flags'].map({text: -len(text.split()) for text in rows['flags'].unique()}),  # few texts
            'video_id': rows['video_id'],
            'time': rows['time'],
        }
    )
    return rows.loc[keys.sort_values(list(keys.columns)).index]


def _seconds(rows: pd.DataFrame) -> list[Second]:
    return [*rows[SECOND].itertuples(index=False, name=None)]
