"""The plan of a job: the targets of each clip, and the problems that are known before anything is decoded."""

import math
from collections.abc import Collection, Container
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from data_prep.archive import Archive
from data_prep.decoding.damage import SLACK_S
from data_prep.enhance.spec import parse_enhancement
from data_prep.inputs import clip_boxes, clip_looks
from data_prep.inputs.detections import Detections, read_detections
from data_prep.inputs.frame_times import best_by_second, rate_note, time_sightings
from data_prep.inputs.headers import Copies, Header, check_headers, check_times, find_clips, read_headers
from data_prep.inputs.known_seconds import KnownSeconds, add_seconds
from data_prep.inputs.labels import Problem, Targets, every_second, read_tables, with_seconds_of_photos
from data_prep.inputs.looked_at import LookedAt, animals_by_second
from data_prep.inputs.photos import bursts_of
from data_prep.inputs.tables import LONGEST_CLIP_S
from data_prep.job import Job
from data_prep.workers.clip_record import ClipTask, Mate
from data_prep.workers.other_files import find_videos


class Watch(NamedTuple):
    """What an export needs to know about clips without targets."""

    lengths: bool = False  # the length of every clip in the folder
    frames: bool = False  # the length of every clip, and the frames in which somebody looked
    detector_every_s: float | None = None  # of a detector whose file does not list its frames
    others_empty: bool = False  # a person watched every clip to its end; the table lists all animals


_TARGETS_ONLY = Watch()
_NOTHING_DETECTED = Detections([], [], [])


class Plan(NamedTuple):
    targets: dict[str, Targets]  # by split
    copies: dict[str, Copies]  # by video_id
    labels: pd.DataFrame | None  # all rows of the split `train`, also those of missing clips; with the column `burst`
    in_pixels: frozenset[str] = frozenset()  # the video_ids with boxes in pixels
    names: tuple[str, ...] = ()  # notes on the names of the clips
    headers: dict[str, Header | str] = {}  # by video_id; of all clips in the folder if a Watch asks for them
    looked_at: dict[str, LookedAt] = {}  # by video_id; without the clips that nobody looked at or that cannot be read
    looks_fault: str = ''  # why the detector's file does not tell where the detector looked
    watched: frozenset[str] = frozenset()  # the video_ids of the clips that somebody looked at
    unlooked: dict[str, str] = {}  # {video_id: reason} of the clips that the detector did not look at
    not_clips: dict[str, str] = {}  # {name: reason} of the videos that are no clips by their names
    added: frozenset[tuple[str, int]] = frozenset()  # targets only because of a known distance: (video_id, second)
    boxes: dict[str, clip_boxes.ClipBoxes] = {}  # all known boxes by video_id
    mates: dict[str, tuple[Mate, ...]] = {}  # {video_id of a photo: the other photos of its window}

    def labels_of_animals(self) -> dict[tuple[str, int, str], str]:
        """Returns {(video_id, second, animal): the detector's name of the animal} of the targets with one."""
        rows = pd.concat(targets.rows for targets in self.targets.values())
        rows = rows[rows['label'] != ''] if 'label' in rows else rows[:0]
        return {(row.video_id, row.time_s, row.animal): row.label for row in rows.itertuples()}

    def problems(self) -> list[Problem]:
        others = [Problem(name, '', 'find', reason) for name, reason in self.not_clips.items()]
        return [problem for targets in self.targets.values() for problem in targets.problems] + others

    def unreadable(self) -> dict[str, str]:
        """Returns {video_id: reason} of the clips whose header cannot be read."""
        return {name: header for name, header in self.headers.items() if isinstance(header, str)}

    def durations_s(self) -> dict[str, float]:
        """Returns the length of each clip whose header was read, as far as known."""
        headers = {name: header for name, header in self.headers.items() if isinstance(header, Header)}
        return {name: header.length_s for name, header in headers.items() if math.isfinite(header.end_s)}

    def n_animals(self) -> dict[tuple[str, int], int]:
        """Returns {(video_id, second): the most animals in one of its frames}."""
        seconds = {name: animals_by_second(looked) for name, looked in self.looked_at.items()}
        return {(name, second): n for name, most in seconds.items() for second, n in most.items()}

    def notes(self) -> list[str]:
        n_scaled = sum(copies.down is None for copies in self.copies.values())
        some = 0 < n_scaled < len(self.copies)  # without any downsampled clip nothing is missing
        made = [f'{n_scaled} clips have no downsampled copy; their `down` frames are scaled'] if some else []
        return [*self.names, *(note for targets in self.targets.values() for note in targets.notes), *made]

    def clips(self, split: str) -> list[str]:
        return sorted(self.targets[split].rows['video_id'].unique())

    def without_animals(self, video_ids: Collection[str]) -> 'Plan':
        """Returns the plan in which these clips have no animal, although a detector found one: they show a person."""
        targets = {
            split: table._replace(rows=table.rows[~table.rows['video_id'].isin(list(video_ids))].reset_index(drop=True))
            for split, table in self.targets.items()
        }
        empty = {
            name: looked._replace(n_animals=np.zeros_like(looked.n_animals))
            for name, looked in self.looked_at.items()
            if name in video_ids
        }
        return self._replace(targets=targets, looked_at=self.looked_at | empty)

    def with_animals(self, animals: pd.DataFrame) -> 'Plan':
        """Returns the plan with one target per animal in the seconds of `animals` that are targets of the split `test`.

        animals: video_id, time_s, animal, box, label.
        """
        test = self.targets['test']
        return self._replace(
            targets=self.targets | {'test': test._replace(rows=clip_boxes.rows_of_animals(test.rows, animals))}
        )

    def with_boxes(self, boxes: dict[str, clip_boxes.ClipBoxes]) -> 'Plan':
        """Returns the plan with these boxes of clips {video_id: as in ClipTask.boxes}; other clips keep theirs."""
        return self._replace(boxes=self.boxes | boxes)

    def with_seconds(self, known: KnownSeconds, every_s: int) -> 'Plan':
        """Returns the plan with the known seconds as targets. every_s: seconds between targets without a table."""
        targets, added = add_seconds(self.targets, known.rows, known.ends_s(), every_s)
        return self._replace(targets=targets, copies=known.copies | self.copies, added=added)


def make_plan(job: Job, watch: Watch = _TARGETS_ONLY) -> Plan:
    """Returns the plan of a job. Raises ValueError if a folder, a table or the detections cannot be read."""
    down, full = (Archive(roots) if roots else None for roots in (job.clips_down, job.clips_full))
    plan = _plan(job, watch, down, full)
    others = find_videos(full or down, job.workers)
    bursts = bursts_of(down, full, job.burst_gap_s)
    labels = plan.labels
    if labels is not None:
        labels = labels.assign(burst=[bursts.first.get(name, name) for name in labels['video_id']])
    return plan._replace(
        labels=labels,
        names=(*(full or down).notes(), *bursts.notes),
        not_clips={name: reason for name, reason in others.items() if name not in plan.copies},
        mates=bursts.mates,
    )


def _plan(job: Job, watch: Watch, down: Archive | None, full: Archive | None) -> Plan:
    if job.tables:
        return _plan_tables(job, watch, down, full)
    if job.detections:
        return _plan_detections(job, watch, down, full)
    targets, copies = find_clips(_every_clip(full or down), down, full)
    headers = {}
    if watch.frames:
        headers = read_headers({name: (copies[name], 0) for name in copies}, job.workers, frame_times=True)
    looked_at = clip_looks.looks_of_every_second(_last_frames(headers), job.every_s)
    return Plan({'test': targets}, copies, None, headers=headers, looked_at=looked_at, watched=frozenset(copies))


def make_tasks(plan: Plan, job: Job) -> list[ClipTask]:
    enhancement = parse_enhancement(job.enhance)
    return [
        ClipTask(
            video_id=video_id,
            down_path=plan.copies[video_id].down,
            full_path=plan.copies[video_id].full,
            **_target_fields(rows),
            boxes=clip_boxes.boxes_in_window(plan.boxes, video_id, plan.mates.get(video_id, ())),
            box_in_pixels=video_id in plan.in_pixels,
            every_s=job.every_s,
            site=rows['site'].iloc[0],
            park=rows['park'].iloc[0],
            sampling=job.sampling,
            gamma=job.gamma,
            enhance=enhancement,
            mates=plan.mates.get(video_id, ()),
            audio=job.audio,
        )
        for targets in plan.targets.values()
        for video_id, rows in targets.rows.groupby('video_id')
    ]


def planned_seconds(plan: Plan, video_ids: Collection[str], every_s: int, workers: int) -> dict[str, Container[int]]:
    """Returns the seconds of each clip that get a row in the results, with or without a distance.

    Reads the headers of those clips of which every `every_s` seconds are targets.
    """
    seconds: dict[str, set[int] | range] = {}
    rows = pd.concat([targets.rows[['video_id', 'time_s']] for targets in plan.targets.values()])
    rows = rows[rows['video_id'].isin(list(video_ids))]
    whole = rows.loc[rows['time_s'].isna(), 'video_id']
    headers = read_headers({name: (plan.copies[name], 0) for name in whole}, workers) if len(whole) else {}
    for name, header in headers.items():
        if isinstance(header, Header):
            last_s = LONGEST_CLIP_S if math.isinf(header.end_s) else math.floor(header.end_s + SLACK_S)
            seconds[name] = range(0, last_s + 1, every_s)
    lost = [target[:2] for targets in plan.targets.values() for target in targets.lost]
    for name, second in [*rows.dropna().itertuples(index=False, name=None), *lost]:
        if name not in headers:
            seconds.setdefault(name, set()).add(int(second))
    return seconds


def _target_fields(rows: pd.DataFrame) -> dict[str, list]:
    """Returns the target fields of a ClipTask from the rows of one clip: none if every second is a target."""
    if rows['time_s'].isna().any():
        return {}
    return {
        'target_time_s': rows['time_s'].astype(int).tolist(),
        'target_distance_m': rows['distance_m'].tolist(),
        'target_box': rows['box'].tolist(),
        'target_animal': rows['animal'].tolist(),
    }


def _every_clip(archive: Archive) -> Targets:
    video_ids = archive.clips()
    if not video_ids:
        raise ValueError(f'{archive} holds no clip; give the folder with the clips')
    return with_seconds_of_photos(every_second(video_ids))


def _plan_tables(job: Job, watch: Watch, down: Archive | None, full: Archive | None) -> Plan:
    targets = read_tables(job.tables, full or down, job.with_distances)
    labels = targets['train'].rows if 'train' in targets else None
    detected = _NOTHING_DETECTED
    if job.detections:
        detected = read_detections(job.detections, job.min_confidence, job.animals, (full or down).video_id_of)
    given = clip_boxes.GivenBoxes(
        [box for table in targets.values() for box in table.boxes], detected, epath.Path(job.detections or '').name
    )
    problems, notes = given.check_clips({*pd.concat(t.rows for t in targets.values())['video_id']}, full or down)
    copies: dict[str, Copies] = {}
    for split, table in targets.items():
        targets[split], found = find_clips(table, down, full)
        copies |= found
    rows = pd.concat([table.rows for table in targets.values()])
    last_s = rows.groupby('video_id')['time_s'].max()
    wanted = {name: (copies[name], int(last_s[name])) for name in copies}
    if watch.lengths or watch.frames:
        wanted = {name: (both, 0) for name, both in _copies_of_all(down, full).items()} | wanted
    rates = {clip.video_id: clip.frame_rate for clip in detected.clips}
    headers = read_headers(wanted, job.workers, watch.frames or bool(job.detections), rates)
    targets = {split: check_times(check_headers(table, headers), headers) for split, table in targets.items()}
    boxes, faults, more = given.by_clip({name: headers[name] for name in copies})
    first = next(iter(targets))
    targets[first] = targets[first].with_more(problems + faults, notes + more)
    empty = [row for table in targets.values() for row in table.empty]
    watched = set(headers) if watch.others_empty else {*rows['video_id'], *(name for name, _ in empty)}
    looked_at = clip_looks.looks_of_table(rows, empty, _last_frames(headers), watch.others_empty)
    return Plan(
        targets,
        copies,
        labels,
        in_pixels=detected.in_pixels(),
        headers=headers,
        looked_at=looked_at,
        watched=frozenset(watched),
        boxes=boxes,
    )


def _plan_detections(job: Job, watch: Watch, down: Archive | None, full: Archive | None) -> Plan:
    """Returns a plan with one split, `test`: the seconds with an animal, each with its best box."""
    main, name = full or down, epath.Path(job.detections).name
    found = read_detections(job.detections, job.min_confidence, job.animals, main.video_id_of)
    clips = {clip.video_id: clip for clip in found.clips}
    seen = every_second([video_id for video_id, clip in clips.items() if clip.sightings])
    broken = {problem.video_id for problem in found.problems}
    n_empty = len(clips.keys() - broken - set(seen.rows['video_id']))
    notes = found.notes + ([f'{n_empty} clips without an animal are left out'] if n_empty else [])
    seen, copies = find_clips(seen._replace(problems=found.problems, notes=notes), down, full)
    rates = {video_id: clip.frame_rate for video_id, clip in clips.items()}
    headers = read_headers({video_id: (copies[video_id], 0) for video_id in copies}, job.workers, True, rates)
    seen = check_headers(seen, headers)
    timed = {video_id: time_sightings(clips[video_id], headers[video_id]) for video_id in seen.rows['video_id']}
    rows = [
        {'video_id': video_id, 'time_s': second, 'box': sighting.box, 'label': sighting.label}
        for video_id, clip in timed.items()
        for second, sighting in best_by_second(clip.sightings, clip.times_s).items()
    ]
    rows = pd.DataFrame(rows, columns=['video_id', 'time_s', 'box', 'label'])
    faults = [Problem(video_id, name, 'detections', clip.fault) for video_id, clip in timed.items() if clip.fault]
    targets = seen._replace(
        rows=rows.assign(animal='', distance_m=np.nan, site='', park='', row=''),
        problems=seen.problems + faults,
        notes=seen.notes + rate_note({each: (rates[each], headers[each].frame_rate) for each in timed}),
    )
    if watch.lengths or watch.frames:
        others = {other: (both, 0) for other, both in _copies_of_all(down, full).items() if other not in copies}
        headers |= read_headers(others, job.workers, watch.frames, rates)
    readable = {video_id: header for video_id, header in headers.items() if isinstance(header, Header)}
    every_s = watch.detector_every_s if watch.frames else None
    if watch.frames:
        targets = targets._replace(notes=targets.notes + clip_looks.best_frames_note(name, found.clips, every_s))
    return Plan(
        {'test': check_times(targets, headers)},
        copies,
        None,
        in_pixels=found.in_pixels(),
        headers=headers,
        looked_at=clip_looks.looks_of_detector(found.clips, readable, every_s),
        looks_fault=clip_looks.looks_fault(name, found.clips, every_s),
        watched=frozenset(clips),
        unlooked=clip_looks.unlooked(found, main, name),
        boxes={video_id: clip_boxes.boxes_of_sightings(clip) for video_id, clip in timed.items()},
    )


def _copies_of_all(down: Archive | None, full: Archive | None) -> dict[str, Copies]:
    return find_clips(every_second((full or down).clips()), down, full)[1]


def _last_frames(headers: dict[str, Header | str]) -> dict[str, float]:
    return {name: clip_looks.last_frame_s(header) for name, header in headers.items() if isinstance(header, Header)}
