"""Matches measured animals with the rows of distances.csv: by box, by name, or because both are alone in their second.

The names of a table need not be the names of the tracks. Nothing is matched by distance, because the nearest pairs
would flatter the estimates.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from chimp_jax.animals.tracks import iou
from chimp_jax.ensemble.prediction_tables import BOX, SECOND

BY_BOX, BY_NAME, ALONE = 'by box', 'by name', 'alone in the second'
NO_ROW = 'without a row'  # no row of the second is left for the animal
ELSEWHERE = 'boxes elsewhere'  # all rows of the second that are left have boxes that do not overlap that of the animal
UNCLEAR = 'of several animals without names or boxes'
LEAST_IOU = 0.3


def match_animals(truth: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns for each measured animal: `place`, the position of its row or -1, and `how`, one of the words above.

    truth: video_id, time, animal ('' if unknown), box (x1, y1, x2, y2 in shares of the picture, NaN if unknown).
    rows: KEY and BOX of distances.csv. The index is that of truth.
    """
    here = {key: np.array(places) for key, places in rows.groupby(SECOND).indices.items()}
    boxes, names = boxes_of_rows(rows), rows['animal'].to_numpy(object)
    drawn = _boxes_of_truth(truth)
    place, how = np.full(len(truth), -1), np.full(len(truth), NO_ROW, object)
    for key, wanted in truth.groupby(SECOND).indices.items():
        found = here.get(key)
        if found is None:
            continue
        pairs, words = _match_second(
            truth['animal'].iloc[wanted].tolist(), drawn[wanted], names[found].tolist(), boxes[found]
        )
        how[wanted] = words
        place[wanted] = [found[k] if k >= 0 else -1 for k in pairs]
    return pd.DataFrame({'place': place, 'how': how}, index=truth.index)


def boxes_of_rows(rows: pd.DataFrame) -> np.ndarray:
    """Returns x1, y1, x2, y2 [n, 4] of rows of distances.csv, NaN without a box."""
    x, y, width, height = rows[BOX].to_numpy(float).T
    return np.stack([x, y, x + width, y + height], axis=1)


def _boxes_of_truth(truth: pd.DataFrame) -> np.ndarray:
    """Returns the boxes [n, 4] in shares; NaN for boxes in pixels, which cannot be compared."""
    boxes = np.array(truth['box'].tolist(), float).reshape(-1, 4)
    return np.where((boxes > 1).any(axis=1, keepdims=True), np.nan, boxes)


def _match_second(
    animals: Sequence[str], drawn: np.ndarray, names: Sequence[str], boxes: np.ndarray
) -> tuple[list[int], list[str]]:
    """Returns the row of each measured animal of one second, -1 if none, and how it was found or why not.

    animals, drawn [n, 4]: names and boxes of the measured animals. names, boxes [m, 4]: of the rows.
    """
    both = np.isfinite(drawn).all(axis=1)[:, None] & np.isfinite(boxes).all(axis=1)[None]
    overlap = np.where(both, iou(np.nan_to_num(drawn), np.nan_to_num(boxes)), 0)
    overlap = np.where(overlap >= LEAST_IOU, overlap, 0)
    pairs, words = [-1] * len(animals), [UNCLEAR] * len(animals)
    for i, k in zip(*scipy.optimize.linear_sum_assignment(-overlap), strict=True):
        if overlap[i, k]:
            pairs[i], words[i] = int(k), BY_BOX
    for i, animal in enumerate(animals):
        if animal and pairs[i] < 0 and animal in names:
            k = names.index(animal)
            if k not in pairs and not both[i, k]:
                pairs[i], words[i] = k, BY_NAME
    if len(animals) == len(names) == 1 and pairs[0] < 0 and not both[0, 0]:
        return [0], [ALONE]
    left = [k for k in range(len(names)) if k not in pairs]
    for i, k in enumerate(pairs):
        if k < 0 and both[i, left].all():
            words[i] = ELSEWHERE if left else NO_ROW
    return pairs, words
