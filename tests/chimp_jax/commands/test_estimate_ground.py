"""chimp-distance estimate without members: the ground of a station, from its known points."""

import json

import numpy as np
import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip
from run_ground import box_at, estimate, read, row_of, write_detections

from chimp_jax.commands import entry


def test_known_points_of_a_person_calibrate_the_distances_of_the_animals(station, capsys):
    (station / 'stations.csv').write_text('station,area_km2,active_seconds\nA,1,60\n')
    flags = ['--detections', station / 'md.json', '--calibrate', station / 'known.csv', '--theta', '90']
    flags += ['--deployments', station / 'stations.csv', '--snapshot', '1', '--format', 'distance', 'zamba']
    assert estimate(station, *flags) == 0
    rows = read(station / 'out')
    assert list(rows.index) == [('A/a.mp4', 0), ('A/a.mp4', 2)] and (rows['status'] == 'ok').all()
    # The plane is that of the default prior, and so are the known points.
    assert rows['distance'].tolist() == pytest.approx([4, 8], rel=0.05)
    bounds = rows[['distance_lower', 'distance_upper']].astype(float)
    assert (bounds['distance_lower'] < [4, 8]).all() and (bounds['distance_upper'] > [4, 8]).all()
    assert (rows['flags'] == '').all() and (rows['members'] == 0).all()
    boxes = pd.read_csv(station / 'out' / 'boxes.csv')
    assert boxes['distance'].tolist() == rows['distance'].tolist() and boxes['station'].tolist() == ['A', 'A']
    # By hand: x = 0.3 is 0.4 of half the width left of the middle, and atan(0.4) = 21.80 degrees.
    assert boxes['angle'].tolist() == pytest.approx([0, -21.80], abs=0.01)
    summary = json.loads((station / 'out' / 'summary.json').read_text())
    (ground,) = summary['ground']['stations']
    assert (ground['station'], ground['known'], ground['notes']) == ('A', 3, []) and ground['mae_m'] < 1
    assert (summary['targets'], summary['distances'], summary['coverage']) == (2, 2, 0.9)
    assert 'A: the ground is calibrated by 3 known points' in capsys.readouterr().out
    assert pd.read_csv(station / 'out' / 'distance_flatfile.csv')['distance'].notna().sum() == 2
    assert entry.main(['report', str(station / 'out')]) == 0


def test_without_a_known_point_the_distances_are_flagged(station, capsys):
    assert estimate(station, '--detections', station / 'md.json') == 3
    rows = read(station / 'out')
    assert rows['distance'].notna().all() and (rows['flags'] == 'no_known_point').all()
    assert '2 rows are from stations without a known point' in capsys.readouterr().out


def test_bad_known_points_are_told_and_the_others_serve(station, capsys, caplog):
    lines = [
        'A/reference.mp4,0,3,,',
        'A/reference.mp4,1,0,,',
        'A/reference.mp4,60,4,,',
        'A/gone.mp4,1,4,,',
        f'A/reference.mp4,1,5,0.5,{row_of(5)}',
        'A/reference.mp4,2,2,0.2,0.8',
        'A/reference.mp4,3,9,0.2,0.801',
        'A/a.mp4,1,4,0.5,1.4',
        'A/a.mp4,3,4,,',
    ]
    (station / 'known.csv').write_text('\n'.join(['video_id,time,distance,x,y', *lines]) + '\n')
    with caplog.at_level('INFO'):
        assert estimate(station, '--detections', station / 'md.json', '--calibrate', station / 'known.csv') == 3
    assert 'known.csv:3: A/reference.mp4: the distance 0' in caplog.text  # before the work
    told = json.loads((station / 'out' / 'summary.json').read_text())['known_problems']
    words = {3: 'above 0', 4: 'past the end', 5: 'no such file', 7: '9 m', 8: '2 m', 9: 'outside', 10: 'no box'}
    assert [text.partition(': ')[0] for text in told] == [f'known.csv:{line}' for line in words]
    assert all(word in text for word, text in zip(words.values(), told, strict=True))
    screen = capsys.readouterr().out
    assert all(text in screen for text in told)
    (ground,) = json.loads((station / 'out' / 'summary.json').read_text())['ground']['stations']
    assert ground['known'] == 2


def test_no_usable_known_point_is_refused(station):
    (station / 'known.csv').write_text('video_id,time,distance\nA/reference.mp4,1,0\n')
    assert estimate(station, '--detections', station / 'md.json', '--calibrate', station / 'known.csv') == 1


def test_a_row_that_cannot_be_used_still_tells_that_its_clip_shows_a_person(station):
    with_person = json.loads((station / 'md.json').read_text())
    with_person['detection_categories']['2'] = 'animal'
    (station / 'md.json').write_text(json.dumps(with_person))
    lines = ['A/reference.mp4,0,3,no', 'A/a.mp4,0,4,', 'A/reference.mp4,1,far,no']
    (station / 'known.csv').write_text('\n'.join(['video_id,time,distance,animal', *lines[1:]]) + '\n')
    assert estimate(station, '--detections', station / 'md.json', '--calibrate', station / 'known.csv') == 3
    assert set(read(station / 'out').reset_index()['video_id']) == {'A/a.mp4'}


def scenery(shift_px=0):
    """Frames of 3 s of a textured scene, shifted to the right."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (30, 60, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    scene = coarse[:180, 80 - shift_px : 400 - shift_px]
    return np.stack([scene] * 12)


def test_after_a_move_of_the_camera_the_calibration_starts_anew(tmp_path, capsys):
    for number, shift_px in enumerate((0, 0, 30, 30)):
        write_clip(tmp_path / 'clips' / 'A' / f'IMG_{number + 8}.mp4', scenery(shift_px), 4)
    names = [f'A/IMG_{number + 8}.mp4' for number in range(4)]
    write_detections(tmp_path / 'md.json', {name: [box_at(4, frame_number=0)] for name in names})
    lines = [f'{names[0]},1,{r},0.5,{row_of(r)}' for r in (3, 5, 10)]
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance,x,y', *lines]) + '\n')
    assert estimate(tmp_path, '--detections', tmp_path / 'md.json', '--calibrate', tmp_path / 'known.csv') == 3
    flags = read(tmp_path / 'out')['flags']
    assert [flags[name, 0] for name in names] == ['', '', 'camera_moved', 'camera_moved']
    told = capsys.readouterr().out
    assert f'A: the camera was moved between {names[1]} and {names[2]}' in told and '2 rows are from clips' in told


def test_points_of_a_shifted_clip_do_not_calibrate_the_others(tmp_path):
    """REF_1.mp4 comes last by its name, and was filmed before the move: its points belong to the first two clips."""
    names = [f'A/IMG_{number}.mp4' for number in range(4)]
    for name, shift_px in zip([*names, 'A/REF_1.mp4'], (0, 0, 30, 30, 0), strict=True):
        write_clip(tmp_path / 'clips' / name, scenery(shift_px), 4)
    images = {name: [box_at(4, frame_number=0)] for name in names}
    write_detections(tmp_path / 'md.json', images)
    lines = [f'A/REF_1.mp4,{i},{r},0.5,{row_of(r)},no' for i, r in enumerate((3, 5, 10))]
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance,x,y,animal', *lines]) + '\n')
    flags = ['--detections', tmp_path / 'md.json', '--calibrate', tmp_path / 'known.csv']
    assert estimate(tmp_path, *flags) == 3
    found = read(tmp_path / 'out')['flags']
    assert [found[name, 0] for name in names] == ['', '', 'camera_moved', 'camera_moved']
    # One clip alone is shifted: its rows are flagged, and no points come from it.
    write_clip(tmp_path / 'clips' / names[2], scenery(0), 4)
    assert estimate(tmp_path, *flags, out='alone') == 3
    found = read(tmp_path / 'alone')['flags']
    assert [found[name, 0] for name in names] == ['', '', '', 'camera_unsure']


@pytest.mark.usefixtures('small_model')
def test_with_members_the_ground_is_combined_where_it_lowers_the_error(runs, station, capsys):
    distances_m = (3.0, 4, 5, 6, 8, 10)
    write_clip(station / 'clips' / 'A' / 'reference.mp4', numbered_frames(48), 8)
    lines = [f'A/reference.mp4,{i},{r},0.5,{row_of(r)},no' for i, r in enumerate(distances_m)]
    (station / 'known.csv').write_text('\n'.join(['video_id,time,distance,x,y,animal', *lines]) + '\n')
    flags = ['--members', runs, '--detections', station / 'md.json', '--calibrate', station / 'known.csv']
    assert estimate(station, *flags) == 0
    (check,) = json.loads((station / 'out' / 'summary.json').read_text())['combined']
    assert (check['station'], check['n']) == ('A', 6)
    # The members were trained for an epoch on noise; the known points lie on the plane.
    assert check['applied'] and check['mae_combined_m'] < check['mae_members_m']
    rows = read(station / 'out')
    animals = rows[rows['status'] == 'ok']
    assert list(animals.index) == [('A/a.mp4', 0), ('A/a.mp4', 2)] and (animals['members'] == 4).all()
    assert (animals['distance_lower'].astype(float) < animals['distance']).all()
    assert (rows['status'] == 'known distance').sum() == 6
    assert 'are combined with those from the ground' in capsys.readouterr().out
