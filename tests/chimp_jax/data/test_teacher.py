"""A teacher's distances in records, by hand: mixture with labels, new targets, what is refused and what is counted."""

import dataclasses
import logging

import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax.data.folds import load_folds
from chimp_jax.data.teacher import held_seconds, read_teacher, with_every_second
from chimp_jax.data.training_data import TrainingData
from data_prep.records import read_records, write_records

HEADER = 'video_id,time,distance,out_of_fold'


def table(folder, rows, header=HEADER):
    path = folder / 'teacher.csv'
    path.write_text('\n'.join([header, *rows]) + '\n')
    return path


def fields(targets, seconds=range(13)):
    """targets: (second, animal, distance)."""
    time, animal, distance = zip(*targets, strict=True)
    return {
        'video_id': 'a.mp4',
        'frame_time_s': np.array(seconds, np.int32),
        'target_time_s': np.array(time, np.int32),
        'target_animal': list(animal),
        'target_distance_m': np.array(distance, np.float32),
        'target_box': np.zeros((len(time), 4), np.float32),
    }


def test_labels_and_distances_are_mixed_by_hand(tmp_path):
    rows = ['a.mp4,2,8,yes', 'a.mp4,4,3,yes', 'a.mp4,6,1,yes', 'a.mp4,11,9,yes', 'b.mp4,2,7,yes', 'a.mp4,7,,yes']
    teacher = read_teacher(table(tmp_path, rows), share=0.25)
    record = fields([(9, '', 5.0), (2, '', 4.0), (6, '', np.nan), (3, '', np.nan)])
    taught, n_rows = teacher.teach(record, n_frames=3, step_s=1)
    # 2 s: 3/4 of the label 4 m and 1/4 of 8 m. 6 s: no label. 9 s: no row. 3 s: neither. 4 s is a new target. 11 s is
    # after the last target, and 7 s has no distance.
    assert taught['target_time_s'].tolist() == [9, 2, 6, 3, 4]
    np.testing.assert_array_equal(taught['target_distance_m'], np.float32([5, 5, 1, np.nan, 3]))
    assert taught['target_animal'] == [''] * 5 and np.isnan(taught['target_box'][4:]).all()
    assert taught['target_box'].shape == (5, 4) and not taught['target_box'][:4].any()
    assert (n_rows, teacher.n_rows, teacher.n_without_distance) == (3, 5, 1)
    np.testing.assert_array_equal(record['target_distance_m'], np.float32([5, 4, np.nan, np.nan]))  # not changed

    other, n_rows = teacher.teach(record | {'video_id': 'c.mp4'}, 3, 1)
    assert n_rows == 0 and other['target_time_s'] is record['target_time_s']


def test_rows_of_animals_fit_the_animals_of_the_record(tmp_path):
    rows = ['a.mp4,2,a,8,yes', 'a.mp4,2,c,3,yes', 'a.mp4,2,,9,yes', 'a.mp4,4,b,6,yes', 'a.mp4,3,,1,yes']
    teacher = read_teacher(table(tmp_path, rows, 'video_id,time,animal,distance,out_of_fold'), share=1.0)
    taught, n_rows = teacher.teach(fields([(2, 'a', 4.0), (2, 'b', 5.0), (4, 'b', np.nan)]), 3, 1)
    # There is no animal c, and the whole second 2 is no target; second 3 is a new one.
    assert list(zip(taught['target_time_s'], taught['target_animal'], strict=True)) == [
        (2, 'a'),
        (2, 'b'),
        (4, 'b'),
        (3, ''),
    ]
    assert taught['target_distance_m'].tolist() == [8, 5, 6, 1] and n_rows == 3


def test_held_seconds_have_the_window_of_a_target():
    # Windows of 3 s. Second 3 needs 4, second 6 needs 5; before 1 and after 7 there is no target.
    assert held_seconds(np.array([0, 1, 2, 3, 6, 7, 8]), np.array([7, 1]), 3, [1]).tolist() == [1, 2, 7]
    # The ends of the clip repeat: 0 s has 0 0 1. With steps of 2 s, 1 s has 0 1 3, and 3 s lacks 5.
    frames = np.array([0, 1, 2, 3, 4])
    assert held_seconds(frames, np.array([0, 9]), 3, [1]).tolist() == [0, 1, 2, 3, 4]
    assert held_seconds(np.array([0, 1, 2, 3, 6]), np.array([0, 6]), 3, [1, 2]).tolist() == [0, 1]
    assert held_seconds(frames, np.array([], int), 3, [1]).tolist() == []


def test_every_second_between_targets_becomes_a_target():
    # Targets 0, 2 ... 18 store 0 to 23 and 24, 26, 28. The window of steps of 2 s reaches from 13 to 23, from 15 to 25.
    record = small.timed('a.mp4', np.arange(0, 20, 2))
    more = with_every_second(record)
    assert more.target_time_s.tolist() == [*range(0, 20, 2), 1, 3, 5, 7, 9, 11, 13]
    np.testing.assert_array_equal(more.target_distance_m[:10], record.target_distance_m)
    assert np.isnan(more.target_distance_m[10:]).all() and more.target_animal == [''] * 17
    assert more.target_box.shape == (17, 4) and more.frame_jpeg is record.frame_jpeg


@pytest.mark.parametrize(
    'rows,said',
    [
        (['a.mp4,2,-1,yes'], 'teacher.csv:2: the distance is below 0'),
        (['a.mp4,2,1,yes', 'a.mp4,2,1,yes'], "teacher.csv:3: a second row for 'a.mp4', 2"),
        (['a.mp4,2.5,1,yes'], "teacher.csv:2: time '2.5' is not a whole second"),
        (['a.mp4,2,near,yes'], 'teacher.csv:2: distance'),
    ],
)
def test_a_faulty_table_is_refused_with_its_row(tmp_path, rows, said):
    with pytest.raises(ValueError, match=said):
        read_teacher(table(tmp_path, rows), share=0.5)


def test_a_share_is_from_0_to_1(tmp_path):
    for share in (-0.1, 1.1, float('nan')):
        with pytest.raises(ValueError, match='teacher_share=.* set 0 to 1'):
            read_teacher(table(tmp_path, ['a.mp4,2,1,yes']), share)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """small's data; `more` has a clip of a site of fold 0, one of an unknown site, and one that small's data has."""
    folder = tmp_path_factory.mktemp('records')
    small.write_data(folder)
    more = [small.record(name, 8, [0, 3, 6], seed) for name, seed in (('m.mp4', 20), ('n.mp4', 22), ('clip 1.mp4', 24))]
    more = [dataclasses.replace(one, site=site) for one, site in zip(more, ('s1', '', 's9'), strict=True)]
    for stream in ('full', 'down'):
        write_records(
            {'test': [one.video_id for one in more]}, {one.video_id: one for one in more}.get, folder / 'more', stream
        )
    return folder


def student(folder, rows, header=HEADER, **fields):
    """small's config with the table, by site. Each clip of 8 to 13 s has labels at 0, 2, 4 and 6 s."""
    config = small.config(folder)
    path = table(folder, rows, header)
    config.data.update(folds='site', teacher=str(path), unlabelled=str(folder / 'more'), **fields)
    return TrainingData(config.data, batch_size=1, seed=0), load_folds(folder, 'site', 2)


ROWS = [
    *(f'clip {number}.mp4,{second},30,yes' for number in (0, 1, 3) for second in (2, 3)),
    *(f'{name},{second},40,' for name in ('y.mp4', 'm.mp4', 'n.mp4') for second in (3, 4)),
    'y.mp4,5,,',
    'unknown.mp4,1,2,',
]


def test_a_student_trains_on_its_fold_and_on_clips_without_labels(folder, caplog):
    caplog.set_level(logging.INFO)
    data, folds = student(folder, ROWS, teacher_share=0.5)
    # Fold 0 validates clips 0, 1 and 2, of the sites s0 to s2, so it does not learn m.mp4 of s1.
    found = {}
    for batch in data.batches(folds[0], epoch=1):
        for name, time, distance, mask in zip(
            *(batch[k] for k in ('video_id', 'time', 'distance', 'mask')), strict=True
        ):
            assert mask.tolist() == [1]
            found[name.decode(), int(time[0])] = float(distance[0])
    labels = {r.video_id: r.target_distance_m for r in read_records(folder, 'full', 'train')}
    expected = {(f'clip {n}.mp4', 2 * k): labels[f'clip {n}.mp4'][k] for n in (3, 4, 5) for k in range(4)}
    expected['clip 3.mp4', 2] = (expected['clip 3.mp4', 2] + 30) / 2
    expected |= {
        ('clip 3.mp4', 3): 30.0,
        ('y.mp4', 3): 40.0,
        ('y.mp4', 4): 40.0,
        ('n.mp4', 3): 40.0,
        ('n.mp4', 4): 40.0,
    }
    expected = {key: float(metres) for key, metres in expected.items() if np.isfinite(metres)}
    assert found == pytest.approx(expected)
    said = [line for line in caplog.messages if 'teacher.csv: ' in line]
    # Taught: 3 labelled clips, y, m and n. No row: clips 2, 4 and 5, a/x and b/x. clip 1.mp4 is in both folders.
    assert said == [
        f'{folder}/teacher.csv: 12 rows teach 6 clips, 3 of them labelled; 1 rows fit no second of the records; '
        '5 clips of the records have no row; 1 rows have no distance; '
        '1 clips are in two folders of records and are read from the first'
    ]
    assert any(
        'fold 0: 2 of 3 clips without labels are learned; the others come from sites' in m for m in caplog.messages
    )
    assert any('the site of 1 is unknown' in line for line in caplog.messages)


def test_validation_knows_no_teacher(folder):
    data, folds = student(folder, ROWS)
    labels = {r.video_id: r for r in read_records(folder, 'full', 'train')}
    read = list(data.validation_records(folds[0]))
    assert sorted(r.video_id for r in read) == ['clip 0.mp4', 'clip 1.mp4', 'clip 2.mp4']
    for one in read:
        assert one.frame_jpeg == labels[one.video_id].frame_jpeg
        np.testing.assert_array_equal(one.target_time_s, [0, 2, 4, 6])
        np.testing.assert_array_equal(one.target_distance_m, labels[one.video_id].target_distance_m)


@pytest.mark.parametrize(
    'rows,header,said',
    [
        (['clip 3.mp4,2,30,no'], HEADER, 'teacher.csv:2: out_of_fold is not yes in rows of 1 labelled clips'),
        (['y.mp4,3,9', 'clip 3.mp4,2,30'], 'video_id,time,distance', 'teacher.csv:3: out_of_fold is not yes'),
        (['unknown.mp4,3,9'], 'video_id,time,distance', 'no row fits a second of the records'),
    ],
)
def test_predictions_of_seen_clips_and_foreign_tables_are_refused(folder, rows, header, said):
    data, folds = student(folder, rows, header)
    with pytest.raises(ValueError, match=said):
        data.n_steps(folds[0])


def test_clips_without_labels_require_a_teacher_and_a_split(folder, tmp_path):
    config = small.config(folder)
    config.data.unlabelled = str(folder / 'more')
    with pytest.raises(ValueError, match='set --config.data.teacher too'):
        TrainingData(config.data, batch_size=1, seed=0)
    config.data.update(teacher=str(table(folder, ROWS)), unlabelled=str(folder))
    assert TrainingData(config.data, batch_size=1, seed=0).sources.n_records == 12  # 6 + 3, and the 3 again
    write_records({'train': ['q.mp4']}, {'q.mp4': small.record('q.mp4', 8, [0], 0)}.get, tmp_path, 'full')
    config.data.unlabelled = str(tmp_path)
    with pytest.raises(ValueError, match='has no clips without labels .split test.; prepare them with'):
        TrainingData(config.data, batch_size=1, seed=0)


def test_without_a_teacher_the_split_test_is_not_read(folder):
    config = small.config(folder)
    data = TrainingData(config.data, batch_size=1, seed=0)
    assert data.sources.n_records == 6
    fold = load_folds(folder, 'clip', 2)[0]
    assert data.training_clips(fold) == fold.training


def test_plain_predictions_of_clips_without_labels_are_a_table(folder):
    """The output of predict.py for the split `test` has no column out_of_fold."""
    rows = pd.DataFrame({'video_id': ['y.mp4', 'y.mp4'], 'time': [3, 4], 'distance': [5.0, 6.0]})
    lines = rows.to_csv(index=False).splitlines()
    data, folds = student(folder, lines[1:], lines[0])
    assert data.n_steps(folds[0]) == 12 - 2 + 2  # the last labels of clips 3 and 5 are unknown
