"""Makes the content of stations.json for tests of the page."""

import numpy as np

from chimp_jax.field.calibration.station_file import (
    CameraEpoch,
    CameraStation,
    MeasuredPoint,
    PriorOrigin,
    StationsFile,
)

MEAN = (1.4, 0.45, 0.1)


def measured(distance=4.0, x=0.5, y=0.8, **changes) -> MeasuredPoint:
    fields = {
        'video_id': 'a/1.mp4',
        'time': 1,
        'estimate': 4.25,
        'residual_sd': 0.5,
        'off': False,
        'row': 'known.csv:2',
    }
    return MeasuredPoint(distance=distance, x=x, y=y, **fields | changes)


def camera_epoch(known=(), **changes) -> CameraEpoch:
    fields = {'clips': ('a/1.mp4',), 'picture': 'a/1.mp4', 'second': 0, 'mean': MEAN, 'noise': 0.02, 'mae_m': None}
    fields |= {'covariance': tuple(map(tuple, np.eye(3).tolist())), 'n': len(known), 'known': tuple(known), 'notes': ()}
    return CameraEpoch(**fields | changes)


def stations_file(*stations: CameraStation, theta_deg=None) -> StationsFile:
    return StationsFile(PriorOrigin('Hoge Veluwe, 20 stations', 20), theta_deg, tuple(stations))
