"""The share of measured animals that were not detected, by distance.

A detector loses far animals, which lowers a density as much as a wrong distance does.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from chimp_jax.field.bins import bin_names, bin_of
from chimp_jax.field.calibration.ground_rows import NO_BOX
from chimp_jax.field.measured.matching import ELSEWHERE, NO_ROW, boxes_of_rows
from chimp_jax.field.status import KNOWN


def seen_animals(
    matched: pd.DataFrame,
    rows: pd.DataFrame,
    video_ids: pd.Series,
    not_watched: Collection[str],
    has_boxes: bool,
) -> np.ndarray:
    """Returns 1 if a measured animal was detected in its second, 0 if it was not, NaN if nobody knows: [n].

    matched: of match_animals, for measured animals in the clips video_ids [n]. rows: of reading.read_distances.
    not_watched: clips that no detector looked at. has_boxes: whether any row of distances.csv has a box; if none has,
    all values are NaN, because no detector chose the seconds. A row with a distance but without a box is of a second as
    a whole. NaN also stands for animals that fit several rows, for seconds of the calibration, and for lost seconds,
    such as those of a damaged clip.
    """
    if not has_boxes:
        return np.full(len(matched), np.nan)
    has_box = np.isfinite(boxes_of_rows(rows)).all(axis=1)
    lost = rows['distance'].isna().to_numpy() & ~has_box & (rows['status'] != NO_BOX).to_numpy()
    unknown = lost | (rows['status'] == KNOWN).to_numpy()
    of_row = np.where(unknown, np.nan, has_box.astype(float))
    place = matched['place'].to_numpy()
    missed = np.where(matched['how'].isin([NO_ROW, ELSEWHERE]), 0.0, np.nan)
    seen = missed
    seen[place >= 0] = of_row[place[place >= 0]]  # a table may have no row of these seconds
    return np.where(video_ids.isin(list(not_watched)), np.nan, seen)


def detection_table(truth: pd.DataFrame, seen: np.ndarray, edges: np.ndarray) -> pd.DataFrame:
    """Returns how many measured animals were not detected: a row for all, and one for each band with any.

    truth: video_id, animal, distance (true, metres). seen [n]: of seen_animals. edges: cutpoints in metres.
    Columns: scope ('all', 'band'), name; seconds, not_detected, share: measured animals in their seconds; animals,
    never_detected, share_never: animals with a name over all their seconds, in the band of their nearest distance. A
    share is NaN without animals. Rows whose detection is unknown do not count.
    """
    known = ~np.isnan(seen)
    rows = truth.loc[known, ['video_id', 'animal', 'distance']].assign(missed=seen[known] == 0)
    named = rows[rows['animal'] != ''].groupby(['video_id', 'animal'], as_index=False)
    animals = named.agg(distance=('distance', 'min'), missed=('missed', 'all'))
    lines = [_line('all', 'all', rows['missed'], animals['missed'])]
    of_rows, of_animals = (bin_of(part['distance'].to_numpy(float), edges) for part in (rows, animals))
    labels = bin_names(edges)
    for band in sorted({*of_rows, *of_animals}):
        parts = rows['missed'][of_rows == band], animals['missed'][of_animals == band]
        lines.append(_line('band', labels[band], *parts))
    return pd.DataFrame(lines)


def _line(scope: str, name: str, missed: pd.Series, never: pd.Series) -> Mapping:
    return {
        'scope': scope,
        'name': name,
        'seconds': len(missed),
        'not_detected': int(missed.sum()),
        'share': missed.mean(),
        'animals': len(never),
        'never_detected': int(never.sum()),
        'share_never': never.mean(),
    }
