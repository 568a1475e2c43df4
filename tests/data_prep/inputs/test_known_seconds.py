"""Seconds of known distances beside the targets of a job."""

import math

import numpy as np
import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip

from data_prep.archive import Archive
from data_prep.inputs.columns.boxes import NO_BOX
from data_prep.inputs.known_seconds import add_seconds, find_known_seconds
from data_prep.inputs.labels import Targets, every_second
from data_prep.job import Job
from data_prep.plan import make_plan, make_tasks, planned_seconds


def targets(*rows):
    """(video_id, time_s) as Targets with a box, a label and distances."""
    table = pd.DataFrame(rows, columns=['video_id', 'time_s']).assign(distance_m=3.0, site='x', park='', row='t:2')
    return Targets(table.assign(box=[(0.1, 0.1, 0.2, 0.2)] * len(rows), label='duiker'), [], [])


def known(*rows):
    table = pd.DataFrame(rows, columns=['video_id', 'time_s'])
    return table.assign(distance_m=5.0, site='', row=[f'known.csv:{i + 2}' for i in range(len(rows))])


def seconds(table):
    return table.rows.groupby('video_id')['time_s'].apply(sorted).to_dict()


def test_seconds_that_are_no_targets_are_added_without_a_distance_and_named():
    before = {'train': targets(('a', 1), ('a', 4)), 'test': targets(('b', 0))}
    whole, added = add_seconds(before, known(('a', 1), ('a', 2), ('b', 3), ('c', 7)), {}, 1)
    assert seconds(whole['train']) == {'a': [1, 2, 4], 'c': [7]} and seconds(whole['test']) == {'b': [0, 3]}
    assert added == {('a', 2), ('b', 3), ('c', 7)}
    new = whole['train'].rows[whole['train'].rows['time_s'].isin([2, 7])]
    assert new['distance_m'].isna().all() and new['label'].eq('').all() and set(new['row']) == {
        'known.csv:3', 'known.csv:5'
    }  # fmt: skip
    assert all(np.isnan(box).all() for box in new['box'])
    old = whole['train'].rows[whole['train'].rows['time_s'] == 1]
    assert old['distance_m'].tolist() == [3.0] and old['label'].tolist() == ['duiker']
    assert seconds(before['train']) == {'a': [1, 4]}  # the given targets do not change


def test_a_clip_of_every_second_gets_times_only_if_a_second_is_missing():
    every = {'test': every_second(['a', 'b'])}
    same, added = add_seconds(every, known(('a', 0), ('a', 3)), {'a': 10.0}, 3)
    assert same['test'].rows['time_s'].isna().all() and not added
    whole, added = add_seconds(every, known(('a', 3), ('a', 4)), {'a': 9.5}, 3)
    assert whole['test'].rows.loc[whole['test'].rows['video_id'] == 'a', 'time_s'].tolist() == [0, 3, 6, 9, 4]
    assert added == {('a', 4)} and whole['test'].rows['time_s'].isna().sum() == 1
    assert all(box == NO_BOX or np.isnan(box).all() for box in whole['test'].rows['box'] if box is not None)
    with pytest.raises(ValueError, match='a: the length of the clip is unknown.* multiple of 3 s'):
        add_seconds(every, known(('a', 4)), {'a': math.inf}, 3)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """a.mp4 of 3 s, b.mp4 of 2 s, and a file that is not a clip."""
    clips = tmp_path_factory.mktemp('clips')
    write_clip(clips / 'a.mp4', numbered_frames(24), 8)
    write_clip(clips / 'b.mp4', numbered_frames(16), 8)
    (clips / 'broken.mp4').write_bytes(b'not a clip')
    return clips


def test_clips_and_seconds_that_do_not_exist_are_problems_with_their_rows(folder):
    archive = Archive([folder])
    found = find_known_seconds(known(('a.mp4', 0), ('a.mp4', 2)), archive, 1)
    assert found.rows['time_s'].tolist() == [0, 2] and found.ends_s() == {'a.mp4': 3.0} and not found.problems
    assert found.copies['a.mp4'].full == str(folder / 'a.mp4')
    assert found.headers['a.mp4'].frame_times_s.tolist() == [n / 8 for n in range(24)]
    wrong = known(('a.mp4', 0), ('A.mp4', 0), ('b.mp4', 9), ('broken.mp4', 0), ('c.mp4', 1))
    found = find_known_seconds(wrong, archive, 1)
    assert found.rows['video_id'].tolist() == ['a.mp4']
    told = {problem.video_id: (problem.row, problem.reason) for problem in found.problems}
    assert set(told) == {'A.mp4', 'b.mp4', 'broken.mp4', 'c.mp4'}
    assert told['A.mp4'][0] == 'known.csv:3' and "did you mean 'a.mp4'" in told['A.mp4'][1]
    assert 'second 9 is 7.0 s past the end' in told['b.mp4'][1]


def test_known_seconds_become_tasks_and_the_planned_seconds_are_told(folder, tmp_path):
    (tmp_path / 'targets.csv').write_text('video_id,time\na.mp4,1\na.mp4,50\n')
    job = Job(out=str(tmp_path), clips_full=(str(folder),), tables=str(tmp_path / 'targets.csv'))
    plan = make_plan(job)
    # Second 50 does not exist. It is lost, but it has a row in the results.
    assert planned_seconds(plan, {'a.mp4', 'b.mp4'}, 1, 1) == {'a.mp4': {1, 50}}
    found = find_known_seconds(known(('a.mp4', 1), ('b.mp4', 0)), Archive([folder]), 1)
    whole = plan.with_seconds(found, 1)
    assert whole.added == {('b.mp4', 0)} and not plan.added
    assert {task.video_id: task.target_time_s for task in make_tasks(whole, job)} == {'a.mp4': [1], 'b.mp4': [0]}
    every = Job(out=str(tmp_path), clips_full=(str(folder),), every_s=2)
    told = planned_seconds(make_plan(every), {'a.mp4', 'broken.mp4', 'c.mp4'}, 2, 1)
    assert list(told) == ['a.mp4'] and 2 in told['a.mp4'] and 1 not in told['a.mp4'] and 6 not in told['a.mp4']
