"""Reads the estimates that are compared with measured distances, and the measured distances."""

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX, KEY, SECOND, with_animal
from chimp_jax.field.label_tables import read_label_table
from chimp_jax.field.measured.matching import boxes_of_rows
from chimp_jax.field.rows.read import open_rows
from chimp_jax.field.status import CLIPS, KNOWN
from data_prep.archive import Names
from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

BOUNDS = ['distance_lower', 'distance_upper']


def read_distances(path) -> pd.DataFrame:
    """Reads distances.csv, or any CSV video_id, time, distance -> KEY, distance, BOUNDS and BOX, status.

    Missing numbers are NaN, missing texts ''. Raises ValueError, in one line with file and row, if it cannot be read or
    has a target twice.
    """
    numbers = ['distance', *BOUNDS, *BOX]
    table = with_animal(read_table(path, [*SECOND, 'distance'], numbers=['time', *numbers]))
    found = {name: numbers_of(table, name, path) for name in numbers if name in table}
    rows = table.assign(time=seconds_of(table, path), **found)
    check_unique(rows, KEY, path)
    rows = rows.reindex(columns=[*KEY, *numbers, 'status']).reset_index(drop=True)
    return rows.assign(status=rows['status'].fillna(''))


def read_both(
    distances_csv: epath.Path, truth_csv, clips: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, bool, int]:
    """Returns the rows (of read_distances), the known distances, whether any row has a box, and n_others.

    If the result is in parts, the rows are those of the seconds of the known distances; n_others counts the others.
    """
    stored = open_rows(distances_csv.parent, distances_csv.stem)
    if stored is None:
        rows = read_distances(distances_csv)
        truth = read_label_table(truth_csv, Names([*rows['video_id'], *clips.index]))
        return rows, truth, bool(_have_boxes(rows).any()), 0
    names, has_boxes, n_rows = dict.fromkeys(clips.index), False, 0
    for piece in stored.pieces(['video_id', 'status', *BOX]):
        names |= dict.fromkeys(piece['video_id'].unique())
        has_boxes |= bool(_have_boxes(piece).any())
        n_rows += int((piece['status'] != KNOWN).sum())
    truth = read_label_table(truth_csv, Names(names))
    of_clips = stored.of_clips(truth['video_id'].unique(), [*KEY, 'distance', *BOUNDS, *BOX, 'status'])
    there = pd.MultiIndex.from_frame(of_clips[SECOND]).isin(pd.MultiIndex.from_frame(truth[SECOND]))
    rows = of_clips[there].reset_index(drop=True)
    return rows, truth, has_boxes, n_rows - int((rows['status'] != KNOWN).sum())


def _have_boxes(rows: pd.DataFrame) -> np.ndarray:
    return np.isfinite(boxes_of_rows(rows)).all(axis=1)


def read_clips_beside(distances_csv: epath.Path) -> pd.DataFrame:
    """Returns site, status and duration_s (NaN if unknown) of the clips in clips.csv by video_id; else no row."""
    path = distances_csv.parent / CLIPS
    clips = pd.DataFrame({'video_id': []}, dtype=object)
    if path.exists():
        clips = read_table(path, ['video_id'], numbers=['duration_s'])
        check_unique(clips, ['video_id'], path)
    if 'duration_s' in clips:
        clips['duration_s'] = numbers_of(clips, 'duration_s', path)
    return clips.set_index('video_id').reindex(columns=['site', 'status', 'duration_s'])
