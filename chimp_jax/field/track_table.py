"""tracks.csv: a row for each animal that was followed through a clip, with its path, speed and time in view.

Speed, radius and angle are for random encounter models, times in view for staying-time models. Their columns have the
names that the R packages camtrapDensity and camtraptor give to individualSpeed, individualPositionRadius and
individualPositionAngle of Camtrap DP: the position is the first one (Rowcliffe et al. 2011,
https://doi.org/10.1111/j.2041-210X.2011.00094.x).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import scipy

from chimp_jax.animals.motion import ANGLE_SD_DEG, Motion, estimate_motion
from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field.calibration.fusion import sd_log_of
from chimp_jax.field.flags import ONE_FOR_ALL
from chimp_jax.field.status import CORRECTED

TRACK_COLUMNS = [
    *['video_id', 'animal', 'label', 'start_s', 'end_s', 'time_in_view_s', 'seconds'],
    *['path_length_m', 'speed', 'speed_lower', 'speed_upper', 'radius', 'radius_lower', 'radius_upper'],
    *['angle', 'angle_lower', 'angle_upper', 'nearest_distance_m', 'mean_distance_m', 'last_distance_m', 'last_angle'],
    *['flags', 'reason'],
]
FEW_DISTANCES = 'few_distances'  # more than half of the track's distances are missing
STARTS_AT_EDGE, ENDS_AT_EDGE = 'starts_at_edge', 'ends_at_edge'  # its box touches the left or right edge of the picture
_EDGE = 0.01  # share of the picture's width
# Standard deviations of the logarithm of distances without an interval: a person's, and a member's without OOF rows.
_CORRECTED_SD_LOG, _UNKNOWN_SD_LOG = 0.1, 0.25


def make_tracks(pieces: Iterable[pd.DataFrame], coverage: float) -> Iterator[pd.DataFrame]:
    """Yields tracks.csv, with TRACK_COLUMNS, sorted by clip and animal, a piece for each piece of rows.

    pieces: the rows of distances.csv, each clip in one piece; they are read twice. Rows with the animal '' belong to no
    track. coverage: of the intervals in rows; those of speed and angle have the same. Distances in m, angles in
    degrees, speed in m/s: the mean along the path from the first to the last second with a distance. radius, angle:
    of the first of these seconds; the interval of the radius is that of the row, NaN for a distance of a person, and
    that of the angle comes from ANGLE_SD_DEG. seconds: the number of rows with a distance. time_in_view_s: from the
    first to the last row, and one sampling interval of the clip. A track without a speed has the cause in the column
    reason.
    """
    median_s = pd.Series(np.concatenate([_sampling_intervals(rows).to_numpy() for rows in pieces])).median()
    for rows in pieces:
        interval_s = _sampling_intervals(rows).fillna(median_s)
        tracks = [
            _track(group.sort_values('time'), interval_s[video_id], coverage)
            for (video_id, _), group in rows[rows['animal'] != ''].groupby(['video_id', 'animal'], sort=True)
        ]
        yield pd.DataFrame(tracks, columns=TRACK_COLUMNS)


def _sampling_intervals(rows: pd.DataFrame) -> pd.Series:
    """Returns the sampling interval of each clip in seconds: the least between two of its times, NaN with one time."""
    times = rows[SECOND].drop_duplicates().sort_values(SECOND)
    gaps_s = times['time'].diff().where(times['video_id'] == times['video_id'].shift())
    return gaps_s.groupby(times['video_id']).min().astype(float)


def _track(rows: pd.DataFrame, interval_s: float, coverage: float) -> dict:
    measured = rows[rows['distance'].notna()]
    motion, (first, last) = _motion(rows, coverage), (rows.iloc[0], rows.iloc[-1])
    labels = rows['label'].fillna('')
    labels = labels[labels != '']

    def at(place: int, name: str) -> float:
        return float(measured[name].iloc[place]) if len(measured) else np.nan

    half_deg = float(scipy.special.ndtri((1 + coverage) / 2)) * ANGLE_SD_DEG
    return {
        'video_id': first['video_id'],
        'animal': first['animal'],
        'label': labels.mode().iloc[0] if len(labels) else '',
        'start_s': first['time'],
        'end_s': last['time'],
        'time_in_view_s': last['time'] - first['time'] + interval_s,
        'seconds': len(measured),
        'path_length_m': motion.path_m,
        'speed': motion.speed_m_s,
        'speed_lower': motion.lower_m_s,
        'speed_upper': motion.upper_m_s,
        'radius': at(0, 'distance'),
        'radius_lower': at(0, 'distance_lower'),
        'radius_upper': at(0, 'distance_upper'),
        'angle': at(0, 'angle'),
        'angle_lower': at(0, 'angle') - half_deg,
        'angle_upper': at(0, 'angle') + half_deg,
        'nearest_distance_m': measured['distance'].min(),
        'mean_distance_m': measured['distance'].mean(),
        'last_distance_m': at(-1, 'distance'),
        'last_angle': at(-1, 'angle'),
        'flags': ' '.join(_flags(rows, measured)),
        'reason': motion.reason,
    }


def _motion(rows: pd.DataFrame, coverage: float) -> Motion:
    """Returns the motion of one track."""
    sd_log = sd_log_of(rows['distance'], rows['distance_upper'], coverage)
    assumed = np.where(rows['status'] == CORRECTED, _CORRECTED_SD_LOG, _UNKNOWN_SD_LOG)
    sd_log = np.where(np.isnan(sd_log), assumed, sd_log)
    motion = estimate_motion(rows['time'], rows['distance'], sd_log, rows['angle'], coverage)
    if rows['distance'].isna().all():
        return motion._replace(reason='no distance')
    if motion.reason and rows['angle'].isna().all():
        return motion._replace(reason='no angle: the field of view is missing; give --theta')
    return motion


def _flags(rows: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    at_edge = (rows['bbox_x'] <= _EDGE) | (rows['bbox_x'] + rows['bbox_width'] >= 1 - _EDGE)
    one_for_all = any(ONE_FOR_ALL in text.split() for text in rows['flags'].fillna(''))
    found = {
        FEW_DISTANCES: 2 * len(measured) < len(rows),
        ONE_FOR_ALL: one_for_all,
        STARTS_AT_EDGE: at_edge.iloc[0],
        ENDS_AT_EDGE: at_edge.iloc[-1],
    }
    return [name for name, is_set in found.items() if is_set]
