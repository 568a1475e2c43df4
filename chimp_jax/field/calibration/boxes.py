"""The boxes of a detector with their times, sizes and foot points: a row for each box."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.stations.ground_plane import foot_points
from data_prep.inputs.detections import ClipDetections
from data_prep.inputs.frame_times import time_sightings
from data_prep.inputs.headers import Header

CORNERS = ['x1', 'y1', 'x2', 'y2']
COLUMNS = ['video_id', 'time', 'time_s', 'frame_number', 'confidence', 'label', *CORNERS, 'x', 'y', 'feet_cut']


def boxes_of(
    clips: Sequence[ClipDetections], headers: Mapping[str, Header | str], size_px: Mapping[str, tuple[int, int]]
) -> pd.DataFrame:
    """Returns a row with COLUMNS for each box of the clips that have a header.

    time: the whole second; time_s: the time of the frame in seconds; corners, and the foot point x, y, in shares of the
    picture. size_px: {video_id: (height, width)} for boxes in pixels; a clip without it has no boxes then.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    for clip in clips:
        header = headers.get(clip.video_id)
        if not clip.sightings or not isinstance(header, Header):
            continue
        timed = time_sightings(clip, header)
        box = np.array([sighting.box for sighting in timed.sightings], float).reshape(-1, 4)
        if clip.box_unit != 'share':
            height, width = size_px.get(clip.video_id, (np.nan, np.nan))
            box = np.clip(box / [width, height, width, height], 0, 1)
        rows = pd.DataFrame(box, columns=CORNERS).assign(
            video_id=clip.video_id,
            time=np.maximum(np.floor(timed.times_s), 0).astype(int),
            time_s=timed.times_s,
            frame_number=[sighting.frame_number for sighting in timed.sightings],
            confidence=[sighting.confidence for sighting in timed.sightings],
            label=[sighting.label for sighting in timed.sightings],
        )
        parts.append(rows.dropna(subset=CORNERS))
    rows = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    x, y, feet_cut = foot_points(rows[CORNERS].to_numpy(float))
    return rows.assign(x=x, y=y, feet_cut=feet_cut)[COLUMNS]


def best_feet(boxes: pd.DataFrame) -> pd.DataFrame:
    """Returns (video_id, time, x, y) of the most confident box of each second, NaN if its feet are cut off."""
    best = boxes.sort_values(['confidence', 'frame_number'], ascending=[False, True], kind='stable')
    best = best.drop_duplicates(KEY)
    seen = ~best['feet_cut'].astype(bool)
    return best[KEY].assign(x=best['x'].where(seen), y=best['y'].where(seen)).reset_index(drop=True)
