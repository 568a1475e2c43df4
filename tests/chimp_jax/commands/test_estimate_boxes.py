"""chimp-distance estimate without members: the boxes of the animals, and the files that have their distances."""

import json
from typing import NamedTuple

import make_packages
import numpy as np
import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip
from run_ground import box_at, estimate, read, row_of, write_detections

from chimp_jax.commands import entry
from chimp_jax.commands.estimating import distances
from chimp_jax.field import estimates
from chimp_jax.field.exports.camtrap.observations import tags_of
from chimp_jax.field.rows import write
from chimp_jax.field.rows.read import open_rows
from chimp_jax.models import detector
from data_prep.inputs.detections import read_detections


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
