"""stations.json: what is written is read again, and a damaged file is refused in one line."""

import json

import numpy as np
import pytest

from chimp_jax.field.calibration.station_file import (
    CameraEpoch,
    CameraStation,
    MeasuredPoint,
    PriorOrigin,
    StationsFile,
    read_stations,
    write_stations,
)


def content(**changes) -> StationsFile:
    point = MeasuredPoint('a/1.mp4', 3, 4.0, np.float32(0.25), 1.125, np.nan, None, np.bool_(True), 'known.csv:2')
    epoch = {'clips': ('a/1.mp4',), 'picture': 'a/1.mp4', 'second': np.int64(3), 'mean': np.array([1.4, 0.45, 0.02])}
    epoch |= {'covariance': np.eye(3), 'noise': 0.02, 'n': 1, 'known': (point,), 'mae_m': np.nan, 'notes': ('"ä" <b>',)}
    station = CameraStation('Ridge', (CameraEpoch(**epoch | changes),), ())
    return StationsFile(PriorOrigin('Hoge Veluwe', 20), None, (station,))


def test_file_has_the_names_of_the_contract_and_no_nan(tmp_path):
    write_stations(tmp_path / 'stations.json', content())
    text = (tmp_path / 'stations.json').read_text()
    assert 'NaN' not in text
    (epoch,) = json.loads(text)['stations'][0]['epochs']
    assert epoch['known'] == [
        {
            'video_id': 'a/1.mp4', 'time': 3, 'distance': 4.0, 'x': 0.25, 'y': 1.125, 'estimate': None,
            'residual_sd': None, 'off': True, 'row': 'known.csv:2',
        }
    ]  # fmt: skip
    assert epoch['mean'] == [1.4, 0.45, 0.02] and epoch['covariance'] == np.eye(3).tolist() and epoch['mae_m'] is None


def test_what_is_written_is_read(tmp_path):
    write_stations(tmp_path / 'stations.json', content())
    found = read_stations(tmp_path / 'stations.json')
    (epoch,) = found.stations[0].epochs
    assert (found.prior, found.theta_deg) == (PriorOrigin('Hoge Veluwe', 20), None)
    assert (epoch.mean, epoch.n, epoch.mae_m, epoch.notes) == ((1.4, 0.45, 0.02), 1, None, ('"ä" <b>',))
    assert epoch.known == (MeasuredPoint('a/1.mp4', 3, 4.0, 0.25, 1.125, None, None, True, 'known.csv:2'),)
    write_stations(tmp_path / 'again.json', found)
    assert (tmp_path / 'again.json').read_bytes() == (tmp_path / 'stations.json').read_bytes()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'mean': (1.4, 0.45)}, 'stations 1: epochs 1: mean: has 2 values and must have 3; correct'),
        ({'mean': (1.4, np.nan, 0)}, 'mean 2: null must be a number'),
        ({'noise': np.inf}, 'noise: null must be a number'),
        ({'n': True}, 'n: true must be a whole number'),
        ({'n': 1.5}, 'n: 1.5 must be a whole number'),
        ({'notes': 'text'}, 'notes: "text" must be a list'),
        ({'second': None}, 'second: null must be a whole number'),
    ],
)
def test_a_wrong_value_is_not_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_stations(tmp_path / 'stations.json', content(**change))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda text: text[:-9], r'stations\.json is not JSON \(.*\); run the same'),
        (lambda text: '[]', r'stations\.json: \[\] must hold names and values; run the same'),
        (lambda text: text.replace('"off": true, ', '').replace('"off": true,', ''), 'known 1: off is missing; run'),
        (lambda text: text.replace('"time": 3', '"time": "3"'), 'known 1: time: "3" must be a whole number; run'),
        (lambda text: text.replace('1.125', 'NaN').replace('0.02', 'Infinity'), 'mean 3: null must be a number; run'),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, message):
    path = tmp_path / 'stations.json'
    write_stations(path, content())
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        read_stations(path)
    assert '\n' not in str(caught.value)
