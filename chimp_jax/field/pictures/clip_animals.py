"""The animals of one clip: the boxes of a detector's file become targets of the clip, one per animal of a second."""

import os
from pathlib import PurePosixPath

import numpy as np

from chimp_jax.field.calibration import boxes
from data_prep.archive import plain_name
from data_prep.inputs.detections import ClipDetections, Detections, read_detections
from data_prep.inputs.frame_times import time_sightings
from data_prep.inputs.headers import Copies, read_headers
from data_prep.workers.clip_record import ClipTask


def targets_of_animals(path: str, detections, least_confidence: float, least_of_track: float) -> ClipTask:
    """Returns what to decode of a clip: the seconds with an animal, each once for each animal, and all boxes of tracks.

    path: of the clip, local or gs://. detections: a results file of MegaDetector. least_confidence: of a box that is a
    target, 0..1. least_of_track: of a box that continues a track. Raises ValueError, in one line, if the file does not
    fit the clip or has no animal in it.
    """
    video_id = PurePosixPath(path).name
    found = read_detections(detections, min(least_of_track, least_confidence), video_id_of=plain_name)
    clip = _clip_of(found, path, str(detections))._replace(video_id=video_id)
    headers = read_headers({video_id: (Copies(None, path), 0)}, 1, True, {video_id: clip.frame_rate})
    if isinstance(headers[video_id], str):
        raise ValueError(f'{path}: {headers[video_id]}')
    if fault := time_sightings(clip, headers[video_id]).fault:
        raise ValueError(f'{detections}: {path}: {fault}')
    followed = boxes.follow_boxes(boxes.timed_boxes([clip], headers), least_confidence)
    best = boxes.best_boxes(followed[followed['confidence'] >= least_confidence])
    if best.empty:
        raise ValueError(
            f'{detections}: there is no animal in {path}; leave the boxes out for a distance of every second'
        )
    columns = ['time_s', 'confidence', *boxes.CORNERS, 'animal']
    return ClipTask(
        video_id=video_id,
        down_path=None,
        full_path=path,
        target_time_s=best['time'].tolist(),
        target_animal=best['animal'].tolist(),
        target_box=list(map(tuple, best[boxes.CORNERS].to_numpy(float))),
        boxes=list(followed[columns].itertuples(index=False, name=None)),
        box_in_pixels=bool(np.any(followed['in_pixels'])),
    )


def _clip_of(found: Detections, path: str, file: str) -> ClipDetections:
    """Returns the detections of the clip at a path. Raises ValueError if the file does not name it once.

    A name in the file means the clip if it ends as the path does, with the folder of the clip or alone.
    """
    own = _parts(path if '://' in path else os.path.abspath(path))
    names = {clip.video_id: clip for clip in found.clips}
    reasons = {problem.video_id: problem.reason for problem in found.problems}
    n_equal = {name: _n_equal_at_end(_parts(name), own) for name in {*names, *reasons}}
    meant = [name for name, n in n_equal.items() if n >= min(2, len(_parts(name)))]
    best = [name for name in sorted(meant) if n_equal[name] == max(n_equal[other] for other in meant)]
    if not best:
        alike = sorted(name for name, n in n_equal.items() if n)
        hint = f'; it names {alike[0]}, in another folder' if alike else ''
        raise ValueError(f'{file} does not name {path}{hint}; run the detector on this clip')
    if len(best) > 1:
        raise ValueError(f'{file} names {best[0]} and {best[1]}, and both may be {path}; remove one from the file')
    if best[0] not in names:
        raise ValueError(f'{file}: {best[0]}: {reasons[best[0]]}')
    return names[best[0]]


def _parts(path: str) -> list[str]:
    return plain_name(path).casefold().split('/')


def _n_equal_at_end(a: list[str], b: list[str]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n]:
        n += 1
    return n
