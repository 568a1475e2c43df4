"""chimp-distance estimate without members: distances of boxes from the ground of their station."""

import json
from typing import NamedTuple

import make_packages
import numpy as np
import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip

from chimp_jax.commands import entry
from chimp_jax.commands.estimating import distances
from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field import estimates
from chimp_jax.field.exports.camtrap.observations import tags_of
from chimp_jax.field.rows import write
from chimp_jax.field.rows.read import open_rows
from chimp_jax.models import detector
from data_prep.inputs.detections import read_detections

# A camera by the default prior: the foot of an animal at r metres is at 0.45 + 1.4 / r of the picture's height.
HORIZON, HEIGHT_M = 0.45, 1.4


def row_of(distance_m):
    return HORIZON + HEIGHT_M / distance_m


def box_at(distance_m, x=0.5, **more):
    """A box of MegaDetector whose foot point is at a distance, a fifth of the picture wide and high."""
    y = row_of(distance_m)
    return {'category': '1', 'conf': 0.9, 'bbox': [x - 0.1, y - 0.2, 0.2, 0.2]} | more


def estimate(folder, *more, out='out'):
    arguments = ['estimate', str(folder / 'clips'), '--out', str(folder / out), '--workers', '1', *map(str, more)]
    return entry.main(arguments)


def read(out):
    return pd.read_csv(out / 'distances.csv', keep_default_na=False, na_values={'distance': ['']}).set_index(SECOND)


def write_detections(path, images):
    content = {
        'info': {'format_version': '1.5'},
        'detection_categories': {'1': 'animal', '2': 'person'},
        'images': [
            {'file': name, 'frame_rate': 8, 'frames_processed': list(range(0, 32, 8)), 'detections': found}
            for name, found in images.items()
        ],
    }
    path.write_text(json.dumps(content))


@pytest.fixture
def station(tmp_path):
    """A station with an animal at 4 and 8 m in a.mp4, and a person at 3, 5 and 10 m in reference.mp4."""
    for name in ('a.mp4', 'reference.mp4'):
        write_clip(tmp_path / 'clips' / 'A' / name, numbered_frames(32), 8)
    animals = [box_at(4, frame_number=0), box_at(8, x=0.3, frame_number=16)]
    persons = [box_at(r, category='2', frame_number=8 * i) for i, r in enumerate((3, 5, 10))]
    write_detections(tmp_path / 'md.json', {'A/a.mp4': animals, 'A/reference.mp4': persons})
    lines = ['A/reference.mp4,0,3,no', 'A/reference.mp4,1,5,no', 'A/reference.mp4,2,10,no']
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance,animal', *lines]) + '\n')
    return tmp_path


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


def test_feet_that_are_not_on_the_ground_have_no_distance(station, capsys):
    cut, high = box_at(4, frame_number=0), box_at(4, frame_number=8)
    cut['bbox'], high['bbox'] = [0.4, 0.5, 0.2, 0.5], [0.4, 0.0, 0.2, 0.1]
    write_detections(station / 'md.json', {'A/a.mp4': [cut, high, box_at(6, frame_number=16)]})
    assert estimate(station, '--detections', station / 'md.json', '--theta', '40') == 3
    rows = read(station / 'out')
    assert rows['distance'].isna().tolist() == [True, True, False]
    assert [flags.split()[0] for flags in rows['flags']] == ['feet_cut', 'above_horizon', 'no_known_point']
    assert rows['status'].tolist()[:2] == [
        'the feet are cut off by the edge of the picture',
        'the feet are above the horizon of the ground',
    ]
    table = pd.read_csv(station / 'out' / 'clips.csv').set_index('video_id')
    assert table.loc['A/a.mp4', 'status'] == 'partly' and 'cut off' in table.loc['A/a.mp4', 'reason']
    assert 'partly: A/a.mp4' in capsys.readouterr().out


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


def test_each_animal_of_a_frame_has_its_distance_in_the_exports(station):
    boxes = [box_at(4, x=0.3, frame_number=0), box_at(8, x=0.7, frame_number=0, conf=0.5), box_at(6, frame_number=8)]
    write_detections(station / 'md.json', {'A/a.mp4': boxes, 'A/reference.mp4': []})
    media = make_packages.MEDIA.replace('media/site_1/a.mp4', 'A/a.mp4')
    package = make_packages.package(station / 'mine', media=media)
    flags = ['--detections', station / 'md.json', '--format', 'zamba', 'camtrap-dp', '--camtrap_package', package]
    assert estimate(station, *flags, '--theta', '42') == 3  # no known point
    table = pd.read_csv(station / 'out' / 'zamba.csv').dropna()
    assert table['time'].tolist() == [0, 0, 1]
    rows = read(station / 'out')
    assert rows['animal'].tolist()[:2] == [1, 2] and rows.index.tolist() == [('A/a.mp4', 0)] * 2 + [('A/a.mp4', 1)]
    boxes = pd.read_csv(station / 'out' / 'boxes.csv').sort_values(['time_s', 'distance'])
    assert table.sort_values(['time', 'distance'])['distance'].tolist() == boxes['distance'].round(1).tolist()
    assert boxes['distance'].tolist()[0] < 6 < boxes['distance'].tolist()[1]
    made = make_packages.read(station / 'out' / 'camtrap-dp' / 'observations.csv').set_index('observationID')
    told = tags_of(made.loc['chimp_jax-m1-0/2', 'observationTags'])
    track = pd.read_csv(station / 'out' / 'tracks.csv').set_index('animal').loc[2]
    assert float(told['angleLower']) == pytest.approx(track['angle_lower'], abs=0.005)
    assert float(told['angleUpper']) == pytest.approx(track['angle_upper'], abs=0.005)
    assert told['intervalCoverage'] == '0.9' and 'speedLower' not in told  # a track of one second


def test_a_row_that_cannot_be_used_still_tells_that_its_clip_shows_a_person(station):
    with_person = json.loads((station / 'md.json').read_text())
    with_person['detection_categories']['2'] = 'animal'
    (station / 'md.json').write_text(json.dumps(with_person))
    lines = ['A/reference.mp4,0,3,no', 'A/a.mp4,0,4,', 'A/reference.mp4,1,far,no']
    (station / 'known.csv').write_text('\n'.join(['video_id,time,distance,animal', *lines[1:]]) + '\n')
    assert estimate(station, '--detections', station / 'md.json', '--calibrate', station / 'known.csv') == 3
    assert set(read(station / 'out').reset_index()['video_id']) == {'A/a.mp4'}


class Found(NamedTuple):
    boxes_px: np.ndarray
    scores: np.ndarray


class Animal:
    """A detector that finds an animal at 4 m in every picture, and counts the pictures."""

    def __init__(self):
        self.n = 0

    def __call__(self, pictures):
        self.n += len(pictures)
        height, width = pictures[0].shape[:2]
        box = np.array([[0.4 * width, 0.2 * height, 0.6 * width, row_of(4) * height]])
        return [Found(box, np.array([0.8]))] * len(pictures)


def test_detect_writes_its_boxes_and_a_second_run_reuses_them(station, monkeypatch):
    animal = Animal()
    monkeypatch.setattr(detector, 'load_detector', lambda least_score: animal)
    lines = [f'A/reference.mp4,{i},{r},0.5,{row_of(r)},no' for i, r in enumerate((3, 5, 10))]
    (station / 'known.csv').write_text('\n'.join(['video_id,time,distance,x,y,animal', *lines]) + '\n')
    flags = ['--detect', '--calibrate', station / 'known.csv']
    assert estimate(station, *flags) == 0
    assert animal.n == 16  # two clips of 4 s, 2 frames a second
    rows = read(station / 'out')
    assert list(rows.index) == [('A/a.mp4', second) for second in range(4)]  # the clip of the person is left out
    assert rows['distance'].tolist() == pytest.approx([4] * 4, rel=0.2)
    found = read_detections(station / 'out' / 'detections.json', 0.25)
    assert [clip.frames_processed for clip in found.clips] == [list(range(0, 32, 4))] * 2
    assert estimate(station, *flags) == 0 and animal.n == 16
    assert estimate(station, *flags, '--detect_rate', '1') == 0 and animal.n == 24
    again = ['--detections', station / 'out' / 'detections.json', '--calibrate', station / 'known.csv']
    assert estimate(station, *again, out='again') == 0
    assert read(station / 'again')['distance'].tolist() == read(station / 'out')['distance'].tolist()


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


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], 'without --members'),
        (['--detect', '--detections', 'md.json'], '--detect finds the animals itself'),
        (['--detect', '--detect_rate', '0'], '--detect_rate=0'),
        (['--detect', '--min_confidence', '0.1'], 'no animal below 0.25'),
        (['--detect', '--theta', '200'], '--theta=200'),
        (['--detect', '--every', '2'], '--every cannot be used with --detect'),
    ],
)
def test_flags_that_do_not_fit_are_refused(station, capsys, flags, message):
    assert estimate(station, *flags) == 1
    assert message in capsys.readouterr().err


def test_a_result_in_parts_has_the_rows_of_the_csv_file(station, capsys, monkeypatch):
    write_clip(station / 'clips' / 'B' / 'b.mp4', numbered_frames(32), 8)
    found = {'A/a.mp4': [box_at(4, frame_number=0)], 'B/b.mp4': [box_at(5 + i, frame_number=8 * i) for i in range(3)]}
    write_detections(station / 'md.json', found)
    flags = ['--detections', station / 'md.json', '--format', 'zamba']
    assert estimate(station, *flags) == 3
    tables = {name: (station / 'out' / f'{name}.csv').read_text() for name in ('distances', 'tracks')}
    files = {name: (station / 'out' / name).read_bytes() for name in ('clips.csv', 'zamba.csv')}
    capsys.readouterr()
    monkeypatch.setattr(estimates, '_CLIPS_READ', 1)
    monkeypatch.setattr(distances, 'PIECE_ROWS', 1)
    monkeypatch.setattr(write, 'PART_ROWS', 1)
    monkeypatch.setattr(write, 'CSV_ROWS', 0)
    assert estimate(station, *flags) == 3
    assert f'4 distances of 2 clips in {station}/out/distances, a folder of 2 parquet files' in capsys.readouterr().out
    out = station / 'out'
    assert not (out / 'distances.csv').exists() and not (out / 'tracks.csv').exists()
    assert tables == {name: pd.concat(open_rows(out, name)).to_csv(index=False) for name in tables}
    assert files == {name: (out / name).read_bytes() for name in files}
    assert json.loads((out / 'summary.json').read_text())['parts'] == {'distances': 2, 'tracks': 2}
    assert entry.main(['report', str(out)]) == 0 and 'are not drawn' not in (out / 'report.html').read_text()
