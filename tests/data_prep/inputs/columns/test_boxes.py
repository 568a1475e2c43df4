"""Boxes in tables: which target each belongs to, and bad ones."""

import math

import pytest

from data_prep.inputs.labels import read_targets

HEADER = 'video_id,time,distance,animal,x1,y1,x2,y2,probability'


def read(folder, *lines, metadata=()):
    for name, rows in (('t.csv', lines), ('m.csv', metadata)):
        (folder / name).write_text('\n'.join(rows))
    return read_targets(folder / 't.csv', folder / 'm.csv' if metadata else None)


def boxes(found):
    return [(box.time_s, box.confidence, *box.box, box.animal) for box in found.boxes]


def of_targets(found):
    """The box of each target, None if unknown."""
    return [None if math.isnan(box[0]) else box for box in found.rows['box']]


def test_each_animal_has_its_box(tmp_path):
    found = read(
        tmp_path,
        HEADER,
        'a.mp4,3,2,Kim,0.1,0.2,0.3,0.4,0.75',
        'a.mp4,3,5,Bo,0.5,0.5,0.75,1.0,',
        'a.mp4,4.5,5,Bo,,,,,',
        'b.mp4,3,5,Kim,0,0,1,1,0',
        'b.mp4,4,,no,0,0,1,1,1',  # a row without an animal has no box
    )
    kim, bo = (0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 0.75, 1)
    assert of_targets(found) == [kim, bo, None, (0, 0, 1, 1)]
    assert boxes(found) == [(3, 0.75, *kim, 'Kim'), (3, 1, *bo, 'Bo'), (3, 0, 0, 0, 1, 1, 'Kim')]
    assert [box.row for box in found.boxes] == ['t.csv:2', 't.csv:3', 't.csv:5'] and not found.problems


def test_a_box_keeps_the_time_of_its_row(tmp_path):
    lines = ['a.mp4,3.25,2,Kim,0,0,1,1,1', 'a.mp4,3.75,2,Kim,0,0,0.5,1,1']
    found = read(tmp_path, HEADER, *lines)
    assert [box[0] for box in boxes(found)] == [3.25, 3.75]
    assert of_targets(found) == [(0, 0, 1, 1)] and found.rows['time_s'].tolist() == [3]


def test_two_boxes_of_one_animal_in_a_frame(tmp_path):
    found = read(tmp_path, HEADER, 'a.mp4,3,2,Kim,0,0,1,1,1', 'a.mp4,3,2,Kim,0,0,1,1,1', 'a.mp4,3,2,Kim,0,0,0.5,1,1')
    (problem,) = found.problems
    assert (problem.video_id, problem.row, problem.stage) == ('a.mp4', 't.csv:4', 'boxes')
    assert problem.reason == "second 3 has two boxes of one animal in a frame, 'Kim' here and in line 2; remove one"
    assert boxes(found) == [(3, 1, 0, 0, 1, 1, 'Kim')] and len(found.rows) == 1


@pytest.mark.parametrize(
    'cells, reason',
    [
        (
            '0.1,0.2,1.021,0.4,1',
            'the box is outside the picture, x2 is 1.021; write shares of width and height, 0 to 1',
        ),
        ('-0.03,0.2,1,0.4,1', 'the box is outside the picture, x1 is -0.03; write'),
        ('10,20,110,220,1', 'the box is outside the picture, x1 is 10; write'),
        ('0.3,0.2,0.3,0.4,1', 'the box has no area; x1, y1 is its upper left corner and x2, y2 its lower right one'),
        ('0.1,0.4,0.3,0.2,1', 'the box has no area'),
        ('1.01,0.4,1.02,0.9,1', 'the box has no area'),  # nothing of it is in the picture
        ('0.1,0.2,,0.4,1', "the box: x2 '' is not a number"),
        ('0.1,0.2,0.3,0.4,1.5', 'the probability 1.5 is out of bounds; it must be from 0 to 1'),
        ('0.1,0.2,0.3,0.4,high', "the probability 'high' is not a number"),
    ],
)
def test_a_bad_box_has_a_line_and_its_target_stays(tmp_path, cells, reason):
    found = read(tmp_path, HEADER, f'a.mp4,3,2,Kim,{cells}')
    (problem,) = found.problems
    assert (problem.video_id, problem.row, problem.stage) == ('a.mp4', 't.csv:2', 'boxes')
    assert problem.reason.startswith(reason)
    assert found.rows['distance_m'].tolist() == [2] and of_targets(found) == [None]
    assert not found.boxes and not found.lost


def test_a_box_slightly_over_the_border_is_cut(tmp_path):
    found = read(tmp_path, HEADER, 'a.mp4,3,2,Kim,-0.02,0.25,1.02,1.001,1')
    assert of_targets(found) == [(0, 0.25, 1, 1)] and not found.problems


LABELS = 'video_id,time,distance,animal'
METADATA = 'video_id,time,animal,x1,y1,x2,y2,site'
ONE, TWO = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)


@pytest.mark.parametrize(
    'animals, drawn, expected',
    [
        (['Kim', 'Bo'], {'Bo': [ONE], 'Kim': [TWO]}, [TWO, ONE]),  # by name
        (['Kim'], {'': [ONE]}, [ONE]),  # one target, one box
        ([''], {'Kim': [ONE]}, [ONE]),
        (['Kim', 'Bo'], {'': [ONE]}, [None, None]),  # of which of the two?
        ([''], {'Kim': [ONE], 'Bo': [TWO]}, [None]),
        (['Kim'], {'Bo': [ONE]}, [None]),  # of another animal
        ([''], {'': [ONE, TWO]}, [ONE]),  # the first one, as without names
        (['Kim'], {'': [ONE, TWO]}, [None]),
    ],
)
def test_boxes_of_the_metadata_belong_to_an_animal(tmp_path, animals, drawn, expected):
    lines = [f'a.mp4,1,{n},{animal}' for n, animal in enumerate(animals)]
    metadata = [f'a.mp4,1,{name},{",".join(map(str, box))},s' for name, found in drawn.items() for box in found]
    found = read(tmp_path, LABELS, *lines, metadata=[METADATA, *metadata])
    assert of_targets(found) == expected and found.rows['site'].tolist() == ['s'] * len(animals)
    assert len(found.boxes) == sum(map(len, drawn.values())) and not found.problems
