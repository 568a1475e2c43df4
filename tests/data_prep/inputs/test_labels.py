import math

import pytest

from data_prep.archive import Names
from data_prep.inputs.labels import read_tables, read_targets


def write(path, *lines):
    path.write_text('\n'.join(lines) + '\n')
    return path


def reasons(targets):
    return {problem.row: problem.reason for problem in targets.problems}


def test_good_rows_with_site_and_park(tmp_path):
    labels = write(tmp_path / 'train_labels.csv', 'video_id,time,distance', 'b.mp4,4,2.5', 'a/b.mp4,0,13.5')
    metadata = write(
        tmp_path / 'train_metadata.csv',
        'video_id,time,x1,park,site_id',
        'b.mp4,4,,tai,xy',
        'other.mp4,1,0.5,tai,zz',
    )
    targets = read_targets(labels, metadata)
    assert targets.rows.drop(columns='box').to_dict('list') == {
        'video_id': ['b.mp4', 'a/b.mp4'],
        'time_s': [4, 0],
        'animal': ['', ''],
        'distance_m': [2.5, 13.5],
        'row': ['train_labels.csv:2', 'train_labels.csv:3'],
        'site': ['xy', ''],
        'park': ['tai', ''],
    }
    assert not targets.problems and not targets.notes


def test_site_and_park_may_be_columns_of_the_labels(tmp_path):
    labels = write(tmp_path / 'labels.csv', 'video_id,time,distance,site', 'a.mp4,1,2,s1')
    assert read_targets(labels).rows['site'].tolist() == ['s1']
    assert read_targets(labels).rows['park'].tolist() == ['']


def test_bad_rows_are_refused_with_their_line(tmp_path):
    labels = write(
        tmp_path / 'labels.csv',
        'video_id,time,distance',
        'a.mp4,0,1',
        'a.mp4,x,1',
        'a.mp4,-1,1',
        'a.mp4,nan,1',
        'a.mp4,,1',
        '',
        'a.mp4,1,-0.5',
        'a.mp4,2,inf',
        'a.mp4,3,far',
        ',4,1',
        'a.mp4,1e12,1',
        'a.mp4,5,1',
    )
    targets = read_targets(labels)
    assert targets.rows['time_s'].tolist() == [0, 5]
    found = reasons(targets)
    assert list(found) == [f'labels.csv:{line}' for line in (3, 4, 5, 6, 8, 9, 10, 11, 12)]
    assert found['labels.csv:3'] == "the time 'x' is not a number; write a number with a decimal point"
    assert found['labels.csv:4'] == 'the time -1 is out of bounds; it must be from 0 to 1000000'
    assert found['labels.csv:8'] == 'the distance -0.5 is out of bounds; it must be at least 0'
    assert found['labels.csv:9'] == "the distance 'inf' is not a number; write a number with a decimal point"
    assert found['labels.csv:11'] == 'the video_id is empty'
    assert found['labels.csv:12'] == 'the time 1e12 is out of bounds; it must be from 0 to 1000000'


@pytest.mark.parametrize(
    'video_id', ['../a.mp4', 'x/../../a.mp4', '/etc/a.mp4', 'C:\\a.mp4', '..\\a.mp4', '\\\\h\\s\\a']
)
def test_paths_that_leave_the_clips_folder_are_refused(tmp_path, video_id):
    labels = write(tmp_path / 'labels.csv', 'video_id,time,distance', f'{video_id},0,1', 'a..b.mp4,0,1')
    targets = read_targets(labels)
    assert targets.rows['video_id'].tolist() == ['a..b.mp4']
    assert 'clips folder' in reasons(targets)['labels.csv:2']


def test_repeated_rows(tmp_path):
    labels = write(
        tmp_path / 'labels.csv',
        'video_id,time,distance',
        'a.mp4,3,1',
        'a.mp4,3,1.0',
        'a.mp4,3,2',
        'b.mp4,3,2',
    )
    targets = read_targets(labels)
    assert targets.rows[['video_id', 'distance_m']].values.tolist() == [['a.mp4', 1], ['b.mp4', 2]]
    assert reasons(targets) == {'labels.csv:4': 'second 3 is at 2 m here, at 1 m in line 2; remove one row'}
    assert targets.notes == ['labels.csv: repeated rows dropped in 1 rows, first in line 3']


def test_fractional_times_are_floored_with_a_note(tmp_path):
    labels = write(tmp_path / 'labels.csv', 'video_id,time,distance', 'a.mp4,3.0,1', 'a.mp4,4.96,2')
    targets = read_targets(labels)
    assert targets.rows['time_s'].tolist() == [3, 4]
    assert targets.notes == ['labels.csv: times floored to the second in 1 rows, first in line 3']


def test_times_as_hours_minutes_and_seconds(tmp_path):
    labels = write(tmp_path / 'l.csv', 'video_id,time,distance', 'a.mp4,0:05,1', 'a.mp4,00:01:05.5,2', 'a.mp4,0:99,3')
    targets = read_targets(labels)
    assert targets.rows['time_s'].tolist() == [5, 65]
    assert reasons(targets) == {'l.csv:4': "the time '0:99' is not a time in a clip; write seconds, mm:ss or hh:mm:ss"}
    assert targets.notes == [
        'l.csv: times floored to the second in 1 rows, first in line 3',
        'l.csv: times read as hours, minutes and seconds in 2 rows; line 2: 0:05 is second 5',
    ]


def test_an_empty_distance_is_a_target_unless_others_have_one(tmp_path):
    empty = write(tmp_path / 'wanted.csv', 'filepath,time,distance', 'a.mp4,1,', 'a.mp4,2, ')
    (split, targets), *others = read_tables(empty).items()
    assert split == 'test' and not others and targets.rows['time_s'].tolist() == [1, 2] and not targets.problems
    mixed = write(tmp_path / 'mixed.csv', 'filepath,time,distance', 'a.mp4,0,7.4', 'a.mp4,0,3.1', 'a.mp4,1,')
    (targets,) = read_tables(mixed).values()
    assert reasons(targets)['mixed.csv:4'] == 'the distance is empty; write it, or remove the row'
    # As a table of wanted targets: distances, even two for a second, do not matter.
    (split, targets), *others = read_tables(mixed, with_distance=False).items()
    assert split == 'test' and not others and targets.rows['time_s'].tolist() == [0, 1]
    assert not targets.problems and targets.rows['distance_m'].isna().all()


def test_other_spellings_of_a_clip_are_that_clip(tmp_path):
    on_disk = 'For\u0065\u0302t/a.mp4'
    spellings = [on_disk, 'For\xeat/a.mp4', './For\xeat\\a.mp4', 'For\xeat/a.mp4 ']
    lines = [f'{name},{t},{t + 1}' for t, name in enumerate(spellings)]
    table = write(
        tmp_path / 'l.csv', 'video_id,time,distance,x1,y1,x2,y2,site', *(f'{line},0,0,1,1,s' for line in lines)
    )
    targets = read_targets(table, names=Names([on_disk, 'b.mp4']))
    assert targets.rows['video_id'].tolist() == [on_disk] * 4 and targets.rows['site'].tolist() == ['s'] * 4
    assert targets.rows['box'].tolist() == [(0, 0, 1, 1)] * 4
    again = write(tmp_path / 'l.csv', 'video_id,time,distance', f'{spellings[0]},1,3', f'{spellings[1]},1,9')
    assert reasons(read_targets(again, names=Names([on_disk]))) == {
        'l.csv:3': 'second 1 is at 9 m here, at 3 m in line 2; remove one row'
    }


def test_a_clip_with_two_sites_is_refused(tmp_path):
    labels = write(tmp_path / 'l.csv', 'video_id,time,distance,Site', 'a,0,1,x', 'a,1,1,y', 'b,0,1,y ', 'c,0,1,n/a')
    targets = read_targets(labels)
    assert targets.rows[['video_id', 'site']].values.tolist() == [['b', 'y'], ['c', '']]
    (problem,) = targets.problems
    assert (problem.video_id, problem.row, problem.stage) == ('a', 'l.csv:2', 'labels')
    assert problem.reason == "the site is 'y' in line 3 of l.csv, 'x' in line 2; write one site for a clip (2 rows)"
    assert [lost.time_s for lost in targets.lost] == [0, 1]


def test_missing_columns_and_broken_tables_are_refused(tmp_path):
    labels = write(tmp_path / 'labels.csv', 'video,time,metres', 'a.mp4,3,1')
    with pytest.raises(ValueError, match='lacks the column video_id, distance; it has video, time'):
        read_targets(labels)
    with pytest.raises(ValueError, match='labels.csv'):
        read_targets(write(tmp_path / 'labels.csv', 'video_id,time,distance', 'a,1,2,3,4', 'a,"'))
    with pytest.raises(ValueError, match='missing.csv'):
        read_targets(tmp_path / 'missing.csv')
    (tmp_path / 'empty.csv').touch()
    with pytest.raises(ValueError, match='empty.csv'):
        read_targets(tmp_path / 'empty.csv')


def test_a_submission_format_has_no_distances(tmp_path):
    table = write(tmp_path / 'submission_format.csv', 'video_id,time,distance', 'a.mp4,3,1.0', 'a.mp4,1,what')
    targets = read_targets(table, with_distance=False)
    assert targets.rows['time_s'].tolist() == [3, 1]
    assert all(math.isnan(distance) for distance in targets.rows['distance_m'])
    assert not targets.problems


def test_boxes_of_the_metadata_go_to_their_rows(tmp_path):
    labels = write(tmp_path / 'l.csv', 'video_id,time,distance', 'a.mp4,0,1', 'a.mp4,2,1', 'a.mp4,4,1', 'b.mp4,0,1')
    metadata = write(
        tmp_path / 'm.csv',
        'video_id,time,x1,y1,x2,y2,park',
        'a.mp4,2,0.1,0.2,0.3,0.4,tai',
        'a.mp4,0,,,,,tai',
        'a.mp4,4,0.5,0.2,0.3,0.4,tai',
        'b.mp4,0,0.5,0.2,1.3,0.4,tai',
    )
    targets = read_targets(labels, metadata)
    boxes = targets.rows['box'].tolist()
    assert boxes[1] == (0.1, 0.2, 0.3, 0.4)
    assert all(math.isnan(value) for i in (0, 2, 3) for value in boxes[i])
    assert {problem.row: (problem.video_id, problem.stage) for problem in targets.problems} == {
        'm.csv:4': ('a.mp4', 'boxes'),
        'm.csv:5': ('b.mp4', 'boxes'),
    }
    assert reasons(targets)['m.csv:5'].startswith('the box is outside the picture, x2 is 1.3; write shares')
    assert len(targets.rows) == 4 and not targets.lost and not targets.notes


def test_any_csv_with_other_names_and_separators(tmp_path):
    table = write(tmp_path / 'mine.csv', 'filepath;time;distance;site', 'a b.mp4;3,7;2,5;s1')
    targets = read_tables(table)
    assert list(targets) == ['train']
    (row,) = targets['train'].rows.drop(columns='box').to_dict('records')
    assert row == {
        'video_id': 'a b.mp4',
        'time_s': 3,
        'animal': '',
        'distance_m': 2.5,
        'row': 'mine.csv:2',
        'site': 's1',
        'park': '',
    }
    assert list(read_tables(write(tmp_path / 'wanted.csv', 'video_id,time', 'a.mp4,3'))) == ['test']


def test_names_that_look_like_numbers_or_missing_values_stay_names(tmp_path):
    labels = write(tmp_path / 'l.csv', 'video_id,time,distance,site', '007,0,1,NA', 'NA,1,2,007', '1e5,2,3,nan')
    rows = read_targets(labels).rows
    assert rows['video_id'].tolist() == ['007', 'NA', '1e5']
    assert rows['site'].tolist() == ['', '007', '']  # NA and nan are no sites


def test_a_table_in_another_encoding_is_refused_with_the_remedy(tmp_path):
    (tmp_path / 'latin.csv').write_bytes('video_id,time,distance\nforêt.mp4,0,1\n'.encode('latin-1'))
    with pytest.raises(ValueError, match='latin.csv is not UTF-8 .*CSV UTF-8'):
        read_tables(tmp_path / 'latin.csv')


def test_tables_of_a_folder(tmp_path):
    write(tmp_path / 'train_labels.csv', 'video_id,time,distance', 'a.mp4,0,1')
    write(tmp_path / 'submission_format.csv', 'video_id,time,distance', 'b.mp4,0,1', 'a.mp4,2,1')
    targets = read_tables(tmp_path)
    assert {split: table.rows['video_id'].tolist() for split, table in targets.items()} == {
        'train': ['a.mp4'],
        'test': ['b.mp4'],
    }
    (both,) = targets['test'].problems
    assert (both.video_id, both.stage) == ('a.mp4', 'labels')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='none of train_labels.csv, submission_format.csv'):
        read_tables(tmp_path / 'empty')


def test_the_challenge_tables():
    from make_clips import SHARED_CLIPS

    tables = SHARED_CLIPS.parent / 'deep_chimpact'
    if not tables.exists():
        pytest.skip(f'{tables} is missing')
    train = read_targets(tables / 'train_labels.csv', tables / 'train_metadata.csv')
    assert not train.problems and not train.notes
    assert len(train.rows) == 15_229
    assert train.rows['video_id'].nunique() == 2_072
    assert train.rows['site'].nunique() == 153
    assert train.rows['distance_m'].nunique() == 35
    # aany.mp4 at 10 s, rounded in the file to 6 digits or more
    assert train.rows['box'][1] == pytest.approx((0.596800, 0.490759, 0.909203, 0.770658), abs=1e-4)
    # awk -F, 'NR>1 && $3!=""' train_metadata.csv | wc -l; its probability in line 3
    assert len(train.boxes) == 12_951 and train.boxes[1].confidence == 0.21808858
    test = read_targets(tables / 'submission_format.csv', tables / 'test_metadata.csv', False)
    assert (len(test.rows), test.rows['video_id'].nunique()) == (11_932, 1_836)


@pytest.mark.parametrize('row', ['a.mp4,4,3,5', 'a.mp4,1', 'a.mp4,1,2,3,4'])
def test_rows_with_another_number_of_cells_than_the_header_are_refused(tmp_path, row):
    # pandas would take a.mp4 for the row's name and 4 for the video_id.
    labels = write(tmp_path / 'labels.csv', 'video_id,time,distance', 'b.mp4,0,1', row)
    with pytest.raises(ValueError, match=rf'labels\.csv:3 has {row.count(",") + 1} cells, the header has 3'):
        read_targets(labels)


def test_empty_cells_at_the_end_of_a_row_are_ignored(tmp_path):
    labels = write(tmp_path / 'labels.csv', 'video_id,time,distance', 'a.mp4,1,2,', 'b.mp4,3,4,,')
    assert read_targets(labels).rows['distance_m'].tolist() == [2, 4]
