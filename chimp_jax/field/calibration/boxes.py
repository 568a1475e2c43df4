"""The boxes of a detector with their times, tracks, sizes and foot points: a row for each box."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from chimp_jax.animals.tracks import follow, iou
from chimp_jax.ensemble.prediction_tables import KEY, SECOND
from chimp_jax.stations.ground_plane import foot_points
from data_prep.inputs.detections import ClipDetections
from data_prep.inputs.frame_times import time_sightings
from data_prep.inputs.headers import Header

CORNERS = ['x1', 'y1', 'x2', 'y2']
MOST_OVERLAP = 0.5  # of boxes of different animals in one frame; boxes that overlap more may be of one animal
TIMED = ['video_id', 'time', 'animal', 'time_s', 'frame_number', 'confidence', 'label', *CORNERS, 'in_pixels']
COLUMNS = [*TIMED[:-1], 'x', 'y', 'feet_cut']


def timed_boxes(clips: Sequence[ClipDetections], headers: Mapping[str, Header | str]) -> pd.DataFrame:
    """Returns a row with TIMED for each box of the clips that have a header, without the names of animals.

    time: the whole second; time_s: the time of the frame in seconds; corners: shares of the picture, or pixels.
    """
    parts = [pd.DataFrame(columns=TIMED)]
    for clip in clips:
        header = headers.get(clip.video_id)
        if not clip.sightings or not isinstance(header, Header):
            continue
        timed = time_sightings(clip, header)
        box = np.array([sighting.box for sighting in timed.sightings], float).reshape(-1, 4)
        rows = pd.DataFrame(box, columns=CORNERS).assign(
            video_id=clip.video_id,
            time=np.maximum(np.floor(timed.times_s), 0).astype(int),
            animal='',
            time_s=timed.times_s,
            frame_number=[sighting.frame_number for sighting in timed.sightings],
            confidence=[sighting.confidence for sighting in timed.sightings],
            label=[sighting.label for sighting in timed.sightings],
            in_pixels=clip.box_unit != 'share',
        )
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)[TIMED] if len(parts) > 1 else parts[0]


def follow_boxes(boxes: pd.DataFrame, least_confidence: float) -> pd.DataFrame:
    """Returns the boxes (TIMED) that belong to a track, with its name as `animal`.

    A box below least_confidence belongs to a track only if it continues one.
    """
    named = boxes.copy()
    for _, part in boxes.groupby('video_id'):
        corners, times_s = part[CORNERS].to_numpy(float), part['time_s'].to_numpy(float)
        confidence = part['confidence'].to_numpy(float)
        named.loc[part.index, 'animal'] = follow(times_s, corners, confidence, weak=least_confidence)
    return named[named['animal'] != ''].reset_index(drop=True)


def best_boxes(boxes: pd.DataFrame) -> pd.DataFrame:
    """Returns the most confident box of each animal in each second, the earlier one if two are equal. Sorted by KEY."""
    best = boxes.sort_values(['confidence', 'frame_number'], ascending=[False, True], kind='stable')
    return best.drop_duplicates(KEY).sort_values(KEY, ignore_index=True)


def add_feet(boxes: pd.DataFrame, size_px: Mapping[str, tuple[int, int]]) -> pd.DataFrame:
    """Returns the boxes (TIMED) with COLUMNS: corners and foot points x, y in shares of the picture.

    size_px: {video_id: (height, width)} for boxes in pixels; a clip without it loses its boxes.
    """
    sizes = [size_px.get(name, (np.nan, np.nan)) for name in boxes['video_id']]
    height, width = np.array(sizes, float).reshape(-1, 2).T
    scale = np.where(boxes[['in_pixels']].to_numpy(bool), np.stack([width, height, width, height], axis=1), 1.0)
    corners = boxes[CORNERS].to_numpy(float) / scale
    rows = boxes.assign(**dict(zip(CORNERS, np.clip(corners, 0, 1).T, strict=True)))
    rows = rows.dropna(subset=CORNERS).reset_index(drop=True)
    x, y, feet_cut = foot_points(rows[CORNERS].to_numpy(float))
    return rows.assign(x=x, y=y, feet_cut=feet_cut)[COLUMNS]


def best_feet(boxes: pd.DataFrame) -> pd.DataFrame:
    """Returns (video_id, time, x, y, others) of the most confident box of each second, NaN if its feet are cut off.

    others: how many other boxes of its frame may be the one that is meant. They have at least half of its confidence
    and overlap it by less than MOST_OVERLAP (intersection over union).
    """
    ordered = boxes.sort_values(['confidence', 'frame_number'], ascending=[False, True], kind='stable')
    best = ordered.drop_duplicates(SECOND)
    seen = ~best['feet_cut'].astype(bool)
    feet = best[SECOND].assign(x=best['x'].where(seen), y=best['y'].where(seen))
    frames = dict(list(ordered.groupby(['video_id', 'frame_number'])))
    others = [_others(row, frames[row.video_id, row.frame_number]) for row in best.itertuples()]
    return feet.assign(others=np.array(others, int)).reset_index(drop=True)


def _others(best, frame: pd.DataFrame) -> int:
    """Returns how many boxes of a frame, besides the best one, may be the one that is meant."""
    overlap = iou(np.array([[getattr(best, name) for name in CORNERS]], float), frame[CORNERS].to_numpy(float))[0]
    near = frame['confidence'].to_numpy(float) >= best.confidence / 2
    return int((near & (overlap < MOST_OVERLAP)).sum())
