"""All boxes of a clip from tables and detector, and targets per animal."""

import numpy as np
import pandas as pd

from data_prep.archive import Archive
from data_prep.inputs.clip_boxes import GivenBoxes
from data_prep.inputs.columns.boxes import NO_BOX, TableBox
from data_prep.inputs.detections import ClipDetections, Detection, Detections
from data_prep.inputs.headers import Header
from data_prep.inputs.labels import Problem, Targets
from data_prep.job import Job
from data_prep.plan import Plan, make_tasks

ONE, TWO = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
HEADER = Header(1.0, 4.0, np.array([0, 0.25, 0.5, 0.75]))


def detected(video_id, *frames):
    return ClipDetections(video_id, 4.0, [Detection(frame, 0.5, TWO) for frame in frames], 'share')


def test_boxes_of_table_and_detector_come_together():
    drawn = [TableBox('a.mp4', 0, 'Kim', ONE, 1, 't.csv:2'), TableBox('b.mp4', 3, '', ONE, 0.25, 't.csv:3')]
    found = Detections([detected('a.mp4', 2, 3, 4), detected('c.mp4', 0)], [Problem('d.mp4', 'x', 'y', 'z')], ['note'])
    boxes, problems, notes = GivenBoxes(drawn, found, 'md.json').by_clip(
        {'a.mp4': HEADER, 'b.mp4': HEADER, 'c.mp4': 'cannot be opened'}
    )
    assert boxes == {
        'a.mp4': ((0, 1, *ONE, 'Kim'), (0.5, 0.5, *TWO, ''), (0.75, 0.5, *TWO, '')),
        'b.mp4': ((3, 0.25, *ONE, ''),),
    }
    (first, lost) = problems  # frame 4 is not in the clip
    assert first.video_id == 'd.mp4' and (lost.video_id, lost.row, lost.stage) == ('a.mp4', 'md.json', 'detections')
    assert lost.reason.startswith('a detection is in frame 4, but the clip has the frames 0 to 3') and notes == ['note']


def test_boxes_of_clips_that_do_not_exist_have_a_line_each(tmp_path):
    for name in ('a.mp4', 'b.mp4', 'c.mp4'):
        (tmp_path / name).touch()
    drawn = [TableBox(name, 0, '', ONE, 1, f't.csv:{line}') for line, name in enumerate(['a.mp4', 'x.mp4', 'x.mp4'])]
    found = Detections([detected(name, 0) for name in ('b.mp4', 'c.mp4', 'y.mp4')] + [detected('z.mp4')], [], [])
    problems, notes = GivenBoxes(drawn, found, 'md.json').check_clips({'a.mp4'}, Archive([tmp_path]))
    assert {problem.video_id: problem.row for problem in problems} == {'x.mp4': 't.csv:1', 'y.mp4': 'md.json'}
    assert problems[0].reason == f'a box is of this clip, but there is no such file in {tmp_path}; correct the name'
    assert notes == ['the boxes of 2 clips without a target are not used, first b.mp4']


def planned(*rows):
    table = pd.DataFrame(rows, columns=['video_id', 'time_s', 'box', 'label'])
    rows = table.assign(animal='', distance_m=np.nan, site='s', park='p', row='')
    return Plan({'test': Targets(rows, [], [])}, {}, None)


def test_a_second_becomes_a_target_of_each_animal():
    plan = planned(('b', 2, ONE, 'cat'), ('a', 1, ONE, 'cat'), ('a', 3, TWO, ''))
    animals = pd.DataFrame(
        [('a', 1, 'Y', TWO, 'dog'), ('a', 1, 'X', ONE, ''), ('a', 9, 'X', ONE, ''), ('c', 1, 'X', ONE, '')],
        columns=['video_id', 'time_s', 'animal', 'box', 'label'],
    )
    rows = plan.with_animals(animals).targets['test'].rows
    assert rows[['video_id', 'time_s', 'animal', 'box', 'label']].values.tolist() == [
        ['a', 1, 'X', ONE, ''],
        ['a', 1, 'Y', TWO, 'dog'],
        ['a', 3, '', TWO, ''],
        ['b', 2, '', ONE, 'cat'],
    ]
    assert set(rows['site']) == {'s'} and set(rows['park']) == {'p'} and rows['distance_m'].isna().all()


def test_every_second_of_a_clip_stays_as_it_is():
    plan = planned(('a', pd.NA, None, ''), ('b', 1, NO_BOX, ''))
    animals = pd.DataFrame([('b', 1, 'X', ONE, ''), ('a', 1, 'X', ONE, '')])
    animals.columns = ['video_id', 'time_s', 'animal', 'box', 'label']
    rows = plan.with_animals(animals).targets['test'].rows
    assert rows['video_id'].tolist() == ['a', 'b'] and rows['animal'].tolist() == ['', 'X']
    assert pd.isna(rows['time_s'][0]) and rows['time_s'][1] == 1


def test_tasks_get_the_animals_and_boxes():
    plan = planned(('a', 1, ONE, ''), ('b', 1, ONE, ''))
    copies = dict.fromkeys('ab', type('Copies', (), {'down': None, 'full': 'x'}))
    boxes = ((0.5, 0.75, *TWO, 'X'),)
    plan = plan._replace(copies=copies, boxes={'b': ((0, 1, *ONE, ''),)}).with_boxes({'a': boxes})
    animals = pd.DataFrame([('a', 1, 'X', TWO, ''), ('a', 1, 'Y', ONE, '')])
    animals.columns = ['video_id', 'time_s', 'animal', 'box', 'label']
    first, second = make_tasks(plan.with_animals(animals), Job(out='', clips_full=('x',)))
    assert (first.target_time_s, first.target_animal, first.target_box) == ([1, 1], ['X', 'Y'], [TWO, ONE])
    assert first.boxes == boxes and (second.target_animal, second.boxes) == ([''], ((0, 1, *ONE, ''),))
