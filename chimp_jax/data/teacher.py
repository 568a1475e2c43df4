"""The teacher of a student: a table with the distances that an ensemble predicts, mixed with the labels of a record.

The table has the columns video_id, time, distance and perhaps animal and out_of_fold. `chimp-distance score --split
teacher` writes it. Knowledge distillation: Hinton, Vinyals and Dean 2015, here for regression.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of
from data_prep.records import Record
from data_prep.windows import STORED_HALF, STORED_STEPS, window_seconds

OUT_OF_FOLD = 'out_of_fold'  # column: YES if no member that predicted the row was trained on its clip
YES = 'yes'
_KEY = ['video_id', 'time', 'animal']


class _Rows(NamedTuple):
    """The teacher's rows of one clip: {(second, animal): metres}; animal '' for the second as a whole."""

    distance_m: dict[tuple[int, str], float]
    line: int  # of the first row
    out_of_fold: bool  # all rows


@dataclasses.dataclass(frozen=True)
class Teacher:
    """The distances of a teacher by clip, and the teacher's share in the mixture with a label (0..1)."""

    name: str  # the path of the table, for messages
    clips: Mapping[str, _Rows]
    n_without_distance: int
    share: float

    @property
    def n_rows(self) -> int:
        """Returns the number of rows with a distance."""
        return sum(len(rows.distance_m) for rows in self.clips.values())

    def teach(self, fields: Mapping, n_frames: int, step_s: int) -> tuple[dict, int]:
        """Returns the fields of a record with the teacher's distances, and the number of the teacher's rows in them.

        A target with a label l and a teacher's distance t gets (1 - share) * l + share * t metres; a target without a
        label gets t. A second without a target becomes a target if `held_seconds` has it. A row for the whole second
        fits no second with named animals.
        """
        rows = self.clips.get(fields['video_id'])
        if rows is None:
            return dict(fields), 0
        time_s, animal = fields['target_time_s'], list(fields.get('target_animal', [''] * len(fields['target_time_s'])))
        label_m = np.asarray(fields['target_distance_m'], np.float32)
        keys = list(zip(time_s.tolist(), animal, strict=True))
        taught_m = np.array([rows.distance_m.get(key, np.nan) for key in keys], np.float32)
        mixed_m = np.where(np.isnan(label_m), taught_m, (1 - self.share) * label_m + self.share * taught_m)
        mixed_m = np.where(np.isnan(taught_m), label_m, mixed_m)
        free = set(held_seconds(fields['frame_time_s'], time_s, n_frames, [step_s]).tolist()) - set(time_s.tolist())
        more = sorted(second for second, name in rows.distance_m if not name and second in free)
        more_m = [rows.distance_m[second, ''] for second in more]
        taught = {
            'target_time_s': np.concatenate([time_s, np.array(more, np.int32)]),
            'target_distance_m': np.concatenate([mixed_m, more_m]).astype(np.float32),
        }
        if 'target_animal' in fields:
            no_boxes = np.full((len(more), 4), np.nan, np.float32)
            taught['target_animal'] = animal + [''] * len(more)
            taught['target_box'] = np.concatenate([fields['target_box'], no_boxes])
        return {**fields, **taught}, int(np.isfinite(taught_m).sum()) + len(more)

    def check_labelled(self, labelled: Collection[str]) -> None:
        """Raises ValueError if a row of a labelled clip may come from members that were trained on the clip."""
        seen = [rows for video_id, rows in self.clips.items() if video_id in labelled and not rows.out_of_fold]
        if seen:
            raise ValueError(
                f'{self.name}:{min(rows.line for rows in seen)}: {OUT_OF_FOLD} is not {YES} in rows of {len(seen)} '
                'labelled clips, so members may have predicted clips that they were trained on; write the table with '
                'chimp-distance score --split teacher, or remove the rows of labelled clips'
            )


def read_teacher(path, share: float) -> Teacher:
    """Reads a teacher's table. Rows without a distance are counted and left out.

    Raises ValueError, with file and row, if the table cannot be read, a distance is below 0, or two rows have one key;
    and if share is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f'data.teacher_share={share} is no share; set 0 to 1')
    table = read_table(path, required=['video_id', 'time', 'distance'], numbers=['time', 'distance'])
    table = table if 'animal' in table else table.assign(animal='')
    table = table.assign(time=seconds_of(table, path), distance=numbers_of(table, 'distance', path))
    check_unique(table, _KEY, path)
    below = table['distance'] < 0
    if below.any():
        raise ValueError(f'{path}:{table.index[int(np.argmax(below))]}: the distance is below 0; predict it again')
    unknown = table['distance'].isna()
    table = table.assign(known=table[OUT_OF_FOLD].str.strip() == YES if OUT_OF_FOLD in table else False)[~unknown]
    clips = {video_id: _rows_of_clip(rows) for video_id, rows in table.groupby('video_id')}
    return Teacher(str(path), clips, int(unknown.sum()), share)


def held_seconds(frame_time_s: np.ndarray, target_time_s: np.ndarray, n_frames: int, steps_s) -> np.ndarray:
    """Returns the seconds, ascending, from the first target to the last one whose windows the stored frames hold.

    frame_time_s [n] ascending. The windows have n_frames frames at each of the steps. Between the targets a window is
    cut only at the ends of the clip, so the seconds have the same windows as targets. Before the first target and after
    the last one a window may end with the stored frames, not with the clip.
    """
    if not len(target_time_s):
        return np.zeros(0, int)
    first, last = frame_time_s[0], frame_time_s[-1]
    seconds = np.arange(max(min(target_time_s), first), min(max(target_time_s), last) + 1)
    windows = [window_seconds(seconds, n_frames, step_s, first, last) for step_s in steps_s]
    return seconds[np.isin(np.concatenate(windows, axis=1), frame_time_s).all(axis=1)]


def with_every_second(record: Record) -> Record:
    """Returns the record with a target, without animal and distance, in each of the held seconds that lack one.

    Any published window of these seconds is complete.
    """
    held = held_seconds(record.frame_time_s, record.target_time_s, 2 * STORED_HALF + 1, STORED_STEPS)
    more = np.setdiff1d(held, record.target_time_s).astype(np.int32)
    unknown = np.full((len(more), 5), np.nan, np.float32)
    return dataclasses.replace(
        record,
        target_time_s=np.concatenate([record.target_time_s, more]),
        target_distance_m=np.concatenate([record.target_distance_m, unknown[:, 0]]),
        target_box=np.concatenate([record.target_box, unknown[:, 1:]]),
        target_animal=[*record.target_animal, *[''] * len(more)],
    )


def _rows_of_clip(rows: pd.DataFrame) -> _Rows:
    keys = zip(rows['time'].tolist(), rows['animal'], strict=True)
    distance_m = dict(zip(keys, rows['distance'].tolist(), strict=True))
    return _Rows(distance_m, int(rows.index.min()), bool(rows['known'].all()))
