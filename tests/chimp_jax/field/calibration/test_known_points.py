"""The table of known distances: foot points in shares or pixels, and a line for each row that cannot be used."""

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.calibration.boxes import CORNERS, add_feet, best_feet
from chimp_jax.field.calibration.known_points import in_shares, read_known_points, with_feet
from data_prep.archive import Names

CLIPS = Names(['A/a.mp4', 'A/b.mp4', 'B/c.mp4'])


def read(tmp_path, text):
    (tmp_path / 'known.csv').write_text(text)
    return read_known_points(tmp_path / 'known.csv', CLIPS)


def reasons(known):
    return {problem.row: problem.reason for problem in known.problems}


def test_a_table_without_foot_points(tmp_path):
    known = read(tmp_path, 'video_id;time;distance\nA\\a.mp4;0:03;2,5\nB/c.mp4;7.9;4\n')
    assert known.rows[['video_id', 'time', 'distance']].to_numpy().tolist() == [['A/a.mp4', 3, 2.5], ['B/c.mp4', 7, 4]]
    assert known.rows['x'].isna().all() and not known.not_animals and not known.problems
    assert known.rows['row'].tolist() == ['known.csv:2', 'known.csv:3']


def test_pixels_become_shares_of_the_size_of_their_clip(tmp_path):
    known = read(tmp_path, 'video_id,time,distance,x,y\nA/a.mp4,0,2,320,270\nB/c.mp4,0,3,64,50\nA/b.mp4,1,4,100,361\n')
    assert known.rows['in_pixels'].all()
    found = in_shares(known, {'A/a.mp4': (360, 640), 'A/b.mp4': (360, 640), 'B/c.mp4': (100, 128)})
    assert found.rows[['x', 'y']].to_numpy().tolist() == [[0.5, 0.75], [0.5, 0.5]]
    assert list(reasons(found)) == ['known.csv:4'] and 'outside the picture' in reasons(found)['known.csv:4']


def test_each_bad_row_has_a_line_and_the_others_serve(tmp_path):
    known = read(
        tmp_path,
        'video_id,time,distance,x,y,animal\n'
        'A/a.mp4,0,2,0.5,0.75,no\n'  # 2: good
        'A/a.mp4,1,0,0.5,0.75,\n'
        'A/a.mp4,2,-3,0.5,0.75,\n'
        'A/a.mp4,3,far,0.5,0.75,\n'
        'A/a.mp4,4,2,0.5,,\n'  # 6
        'A/a.mp4,5,2,0.5,1.2,\n'
        'A/a.mp4,soon,2,0.5,0.7,\n'
        '../a.mp4,5,2,0.5,0.7,\n'
        'A/a.mp4,5,2,0.5,0.7,perhaps\n'  # 10
        'A/a.mp4,0,2,0.5,0.75,\n'
        'B/c.mp4,5,9,,,\n'
        'B/c.mp4,5,8,,,\n',
    )
    assert known.rows['row'].tolist() == ['known.csv:2', 'known.csv:12']
    told = reasons(known)
    assert list(told) == [f'known.csv:{n}' for n in (3, 4, 5, 6, 8, 9, 10, 7, 11, 13)]
    words = ['above 0', 'above 0', 'number', 'only one', 'time', 'clips folder', 'yes nor no', 'outside', 'repeats']
    assert [word in reason for word, reason in zip(words, told.values(), strict=False)] == [True] * 9
    assert '9 m in known.csv:12' in told['known.csv:13']
    assert known.not_animals == {'A/a.mp4'}


def test_two_points_of_one_second_serve_if_their_feet_differ(tmp_path):
    known = read(
        tmp_path, 'video_id,time,distance,x,y\nA/a.mp4,0,2,0.2,0.9\nA/a.mp4,0,4,0.6,0.7\nA/b.mp4,0,3,0.5,0.8\n'
    )
    assert len(known.rows) == 3 and not known.problems
    assert known.by_second()['video_id'].tolist() == ['A/b.mp4']  # the members see a second, not a point


def test_each_row_has_its_own_unit_and_two_units_in_a_row_are_told(tmp_path):
    known = read(
        tmp_path, 'video_id,time,distance,x,y\nA/a.mp4,0,2,320,270\nA/a.mp4,1,2,0.5,0.75\nB/c.mp4,1,3,0.41,93\n'
    )
    assert known.rows['in_pixels'].tolist() == [True, False]
    assert list(reasons(known)) == ['known.csv:4'] and 'one unit' in reasons(known)['known.csv:4']
    found = in_shares(known, {'A/a.mp4': (360, 640)})
    assert found.rows[['x', 'y']].to_numpy().tolist() == [[0.5, 0.75], [0.5, 0.75]]


def test_two_sites_in_one_folder_are_told(tmp_path):
    known = read(tmp_path, 'video_id,time,distance,site\nA/a.mp4,0,2,ridge\nA/b.mp4,0,2,creek\nB/c.mp4,0,2,B\n')
    assert known.rows['video_id'].tolist() == ['B/c.mp4']
    assert set(reasons(known)) == {'known.csv:2', 'known.csv:3'}
    assert "'creek' and 'ridge'" in reasons(known)['known.csv:2']


def test_boxes_give_the_missing_foot_points(tmp_path):
    known = read(
        tmp_path, 'video_id,time,distance,x,y\nA/a.mp4,0,2,,\nA/a.mp4,1,3,0.5,0.6\nA/a.mp4,2,4,,\nA/b.mp4,0,5,,\n'
    )
    feet = pd.DataFrame(
        [('A/a.mp4', 0, 0.25, 0.9, 0), ('A/a.mp4', 1, 0.1, 0.1, 1), ('A/b.mp4', 0, np.nan, np.nan, 0)],
        columns=['video_id', 'time', 'x', 'y', 'others'],
    )
    found = with_feet(known, feet)
    assert found.rows[['x', 'y']].to_numpy().tolist() == [[0.25, 0.9], [0.5, 0.6]]  # a typed point takes precedence
    told = reasons(found)
    assert 'no box' in told['known.csv:4'] and 'cut off' in told['known.csv:5']


def test_a_box_of_a_second_with_several_animals_gives_no_foot_point(tmp_path):
    corners = [(0.1, 0.2, 0.3, 0.8), (0.6, 0.2, 0.8, 0.9), (0.61, 0.2, 0.8, 0.9), (0.1, 0.2, 0.3, 0.8)]
    boxes = pd.DataFrame(corners, columns=CORNERS).assign(
        video_id='A/a.mp4',
        time=[0, 0, 1, 1],
        animal='',
        time_s=[0.0, 0.0, 1.0, 1.0],
        frame_number=[0, 0, 8, 8],
        confidence=[0.9, 0.5, 0.9, 0.3],
        label='',
        in_pixels=False,
    )
    feet = best_feet(add_feet(boxes, {}))
    assert feet['others'].tolist() == [1, 0]  # a box with a third of the confidence is no second animal
    known = read(tmp_path, 'video_id,time,distance,x,y\nA/a.mp4,0,2,,\nA/a.mp4,1,3,,\nA/a.mp4,0,4,0.7,0.9\n')
    found = with_feet(known, feet)
    assert found.rows['row'].tolist() == ['known.csv:3', 'known.csv:4']
    assert 'shows several animals; give x and y' in reasons(found)['known.csv:2']


def test_no_row_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match='known.csv has no row'):
        read(tmp_path, 'video_id,time,distance\n')
