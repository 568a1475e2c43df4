"""tracks.csv from rows of distances.csv."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from chimp_jax.field.track_table import TRACK_COLUMNS, make_tracks

Z90 = norm.ppf(0.95)


def rows_of(times_s, distance_m, angle_deg, animal='1', **columns):
    """Rows with 90 % intervals of 5 % (standard deviation of the logarithm)."""
    n = len(times_s)
    distance_m = np.broadcast_to(np.asarray(distance_m, float), n)
    table = {
        'video_id': 'a.mp4',
        'time': times_s,
        'animal': animal,
        'distance': distance_m,
        'distance_lower': distance_m * (1 - 0.05 * Z90),
        'distance_upper': distance_m * (1 + 0.05 * Z90),
        'flags': '',
        'status': 'ok',
        'bbox_x': 0.4,
        'bbox_y': 0.4,
        'bbox_width': 0.1,
        'bbox_height': 0.2,
        'angle': angle_deg,
        'label': '',
    }
    return pd.DataFrame({**table, **columns}, index=range(n))


def table(*pieces):
    return pd.concat(make_tracks(pieces, 0.9))


def only(rows):
    tracks = table(rows)
    assert list(tracks) == TRACK_COLUMNS and len(tracks) == 1
    return tracks.iloc[0]


def test_an_animal_that_walks_towards_the_camera():
    # From 12 m to 4 m, straight ahead, 1 m/s. The animal is seen each second, so it is in view for 9 s.
    track = only(
        rows_of(range(9), np.arange(12, 3, -1.0), 0.0, label=['', 'duiker', 'duiker', *['hog'] * 1, *[''] * 5])
    )
    assert track['speed'] == pytest.approx(1, rel=0.1) and track['speed_lower'] < 1 < track['speed_upper']
    assert track['path_length_m'] == pytest.approx(8 * track['speed'])
    expected = {
        'start_s': 0,
        'end_s': 8,
        'time_in_view_s': 9,
        'seconds': 9,
        'nearest_distance_m': 4,
        'mean_distance_m': 8,
    }
    expected |= {'radius': 12, 'last_distance_m': 4, 'angle': 0, 'last_angle': 0, 'label': 'duiker'}
    assert {name: track[name] for name in expected} == expected
    assert track['flags'] == '' and track['reason'] == ''


def test_each_animal_of_each_clip_has_a_row_and_others_none():
    parts = [rows_of(range(4), 5, 0, animal=name, video_id=clip) for clip, name in (('b', '2'), ('b', '1'), ('a', '1'))]
    tracks = table(pd.concat([*parts, rows_of(range(4), 5, 0, animal='', video_id='c')]))
    assert list(zip(tracks['video_id'], tracks['animal'], strict=True)) == [('a', '1'), ('b', '1'), ('b', '2')]
    assert table(parts[0].assign(animal='')).empty


def test_without_angles_there_is_no_speed():
    track = only(rows_of(range(5), 5, np.nan))
    assert np.isnan(track[['speed', 'speed_lower', 'path_length_m', 'angle', 'angle_lower']].astype(float)).all()
    assert track['reason'] == 'no angle: the field of view is missing; give --theta' and track['mean_distance_m'] == 5


def test_a_track_that_is_too_short_has_no_speed():
    track = only(rows_of([3, 4], 5, 0))
    assert track['reason'] == 'fewer than 3 positions' and np.isnan(track['speed']) and track['time_in_view_s'] == 2


def test_missing_distances_are_flagged():
    # 3 of 7 distances; the first at 2 s. Rows without a distance still show that the animal is in view.
    distance_m = [np.nan, np.nan, 5, 5, 5, np.nan, np.nan]
    track = only(rows_of(range(7), distance_m, np.arange(7.0)))
    assert track['flags'] == 'few_distances' and track['seconds'] == 3 and track['time_in_view_s'] == 7
    assert (track['angle'], track['last_angle']) == (2, 4) and track['reason'] == ''
    empty = only(rows_of(range(4), np.nan, 0))
    assert empty['reason'] == 'no distance' and empty['flags'] == 'few_distances' and empty['seconds'] == 0


def test_corrected_distances_count():
    rows = rows_of(range(9), 5, 0)
    assert only(rows)['speed'] < 0.05
    walk = {'distance': np.arange(4.0, 13.0), 'distance_lower': np.nan, 'distance_upper': np.nan, 'status': 'corrected'}
    corrected = only(rows.assign(**walk))
    assert corrected['nearest_distance_m'] == 4 and corrected['speed'] == pytest.approx(1, rel=0.15)


def test_radius_and_angle_are_of_the_first_position_with_their_intervals():
    rows = rows_of(range(5), [np.nan, 8, 7, 6, 5], [-20, -10, 0, 10, 20])
    track = only(rows)
    assert (track['radius'], track['angle']) == (8, -10)  # at 1 s; nobody knows the distance at 0 s
    # The interval is that of distances.csv. Of the angle, 1.6449 standard deviations of 0.5 degrees on each side.
    assert track['radius_lower'] == pytest.approx(8 * (1 - 0.05 * 1.6449), rel=1e-4)
    assert track['radius_upper'] == pytest.approx(8 * (1 + 0.05 * 1.6449), rel=1e-4)
    assert (track['angle_lower'], track['angle_upper']) == pytest.approx((-10.8224, -9.1776), abs=1e-4)
    by_person = rows.assign(distance_lower=np.nan, distance_upper=np.nan, status='corrected')
    assert only(by_person)['radius'] == 8 and np.isnan(only(by_person)['radius_lower'])
    nobody = only(rows_of(range(4), np.nan, 0))
    assert np.isnan(nobody[['radius', 'radius_upper', 'angle', 'angle_upper']].astype(float)).all()


def test_edges_and_shared_distances_are_flagged():
    rows = rows_of(range(4), 5, 0, bbox_x=[0.0, 0.3, 0.6, 0.895], flags=['', 'dark one_for_all', '', ''])
    assert only(rows)['flags'] == 'one_for_all starts_at_edge ends_at_edge'
    assert only(rows.assign(bbox_x=np.nan, flags=''))['flags'] == ''


def test_the_sampling_interval_is_that_of_the_clip_or_of_the_others():
    every_2 = rows_of([0, 2, 4], 5, 0)
    single = rows_of([6], 5, 0, video_id='b.mp4')
    assert table(pd.concat([every_2, single]))['time_in_view_s'].tolist() == [6, 2]
    assert table(every_2, single)['time_in_view_s'].tolist() == [6, 2]  # of a clip of another piece, too
    assert np.isnan(table(single)['time_in_view_s'].iloc[0])
