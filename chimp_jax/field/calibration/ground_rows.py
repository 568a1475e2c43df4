"""Distances from the ground: of each box of a detector, and of the targets."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.field.calibration.boxes import CORNERS, best_boxes
from chimp_jax.field.calibration.grounds import FittedGround, Grounds
from chimp_jax.field.estimates import Estimated
from chimp_jax.stations import ground_plane

# Why a box has no distance from the ground: the reason of ground_plane.locate -> in words.
REASONS = {
    'feet_cut': 'the feet are cut off by the edge of the picture',
    'above_horizon': 'the feet are above the horizon of the ground',
}
NO_BOX = 'there is no box in this second'
COLUMNS = [
    *('video_id', 'time_s', 'animal', 'frame_number', 'station', 'distance', 'distance_lower', 'distance_upper'),
    *('angle', 'flags', 'confidence', *BOX, 'label'),
]


def locate_boxes(
    boxes: pd.DataFrame,
    grounds: Grounds,
    coverage: float,
    theta_deg: float | None,
    doubtful: Collection[str] = (),
) -> pd.DataFrame:
    """Adds to each box (boxes.COLUMNS) its distance from the ground of its clip's station.

    Adds station; distance, distance_lower, distance_upper (metres, NaN without a distance); spread_log, the standard
    deviation of the distance's logarithm; angle (degrees from the middle of the picture, NaN if theta_deg is None);
    reason and flags. theta_deg: the camera's horizontal angle of view. doubtful: video_ids of clips whose camera may
    stand elsewhere. A box of a clip without a ground has no distance.
    """
    by_clip = grounds.of_clip()
    located = boxes.assign(station='', reason='', flags='', **dict.fromkeys(_NUMBERS, np.nan))
    for one in {id(one): one for one in by_clip.values()}.values():
        here = boxes['video_id'].isin(one.camera.clips).to_numpy()
        if here.any():
            x, y = (boxes.loc[here, name].to_numpy(float) for name in ('x', 'y'))
            found = ground_plane.locate(one.ground, x, y, coverage, boxes.loc[here, 'feet_cut'].to_numpy(bool))
            located.loc[here, list(_NUMBERS[:4])] = np.stack(
                [found.distance_m, found.lower_m, found.upper_m, found.spread_log], axis=1
            )
            located.loc[here, 'station'] = one.camera.station
            located.loc[here, 'reason'] = found.reason
            located.loc[here, 'flags'] = _flags(one, grounds, found.reason)
    unsure = boxes['video_id'].isin(list(doubtful))
    located.loc[unsure, 'flags'] = (located.loc[unsure, 'flags'] + ' camera_unsure').str.strip()
    if theta_deg is not None:
        located['angle'] = ground_plane.angle_deg(boxes['x'].to_numpy(float), theta_deg)
    return located


_NUMBERS = ('distance', 'distance_lower', 'distance_upper', 'spread_log', 'angle')


def best_located(located: pd.DataFrame) -> pd.DataFrame:
    """Returns the most confident box of each animal in each second, indexed by KEY."""
    return best_boxes(located).set_index(KEY)


def from_ground(targets: pd.DataFrame, best: pd.DataFrame) -> Estimated:
    """Returns the distances of targets (KEY) from their boxes. best: of best_located."""
    found = best.reindex(pd.MultiIndex.from_frame(targets[KEY]))
    numbers = (found[name].to_numpy(float) for name in ('distance', 'distance_lower', 'distance_upper'))
    reason = [REASONS.get(name, name) for name in found['reason'].fillna(NO_BOX)]
    return Estimated(*numbers, list(found['flags'].fillna('')), reason)


def boxes_table(located: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of boxes.csv: COLUMNS, sorted by clip and time."""
    x1, y1, x2, y2 = (located[name].to_numpy(float) for name in CORNERS)
    box = dict(zip(BOX, (x1, y1, x2 - x1, y2 - y1), strict=True))
    rows = located.assign(**box)[COLUMNS].sort_values(['video_id', 'time_s', 'confidence'], kind='stable')
    return rows.round(4).reset_index(drop=True)


def _flags(one: FittedGround, grounds: Grounds, reason: np.ndarray) -> list[str]:
    """Returns the flags of boxes with the same ground."""
    shared = []
    if not one.ground.n:
        shared.append('camera_moved' if _moved(one, grounds.of_station(one.camera.station)) else 'no_known_point')
    if not one.fits:
        shared.append('ground_unfit')
    return [' '.join([*([why] if why else []), *shared]) for why in reason]


def _moved(one: FittedGround, same_station: list[FittedGround]) -> bool:
    """Returns whether the station has known points, but of before or after a move of its camera."""
    return any(other.ground.n for other in same_station)


def missing_reasons(located: pd.DataFrame) -> dict[str, str]:
    """Returns {video_id: how many of its rows have no distance, and why}. located: rows with a reason."""
    reasons: dict[str, str] = {}
    for video_id, part in located[located['reason'] != ''].groupby('video_id'):
        counts = part['reason'].value_counts()
        reasons[video_id] = '; '.join(f'{REASONS[name]} in {n} seconds' for name, n in counts.items())
    return reasons
