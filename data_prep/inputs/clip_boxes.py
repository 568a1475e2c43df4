"""All known boxes of each clip, from tables and from a detector, and rows of one target per animal of a second."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from data_prep.archive import Archive
from data_prep.inputs.columns.boxes import TableBox
from data_prep.inputs.detections import Detections
from data_prep.inputs.frame_times import TimedSightings, rate_note, time_sightings
from data_prep.inputs.headers import Header
from data_prep.inputs.labels import Problem
from data_prep.workers.clip_record import Mate

ClipBoxes = tuple[tuple, ...]  # each (time_s, confidence, x1, y1, x2, y2, animal)

_SECOND = ['video_id', 'time_s']


def boxes_of_sightings(timed: TimedSightings) -> ClipBoxes:
    """Returns the boxes of a detector, whose animals have no names."""
    pairs = zip(timed.times_s.tolist(), timed.sightings, strict=True)
    return tuple((time_s, found.confidence, *found.box, '') for time_s, found in pairs)


def boxes_in_window(boxes: Mapping[str, ClipBoxes], video_id: str, mates: Iterable[Mate]) -> ClipBoxes | None:
    """Returns all known boxes of a clip, of a photo also those of the other photos in its window, None without any.

    boxes: by video_id. Boxes of another photo have no names here: its names mean other animals.
    """
    others = [(mate.second, *box[1:6], '') for mate in mates for box in boxes.get(mate.video_id, ())]
    return (*boxes.get(video_id, ()), *others) or None


class GivenBoxes(NamedTuple):
    """The boxes of a job with tables."""

    drawn: Sequence[TableBox]  # in the tables
    detected: Detections  # of a detector; empty without its file
    file: str  # name of the detector's file

    def check_clips(self, wanted: Collection[str], archive: Archive) -> tuple[list[Problem], list[str]]:
        """Returns a problem for each clip with a box that does not exist, and a note if others have no target.

        wanted: the video_ids of the targets in the tables.
        """
        places = {clip.video_id: self.file for clip in self.detected.clips if clip.sightings}
        places |= {box.video_id: box.row for box in reversed(self.drawn)}  # of the first box
        others = {video_id: place for video_id, place in places.items() if video_id not in wanted}
        reason = f'a box is of this clip, but there is no such file in {archive}; correct the name'
        absent = [video_id for video_id in others if video_id not in archive]
        problems = [Problem(video_id, others[video_id], 'boxes', reason) for video_id in absent]
        unused = sorted(set(others).difference(absent))
        notes = [f'the boxes of {len(unused)} clips without a target are not used, first {unused[0]}'] if unused else []
        return problems, notes

    def by_clip(self, headers: Mapping[str, Header | str]) -> tuple[dict[str, ClipBoxes], list[Problem], list[str]]:
        """Returns {video_id: all boxes}, and problems and notes about those of the detector.

        headers: of the clips with targets; with frame times if there is a detector's file.
        """
        headers = {name: header for name, header in headers.items() if isinstance(header, Header)}
        boxes: dict[str, list[tuple]] = {name: [] for name in headers}
        for box in self.drawn:
            boxes.get(box.video_id, []).append((box.time_s, box.confidence, *box.box, box.animal))
        clips = [clip for clip in self.detected.clips if clip.video_id in headers and clip.sightings]
        faults, rates = [], {}
        for clip in clips:
            header = headers[clip.video_id]
            timed = time_sightings(clip, header)
            boxes[clip.video_id] += boxes_of_sightings(timed)
            faults += [Problem(clip.video_id, self.file, 'detections', timed.fault)] if timed.fault else []
            rates[clip.video_id] = clip.frame_rate, header.frame_rate
        found = {name: tuple(listed) for name, listed in boxes.items() if listed}
        return found, self.detected.problems + faults, self.detected.notes + rate_note(rates)


def rows_of_animals(rows: pd.DataFrame, animals: pd.DataFrame) -> pd.DataFrame:
    """Returns rows (of Targets) in which each second of `animals` has one row per animal.

    animals: video_id, time_s, animal, box, label. The other columns are those of the first row of the second. A second
    that has no row adds none. The rows of a clip are in the order of time and animal.
    """
    own = [name for name in ('animal', 'box', 'label') if name in rows]
    about = rows.drop_duplicates(_SECOND).drop(columns=own)
    animals = animals[[*_SECOND, 'animal', 'box', 'label']].astype({'time_s': rows['time_s'].dtype})
    new = animals.merge(about, on=_SECOND)
    replaced = pd.MultiIndex.from_frame(rows[_SECOND]).isin(pd.MultiIndex.from_frame(new[_SECOND]))
    kept = rows[~replaced] if 'label' in rows else rows[~replaced].assign(label='')
    return pd.concat([kept, new[kept.columns]]).sort_values([*_SECOND, 'animal'], ignore_index=True, kind='stable')
