"""The column `animal` of a table of targets."""

import pytest

from data_prep.inputs.labels import read_targets


def read(folder, *lines, with_distance=False):
    (folder / 't.csv').write_text('\n'.join(lines))
    return read_targets(folder / 't.csv', None, with_distance)


def targets(found):
    return list(zip(found.rows['video_id'], found.rows['time_s'], strict=True))


def test_a_row_without_an_animal_was_looked_at_and_is_no_target(tmp_path):
    found = read(
        tmp_path, 'video_id,time,animal', 'a.mp4,0,yes', 'a.mp4,2,No', 'a.mp4,4.5,0', 'b.mp4,1, TRUE ', 'b.mp4,2,false'
    )
    assert targets(found) == [('a.mp4', 0), ('b.mp4', 1)]
    assert found.empty == (('a.mp4', 2), ('a.mp4', 4), ('b.mp4', 2)) and not found.problems


def test_without_the_column_all_rows_are_targets(tmp_path):
    found = read(tmp_path, 'video_id,time', 'a.mp4,0', 'a.mp4,2')
    assert targets(found) == [('a.mp4', 0), ('a.mp4', 2)] and found.empty == ()


def test_a_row_without_an_animal_needs_no_distance(tmp_path):
    found = read(tmp_path, 'video_id,time,distance,animal', 'a.mp4,0,3.5,1', 'a.mp4,2,,0', with_distance=True)
    assert targets(found) == [('a.mp4', 0)] and found.empty == (('a.mp4', 2),) and not found.problems


@pytest.mark.parametrize(
    'line, reason',
    [
        ('a.mp4,4,maybe', "animal 'maybe' is neither yes nor no; write one of them"),
        ('a.mp4,4,', "animal '' is neither yes nor no; write one of them"),
        ('a.mp4,0,no', 'second 0 has an animal in line 2; remove one row'),
        ('a.mp4,-1,no', 'the time -1 is out of bounds'),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, line, reason):
    found = read(tmp_path, 'video_id,time,animal', 'a.mp4,0,yes', line)
    (problem,) = found.problems
    assert (problem.video_id, problem.row) == ('a.mp4', 't.csv:3') and problem.reason.startswith(reason)
    assert targets(found) == [('a.mp4', 0)] and found.empty == ()
