"""The figures at real stations, and folders of others."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import real_stations

HOGE_VELUWE = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'hoge_veluwe'
HEADER = 'station,image,distance_m,x_px,y_px,width_px,height_px'


def write(folder: Path, rows: list[str]) -> Path:
    (folder / 'points.csv').write_text('\n'.join([HEADER, *rows]) + '\n')
    return folder


def station(name: str, b1: float, n: int) -> list[str]:
    """n points of a plane without noise in pictures of 1000 x 500 pixels: y = 0.45 + b1 / r."""
    distances = np.linspace(2, 9, n)
    return [f'{name},a.jpg,{r},{100 + 800 * (i % 2)},{500 * (0.45 + b1 / r)},1000,500' for i, r in enumerate(distances)]


@pytest.mark.skipif(not HOGE_VELUWE.exists(), reason='needs ../shared/data/hoge_veluwe')
def test_the_goals_at_ten_real_stations(tmp_path, capsys):
    real_stations.main([str(HOGE_VELUWE), '--json', str(tmp_path / 'out.json')])
    found = json.loads((tmp_path / 'out.json').read_text())
    assert list(found) == ['0', '1', '3', '5', '10']
    assert found['3']['mae_m'] <= 1.15 and found['3']['mae_near_m'] <= 0.45 and found['10']['mae_m'] <= 0.85
    assert all(0.86 <= row['coverage'] <= 0.94 for row in found.values())
    # The figures in the docs.
    maes = [row['mae_m'] for row in found.values()]
    assert maes == pytest.approx([1.47, 1.13, 0.89, 0.77, 0.68], abs=0.03)
    assert all(row['refused'] < 0.002 for row in found.values())
    told = capsys.readouterr().out
    assert '10 stations, 224 points' in told and 'from the other 9 stations' in told and 'default' in told


def test_figures_by_hand():
    """The second distance is refused. Near (8 m included): 1 and 0.2; far: 3. Two of three are covered."""
    errors = real_stations.StationErrors(
        np.array([2.0, 5.0, 8.0, 9.0]), np.array([1.0, np.nan, 0.2, 3.0]), np.array([True, False, True, False]), []
    )
    expected = {'mae_m': 1.4, 'median_m': 1.0, 'mae_near_m': 0.6, 'mae_far_m': 3.0, 'coverage': 2 / 3, 'refused': 0.25}
    assert errors.figures() == pytest.approx(expected | {'n': 3})


def test_the_prior_of_a_station_does_not_know_it():
    rng = np.random.default_rng(0)
    points = {}
    for i in range(7):
        x, r = rng.uniform(0, 1, 6), rng.uniform(2, 12, 6)
        points[str(i)] = (x, 0.5 + rng.normal(1.2, 0.1) / r, r)
    before, _ = real_stations.other_stations_priors(points)
    x, y, r = points['0']
    after, _ = real_stations.other_stations_priors(points | {'0': (x, y + 0.3, r)})
    assert np.array_equal(before['0'].mean, after['0'].mean)
    assert not np.array_equal(before['1'].mean, after['1'].mean)


def test_planes_without_noise_are_located(tmp_path):
    """Six stations: with ten known points the error is a few centimetres."""
    rows = [row for i, b1 in enumerate((1.1, 1.2, 1.3, 1.4, 1.5, 1.6)) for row in station(f'S{i}', b1, 14)]
    real_stations.main([str(write(tmp_path, rows)), '--json', str(tmp_path / 'out.json')])
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['10']['mae_m'] < 0.15 < found['0']['mae_m']
    assert found['10']['coverage'] > 0.99
    assert found['0']['n'] == 6 * 14 and found['10']['n'] == 6 * 4 * 20


def test_one_station_has_the_default_prior_and_short_ones_are_left_out(tmp_path, capsys):
    real_stations.main([str(write(tmp_path, station('S1', 1.4, 4))), '--json', str(tmp_path / 'out.json')])
    told = capsys.readouterr().out
    assert 'fewer than 5 other stations are left' in told
    assert '5 known points: left out S1 (no point left to test)' in told
    assert told.split('points inside the picture')[0].count('| known points |') == 1
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found['3']['n'] == 20 and found['5']['mae_m'] is None and found['10']['coverage'] is None


def test_the_same_call_gives_the_same_figures(tmp_path):
    points = real_stations.read_points(write(tmp_path, station('S1', 1.3, 6)) / 'points.csv')
    priors, _ = real_stations.other_stations_priors(points)
    first, second = (real_stations.measure(points, priors, 3) for _ in range(2))
    assert np.array_equal(first.error_m, second.error_m) and len(first.error_m) == 3 * 20


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (['S1,a.jpg,,1,1,10,10'], r'points.csv:2: distance_m is missing; correct or remove the row'),
        (['S1,a.jpg,3,1,1,10,10', 'S1,a.jpg,-3,1,1,10,10'], r'points.csv:3: distance_m is -3 and must be above 0'),
        (['S1,a.jpg,3,one,1,10,10'], r'points.csv:2: x_px .*one'),
        ([',a.jpg,3,1,1,10,10'], r'points.csv:2: station is missing'),
        ([], r'points.csv has no row'),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path, rows, message):
    with pytest.raises(SystemExit, match=message) as refused:
        real_stations.main([str(write(tmp_path, rows))])
    assert '\n' not in str(refused.value)


def test_a_missing_column_or_file_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match='cannot be read'):
        real_stations.main([str(tmp_path)])
    (tmp_path / 'points.csv').write_text('station,image,x_px,y_px,width_px,height_px\nS1,a,1,1,10,10\n')
    with pytest.raises(SystemExit, match='lacks the column distance_m'):
        real_stations.main([str(tmp_path)])
