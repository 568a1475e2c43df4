"""The plan of a job: the targets of each clip, and the problems that are known before anything is decoded."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from data_prep.archive import Archive
from data_prep.inputs.detections import read_detections
from data_prep.inputs.frame_times import best_by_second, rate_note, time_sightings
from data_prep.inputs.headers import Copies, check_headers, check_times, find_clips, read_headers
from data_prep.inputs.labels import Problem, Targets, every_second, read_tables
from data_prep.job import Job
from data_prep.workers.clip_record import ClipTask


class Plan(NamedTuple):
    targets: dict[str, Targets]  # by split
    copies: dict[str, Copies]  # by video_id
    labels: pd.DataFrame | None  # all rows of the split `train`, also those of missing clips
    in_pixels: frozenset[str] = frozenset()  # the video_ids with boxes in pixels

    def labels_of_animals(self) -> dict[tuple[str, int], str]:
        """Returns {(video_id, second): the name of the animal there} of the targets with such a name."""
        rows = pd.concat(targets.rows for targets in self.targets.values())
        rows = rows[rows['label'] != ''] if 'label' in rows else rows[:0]
        return {(row.video_id, row.time_s): row.label for row in rows.itertuples()}

    def problems(self) -> list[Problem]:
        return [problem for targets in self.targets.values() for problem in targets.problems]

    def notes(self) -> list[str]:
        n_scaled = sum(copies.down is None for copies in self.copies.values())
        some = 0 < n_scaled < len(self.copies)  # without any downsampled clip nothing is missing
        made = [f'{n_scaled} clips have no downsampled copy; their `down` frames are scaled'] if some else []
        return [note for targets in self.targets.values() for note in targets.notes] + made

    def clips(self, split: str) -> list[str]:
        return sorted(self.targets[split].rows['video_id'].unique())


def make_plan(job: Job) -> Plan:
    """Returns the plan of a job. Raises ValueError if a folder, a table or the detections cannot be read."""
    down, full = (Archive(roots) if roots else None for roots in (job.clips_down, job.clips_full))
    if job.detections:
        return _plan_detections(job, down, full)
    targets = read_tables(job.tables) if job.tables else {'test': _every_clip(full or down)}
    labels = targets['train'].rows if 'train' in targets else None
    copies: dict[str, Copies] = {}
    for split, table in targets.items():
        targets[split], found = find_clips(table, down, full)
        copies |= found
    if job.tables:
        last_s = pd.concat(table.rows for table in targets.values()).groupby('video_id')['time_s'].max()
        headers = read_headers({name: (copies[name], int(last_s[name])) for name in copies}, job.workers)
        targets = {split: check_times(check_headers(table, headers), headers) for split, table in targets.items()}
    return Plan(targets, copies, labels)


def make_tasks(plan: Plan, job: Job) -> list[ClipTask]:
    return [
        ClipTask(
            video_id=video_id,
            down_path=plan.copies[video_id].down,
            full_path=plan.copies[video_id].full,
            **_target_fields(rows),
            box_in_pixels=video_id in plan.in_pixels,
            every_s=job.every_s,
            site=rows['site'].iloc[0],
            park=rows['park'].iloc[0],
            sampling=job.sampling,
            gamma=job.gamma,
        )
        for targets in plan.targets.values()
        for video_id, rows in targets.rows.groupby('video_id')
    ]


def _target_fields(rows: pd.DataFrame) -> dict[str, list]:
    """Returns the target fields of a ClipTask from the rows of one clip: none if every second is a target."""
    if rows['time_s'].isna().any():
        return {}
    return {
        'target_time_s': rows['time_s'].astype(int).tolist(),
        'target_distance_m': rows['distance_m'].tolist(),
        'target_box': rows['box'].tolist(),
    }


def _every_clip(archive: Archive) -> Targets:
    video_ids = archive.clips()
    if not video_ids:
        raise ValueError(f'{archive} holds no clip; give the folder with the clips')
    return every_second(video_ids)


def _plan_detections(job: Job, down: Archive | None, full: Archive | None) -> Plan:
    """Returns a plan with one split, `test`: the seconds with an animal, each with its best box."""
    found = read_detections(job.detections, job.min_confidence, job.animals, (full or down).below_root)
    clips = {clip.video_id: clip for clip in found.clips}
    seen = every_second([video_id for video_id, clip in clips.items() if clip.sightings])
    n_empty = len(clips) - len(seen.rows)
    notes = found.notes + ([f'{n_empty} clips without an animal are left out'] if n_empty else [])
    seen, copies = find_clips(seen._replace(problems=found.problems, notes=notes), down, full)
    rates = {name: clips[name].frame_rate for name in copies}
    headers = read_headers({name: (copies[name], 0) for name in copies}, job.workers, True, rates)
    seen = check_headers(seen, headers)
    timed = {name: time_sightings(clips[name], headers[name]) for name in seen.rows['video_id']}
    rows = [
        {'video_id': name, 'time_s': second, 'box': sighting.box, 'label': sighting.label}
        for name, clip in timed.items()
        for second, sighting in best_by_second(clip.sightings, clip.times_s).items()
    ]
    rows = pd.DataFrame(rows, columns=['video_id', 'time_s', 'box', 'label'])
    faults = [
        Problem(name, epath.Path(job.detections).name, 'detections', clip.fault)
        for name, clip in timed.items()
        if clip.fault
    ]
    targets = seen._replace(
        rows=rows.assign(distance_m=np.nan, site='', park='', row=''),
        problems=seen.problems + faults,
        notes=seen.notes + rate_note({name: (rates[name], headers[name].frame_rate) for name in timed}),
    )
    in_pixels = frozenset(name for name, clip in clips.items() if clip.box_unit == 'pixel')
    return Plan({'test': check_times(targets, headers)}, copies, None, in_pixels)
