"""chimp-distance label as a process, and its tables in every command that reads labels."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip
from make_labels import give, make_session
from run_ground import row_of

from chimp_jax.commands import entry
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.labelling.label import LabellingRequest, missing_line, plan_line, points_of_table
from chimp_jax.field.label.survey import survey_clips, survey_estimates
from chimp_jax.field.stations import stations_of
from data_prep import build
from data_prep.archive import Archive
from data_prep.inputs.labels import read_targets

ROOT = Path(__file__).resolve().parents[3]
START = [sys.executable, '-c', 'from chimp_jax.commands import entry; entry.start()', 'label']


class Running:
    """The command in a process of its own, and a client of its page."""

    def __init__(self, folder, *more):
        command = [*START, str(folder / 'clips'), '--out', str(folder / 'labels.csv'), '--workers', '1', *more]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(r'http://127\.0\.0\.1:\d+/\S+/', line):
                self.address = found[0]
                return
        raise AssertionError(self.process.communicate())

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)

    def answer(self, target, distance):
        asked = [target['clip'], target['second'], target['animal']]
        body = {'target': asked, 'asked': asked, 'kind': 'distance', 'distance': distance, 'keys': 2, 'took_s': 10}
        return self.ask('answer', body)['target']

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.communicate(timeout=600)


@pytest.fixture
def clips(tmp_path):
    for name in ('A/a.mp4', 'B/b.mp4'):
        write_clip(tmp_path / 'clips' / name, numbered_frames(96), 8)
    return tmp_path


def test_a_killed_server_loses_no_answer_and_the_same_command_resumes(clips, capsys):
    first = Running(clips, '--who', 'ama')
    assert '20 distances, 10 at each of 2 stations, take about 4 minutes' in ''.join(first.lines)
    target = first.ask('next')['target']
    for distance in (4.5, 6.0, 3.25):
        target = first.answer(target, distance)
    # A second server of the same labels stops before it harms the first one.
    assert entry.main(['label', str(clips / 'clips'), '--out', str(clips / 'labels.csv')]) == 1
    refused = capsys.readouterr().err
    assert 'another run works in' in refused and refused.count('\n') == 1
    first.end(signal.SIGKILL)
    (clips / 'labels.csv').unlink()  # the journal alone is enough
    again = Running(clips, '--who', 'ama')
    assert sorted(pd.read_csv(clips / 'labels.csv')['distance']) == [3.25, 4.5, 6.0]
    assert again.ask('next')['target'] == target  # asked before, not answered
    assert again.address != first.address
    out, err = again.end()
    assert again.process.returncode == 0 and err == ''
    assert out.split() and f'Distances in {clips / "labels.csv"}: 3.' in out
    assert 'Your answers: 3, with a distance: 3. Median speed of the last answers: 360 an hour.' in out
    assert 'Keys per answer: 2.' in out


def test_flags_that_do_not_fit_are_one_line(clips, capsys):
    (clips / 'mine.csv').write_text('video_id,time,distance\n')
    (clips / 'none').mkdir()
    folder = str(clips / 'clips')
    for words, *arguments in (
        ('not a result of this command', folder, '--out', str(clips / 'mine.csv')),
        ('local CSV file', folder, '--out', 'labels.xlsx'),
        ('a name without semicolons', folder, '--out', 'labels.csv', '--who', 'a;b'),
        ('leave --members', folder, '--out', 'labels.csv', '--estimates', 'x', '--detect'),
        ('holds no clip', str(clips / 'none'), '--out', str(clips / 'labels.csv')),
        ('there is no folder', str(clips / 'missing'), '--out', str(clips / 'labels.csv')),
    ):
        assert entry.main(['label', *arguments]) == 1
        error = capsys.readouterr().err
        assert words in error and error.count('\n') == 1
    assert (clips / 'mine.csv').read_text() == 'video_id,time,distance\n'


def test_the_flags_of_the_estimates_are_flags_of_estimate(tmp_path):
    request = LabellingRequest(
        clips='c', out=str(tmp_path / 'labels.csv'), members='runs', detect=True, detections=None, estimates=None,
        calibrate='known.csv', deployments='stations.csv', who='ama', open=False, workers=2,
    )  # fmt: skip
    from chimp_jax.commands import estimate

    parsed = EstimateRequest(**vars(estimate.make_parser().parse_args(request.estimate_flags())))
    assert (parsed.members, parsed.detect, parsed.calibrate, parsed.deployments) == (
        'runs',
        True,
        'known.csv',
        'stations.csv',
    )
    assert parsed.out == str(tmp_path / 'labels.work' / 'estimates') and parsed.workers == 2


@pytest.fixture
def estimated(tmp_path):
    """Two clips with animals at 4 and 8 m, and in a.mp4 second 2 with two of them; the folder of their estimates."""

    def box(distance_m, x, frame):
        return {
            'category': '1',
            'conf': 0.9,
            'frame_number': frame,
            'bbox': [x - 0.05, row_of(distance_m) - 0.2, 0.1, 0.2],
        }

    found = {
        'A/a.mp4': [box(4, 0.3, 0), box(4, 0.3, 8), box(4, 0.3, 16), box(8, 0.8, 16)],
        'B/b.mp4': [box(8, 0.5, 0), box(8, 0.5, 16)],
    }
    for name in found:
        write_clip(tmp_path / 'clips' / name, numbered_frames(32), 8)
    images = [
        {'file': name, 'frame_rate': 8, 'frames_processed': [0, 8, 16, 24], 'detections': boxes}
        for name, boxes in found.items()
    ]
    content = {'info': {'format_version': '1.5'}, 'detection_categories': {'1': 'animal'}, 'images': images}
    (tmp_path / 'md.json').write_text(json.dumps(content))
    return tmp_path


def estimate(folder, out, *more):
    flags = ['--detections', str(folder / 'md.json'), '--workers', '1', *map(str, more)]
    return entry.main(['estimate', str(folder / 'clips'), '--out', str(folder / out), *flags])


def test_labels_are_read_by_every_command_without_an_edit(estimated, capsys):
    assert estimate(estimated, 'out') == 3  # no known point
    archive = Archive([estimated / 'clips'])
    names = archive.clips()
    survey = survey_estimates(archive, stations_of(names).set_axis(names), estimated / 'out')
    asked = {*zip(survey.candidates.clip, survey.candidates.second.tolist(), survey.candidates.animal, strict=True)}
    assert {key[:2] for key in asked} == {
        ('A/a.mp4', 0),
        ('A/a.mp4', 1),
        ('A/a.mp4', 2),
        ('B/b.mp4', 0),
        ('B/b.mp4', 2),
    }
    assert survey.candidates.confidence.tolist() == [0.9] * len(asked)
    session = make_session(estimated, survey)
    on_right = {
        (*second, box.animal) for second, boxes in survey.boxes.items() for box in boxes if box.corners[0] > 0.6
    }
    ((_, _, far),) = on_right
    near = next(animal for clip, second, animal in asked if (clip, second) == ('A/a.mp4', 2) and animal != far)
    first = next(animal for clip, second, animal in asked if (clip, second) == ('A/a.mp4', 0))
    of_b = next(animal for clip, second, animal in asked if (clip, second) == ('B/b.mp4', 0))
    give(session, 'A/a.mp4', 0, 4.4, first)
    give(session, 'A/a.mp4', 2, 4.2, near)
    give(session, 'A/a.mp4', 2, 8.5, far)
    give(session, 'A/a.mp4', 1, 'no animal', first)
    give(session, 'B/b.mp4', 0, 8.1, of_b)
    give(session, 'B/b.mp4', 2, 'cannot tell', of_b)
    labels = estimated / 'labels.csv'
    assert len(pd.read_csv(labels)) == 4 and len(pd.read_csv(estimated / 'labels.others.csv')) == 2

    # Training labels
    targets = read_targets(labels)
    assert sorted(targets.rows['distance_m']) == [4.2, 4.4, 8.1, 8.5] and targets.problems == []
    assert set(targets.rows['site']) == {'A', 'B'} and all(box[0] == box[0] for box in targets.rows['box'])
    data = ['--tables', str(labels), '--clips_full', str(estimated / 'clips'), '--out', str(estimated / 'data')]
    assert build.main([*data, '--workers', '1', '--n_folds', '2']) == 0
    assert len(pd.read_csv(estimated / 'data' / 'problems.csv')) == 0

    # Known distances of `evaluate`: by hand |4 - 4.4|, |4 - 4.2|, |8 - 8.5|, |8 - 8.1| from the prior's own plane
    assert entry.main(['evaluate', str(estimated / 'out'), '--truth', str(labels)]) == 0
    assert '4 ' in capsys.readouterr().out

    # Known distances of the ground: all four have a foot point
    assert estimate(estimated, 'calibrated', '--calibrate', labels) in (0, 3)
    summary = json.loads((estimated / 'calibrated' / 'summary.json').read_text())
    assert {one['station']: one['known'] for one in summary['ground']['stations']} == {'A': 3, 'B': 1}
    assert summary.get('known_problems', []) == []

    # Corrections of the same estimates
    (estimated / 'out' / 'corrections.csv').write_bytes(labels.read_bytes())
    estimate(estimated, 'out')
    rows = pd.read_csv(estimated / 'out' / 'distances.csv', dtype={'animal': str})
    corrected = rows[rows['status'] == 'corrected']
    assert sorted(corrected['distance']) == [4.2, 4.4, 8.1, 8.5]


def test_without_estimates_every_second_of_a_clip_can_be_asked(clips):
    (clips / 'clips' / 'A' / 'broken.mp4').write_bytes(b'no clip')
    archive = Archive([clips / 'clips'])
    names = archive.clips()
    survey, problems = survey_clips(archive, stations_of(names).set_axis(names), 1)
    assert list(problems) == ['A/broken.mp4'] and [clip.last_s for clip in survey.clips] == [11, 11]
    assert len(survey.candidates.second) == 24 and '20 distances' in plan_line(survey)
    alone, _ = survey_clips(archive, stations_of(names[:1]).set_axis(names[:1]), 1)
    assert ': 10 distances take about 2 minutes.' in plan_line(alone)
    (clips / 'out').mkdir()
    (clips / 'out' / 'distances.csv').write_text('video_id,time,distance\n')  # the detector found nothing
    with pytest.raises(ValueError, match='no second with an animal; leave --detect'):
        survey_estimates(archive, stations_of(names).set_axis(names), clips / 'out')


def test_clips_that_are_not_there_are_named(clips, caplog):
    (clips / 'known.csv').write_text('video_id,time,distance,x,y\nA/a.mp4,0,3,0.5,0.9\nC/c.mp4,0,3,0.5,0.9\n')
    request = LabellingRequest(
        clips=str(clips / 'clips'), out=str(clips / 'labels.csv'), members=None, detect=False, detections=None,
        estimates=None, calibrate=str(clips / 'known.csv'), deployments=None, who='ama', open=False, workers=1,
    )  # fmt: skip
    with caplog.at_level('INFO'):
        table, points = points_of_table(request, Archive([request.clips]))
    assert points['video_id'].tolist() == ['A/a.mp4'] and len(table.rows) == 2
    assert 'whose clips are not there: C/c.mp4' in caplog.text
    later = dataclasses.replace(request, calibrate=None)
    for lines, n in ((1, 0), (2, 1)):  # an earlier session wrote no point, and one
        content = (clips / 'known.csv').read_text().splitlines(keepends=True)[:lines]
        (clips / 'labels.known.csv').write_text(''.join(content))
        assert [len(one) for one in points_of_table(later, Archive([request.clips]))[1:]] == [n]
    assert missing_line(['A/old.mp4'], request).startswith(f'a clip with answers is not in {request.clips}: A/old.mp4.')
    assert missing_line({'b', 'a'}, request).startswith(f'2 clips with answers are not in {request.clips}: a; b.')
