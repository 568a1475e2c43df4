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


def named(found):
    return found.rows[['time_s', 'animal', 'distance_m']].values.tolist()


def test_names_tell_the_animals_of_a_second_apart(tmp_path):
    found = read(
        tmp_path,
        'video_id,time,distance,animal',
        'a.mp4,0,3.5, Kim',
        'a.mp4,0,12,Le\u0301a  B',
        'a.mp4,0.5,12.0,L\xe9a B',  # the same animal, second and distance: repeated
        'a.mp4,1,4,Kim',
        'a.mp4,2,,No',
        'a.mp4,3,7,',
        'a.mp4,4,8,NA',
        with_distance=True,
    )
    assert named(found) == [[0, 'Kim', 3.5], [0, 'L\xe9a B', 12], [1, 'Kim', 4], [3, '', 7], [4, '', 8]]
    assert found.empty == (('a.mp4', 2),) and not found.problems
    assert found.notes == [
        't.csv: times floored to the second in 1 rows, first in line 4',
        't.csv: repeated rows dropped in 1 rows, first in line 4',
        't.csv: the column animal is read as names of animals, 2 different ones: Kim, L\xe9a B; '
        '1 rows tell that there is no animal',
    ]


def test_one_animal_cannot_be_at_two_distances_in_a_second(tmp_path):
    lines = ['video_id,time,distance,animal', 'a.mp4,3,2,Kim', 'a.mp4,3,5,Bo', 'a.mp4,3.5,4,Kim']
    found = read(tmp_path, *lines, with_distance=True)
    (problem,) = found.problems
    assert problem.row == 't.csv:4'
    assert problem.reason == "'Kim' in second 3 is at 4 m here, at 2 m in line 2; remove one row"
    assert named(found) == [[3, 'Kim', 2], [3, 'Bo', 5]]


@pytest.mark.parametrize(
    'cells, names',
    [
        (('0', '1', '2'), ['0', '1', '2']),  # numbers of animals
        (('0', '1', 'no'), ['']),  # as without names: no animal in the first and the third row
        (('y', 'n', 'x'), ['y', 'x']),  # n still means no animal
        (('true', '', 'no'), ['']),  # the empty cell is a fault
        (('Kim', '', 'false'), ['Kim', '']),
    ],
)
def test_the_column_is_yes_or_no_unless_it_has_a_name(tmp_path, cells, names):
    found = read(tmp_path, 'video_id,time,animal', *(f'a.mp4,{t},{cell}' for t, cell in enumerate(cells)))
    assert found.rows['animal'].tolist() == names


def test_an_empty_column_counts_as_none(tmp_path):
    found = read(tmp_path, 'video_id,time,animal', 'a.mp4,0,', 'a.mp4,1, ')
    assert targets(found) == [('a.mp4', 0), ('a.mp4', 1)] and not found.problems
    assert found.notes == ['t.csv: the column animal is empty']


def test_none_beside_names_may_mean_two_things(tmp_path):
    found = read(tmp_path, 'video_id,time,animal', 'a.mp4,0,Kim', 'a.mp4,1,None')
    (problem,) = found.problems
    assert problem.row == 't.csv:3'
    assert problem.reason == "animal 'None' may mean no animal or no name; write no, or leave the cell empty"


def test_two_animals_called_0_and_1_are_refused_with_the_remedy(tmp_path):
    found = read(tmp_path, 'video_id,time,animal', 'a.mp4,0,0', 'a.mp4,0,1')
    (problem,) = found.problems
    assert problem.reason.endswith('remove one row; if 0 and 1 are names of animals, write other names')
