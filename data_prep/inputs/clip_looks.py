"""Tells for each clip in which frames or seconds a detector or a person looked, from their files and the clips."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from data_prep.archive import Archive, is_photo
from data_prep.inputs.detections import ClipDetections, Detections
from data_prep.inputs.frame_times import seconds_of_frames
from data_prep.inputs.headers import Header
from data_prep.inputs.looked_at import LookedAt, detector_looks, stated_frames, table_looks

# So many clips with one animal each, in one of several frames, are no chance: the detector's converter from frames to
# clips keeps the most confident frame of each clip, although the file lists all frames.
_BEST_FRAMES_ONLY = 5
_SEVERAL_FRAMES = 3


def last_frame_s(header: Header) -> float:
    """Returns the time of a clip's last frame in seconds; infinite if neither header nor frames give the length."""
    if len(header.frame_times_s):
        return float(header.frame_times_s[-1])
    return max(0.0, header.end_s - 1 / header.frame_rate) if header.frame_rate else header.end_s


def looks_of_detector(
    clips: Sequence[ClipDetections], headers: Mapping[str, Header], every_s: float | None
) -> dict[str, LookedAt]:
    """Returns {video_id: where the detector looked} of the clips with a header.

    every_s: the seconds between the detector's frames as the user states them, for files that do not list the frames.
    Raises ValueError if a clip contradicts every_s.
    """
    looks = {}
    for clip in clips:
        if clip.video_id not in headers:
            continue
        header = headers[clip.video_id]
        processed = _stated(clip, header, every_s) if clip.frames_processed is None else clip.frames_processed
        processed_s = None if processed is None else _times(processed, clip, header)
        seen_s = _times([sighting.frame_number for sighting in clip.sightings], clip, header)
        looks[clip.video_id] = detector_looks(processed_s, seen_s)
    return looks


def looks_of_table(
    rows: pd.DataFrame, empty: Sequence[tuple[str, int]], last_s: Mapping[str, float], others_empty: bool
) -> dict[str, LookedAt]:
    """Returns {video_id: where a person looked} of the clips in last_s, {video_id: time of the last frame}.

    rows: video_id and time_s, one for each animal of a second. empty: the others in which the person looked.
    others_empty: the person watched every clip to its end.
    """
    seen_s = rows.groupby('video_id')['time_s'].agg(list).to_dict()
    empty_s: dict[str, list[int]] = {}
    for video_id, second in empty:
        empty_s.setdefault(video_id, []).append(second)
    watched = set(last_s) if others_empty else set(last_s) & (set(seen_s) | set(empty_s))
    return {
        name: table_looks(
            seen_s.get(name, []),
            empty_s.get(name, []),
            math.floor(last_s[name]) if others_empty and math.isfinite(last_s[name]) else None,
        )
        for name in sorted(watched)
    }


def looks_of_every_second(last_s: Mapping[str, float], every_s: int) -> dict[str, LookedAt]:
    """Returns looks for clips that have an animal in every second, of which each every_s-th one is estimated."""
    return {
        name: table_looks(range(0, math.floor(end_s) + 1, every_s), [])
        for name, end_s in last_s.items()
        if math.isfinite(end_s)
    }


def looks_fault(file: str, clips: Sequence[ClipDetections], every_s: float | None) -> str:
    """Returns why a detector's file does not tell where the detector looked, '' if the file or every_s tells."""
    if every_s is not None:
        return ''
    silent = [clip.video_id for clip in clips if clip.frames_processed is None]
    if silent:
        return (
            f'{file} does not say in which frames the detector looked ({len(silent)} of {len(clips)} clips have no '
            f'frames_processed, first {silent[0]})'
        )
    n_seen = _best_frames_only(clips)
    if n_seen >= _BEST_FRAMES_ONLY:
        return f'{file} seems to hold the best frame of each clip alone: each of {n_seen} clips has one animal'
    return ''


def best_frames_note(file: str, clips: Sequence[ClipDetections], every_s: float | None) -> list[str]:
    """Returns a note if few clips look like those of looks_fault: too few to refuse the file."""
    n_seen = _best_frames_only(clips)
    if every_s is not None or not 1 < n_seen < _BEST_FRAMES_ONLY:
        return []
    return [
        f'{file}: each of the {n_seen} clips with an animal has one in a single frame; if the file holds the best '
        'frame of a clip alone, the density is too low'
    ]


def unlooked(found: Detections, archive: Archive, file: str) -> dict[str, str]:
    """Returns {video_id: reason} of the clips in the folder of which the detector's file tells nothing."""
    named = {clip.video_id for clip in found.clips}
    reasons = {problem.video_id: problem.reason for problem in found.problems}
    missing = f'{file} does not name it; run the detector on it'
    for path in sorted(named.difference(archive.clips())):
        if len(likely := archive.likely(path)) == 1:
            reasons.setdefault(likely[0], f'{file} may name it as {path!r}; correct the path there')
    return {video_id: reasons.get(video_id, missing) for video_id in archive.clips() if video_id not in named}


def _best_frames_only(clips: Sequence[ClipDetections]) -> int:
    """Returns the number of clips with an animal if each has one animal in several frames, else 0. No photos."""
    seen = [clip for clip in clips if clip.sightings and not is_photo(clip.video_id)]
    single = all(len(clip.sightings) == 1 and len(clip.frames_processed or ()) >= _SEVERAL_FRAMES for clip in seen)
    return len(seen) if single else 0


def _times(numbers: Sequence[int], clip: ClipDetections, header: Header) -> np.ndarray:
    """Returns the times of frames in seconds, without the frames that the clip does not have."""
    times_s = seconds_of_frames(numbers, header, clip.frame_rate)
    return times_s[~np.isnan(times_s)]


def _stated(clip: ClipDetections, header: Header, every_s: float | None) -> list[int] | None:
    rate = clip.frame_rate or header.frame_rate
    end_s = last_frame_s(header)
    if every_s is None or not rate or not math.isfinite(end_s):
        return None
    n_frames = len(header.frame_times_s) or math.floor(end_s * rate) + 1
    try:
        return stated_frames(every_s, rate, n_frames, {sighting.frame_number for sighting in clip.sightings})
    except ValueError as fault:
        raise ValueError(f'{clip.video_id}: {fault}; correct --detector_every, or leave it out') from None
