"""Tables and boxes that a build reads: which targets, animals and boxes the records have."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from make_builds import arguments, contents, write_clips

from data_prep import build
from data_prep.job import parse_job
from data_prep.records import read_records


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('clips'))


def test_bad_rows_end_a_strict_build_before_anything_is_decoded(clips, tmp_path, capsys):
    out = tmp_path / 'out'
    assert build.main([*arguments(clips, out), '--strict']) == 1
    assert f'3 rows or clips cannot be used, see {out}/problems.csv' in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ['problems.csv']
    assert 'train_labels.csv:10' in (out / 'problems.csv').read_text()


def test_names_that_look_like_numbers_or_missing_values_stay_names(clips, tmp_path):
    names = ['007', '7', 'NA', '1e5']
    (tmp_path / 'clips').mkdir()
    for name in names[:3]:
        shutil.copy(clips / 'full' / 'a.mp4', tmp_path / 'clips' / name)
    table, out = tmp_path / 'mine.csv', tmp_path / 'out'
    table.write_text('video_id,time,distance,site\n' + ''.join(f'{name},0,1,{name}\n' for name in names))
    command = arguments(clips, out, tables=table, clips_down=None, clips_full=tmp_path / 'clips')
    assert build.main([*command, '--delete_frames=False']) == 3
    first = contents(out)
    assert [record.video_id for record in read_records(out, 'full', 'train')] != []
    assert {record.site for record in read_records(out, 'full', 'train')} == {'007', '7', ''}  # NA is no site
    (out / 'dataset.json').unlink()  # killed just before the end: the folds are read again
    assert build.main([*command, '--delete_frames=False']) == 3
    assert contents(out) == first
    job = parse_job(command, None)
    (problem,) = build.build(job)  # read from problems.csv
    assert problem == ('1e5', 'mine.csv:5', 'find', f'no such file in {tmp_path}/clips')


def test_a_csv_of_your_own(clips, tmp_path):
    table = tmp_path / 'mine.csv'
    table.write_text('filepath;time;distance;site\na.mp4;1,5;2,5;s1\na.mp4;5;3;s1\na.mp4;7;3;s1\nsub/a.mp4;0;3;s2\n')
    assert build.main(arguments(clips, tmp_path / 'out', tables=table)) == 3
    train = {record.video_id: record for record in read_records(tmp_path / 'out', 'full', 'train')}
    assert train['a.mp4'].target_time_s.tolist() == [1, 5]  # 5 s long: 5 is its end, 7 is past it
    assert (train['a.mp4'].site, train['sub/a.mp4'].site) == ('s1', 's2')
    (problem,) = pd.read_csv(tmp_path / 'out' / 'problems.csv').itertuples(index=False)
    assert (problem.row, problem.stage) == ('mine.csv:4', 'labels')
    assert problem.reason == 'second 7 is 2.0 s past the end of the clip (5.0 s)'


def test_tables_of_animals_with_boxes_of_a_detector(clips, tmp_path, capsys):
    table, found, out = tmp_path / 'mine.csv', tmp_path / 'md.json', tmp_path / 'out'
    table.write_text(
        'video_id,time,distance,animal,x1,y1,x2,y2,probability\n'
        'a.mp4,1,3,Kim,0,0.25,0.5,0.75,0.5\n'
        'a.mp4,1,12,Bo,0.5,0.25,0.75,0.5,\n'
        'a.mp4,2,4,Kim,0.5,0.5,0.25,1,1\n'  # its corners are exchanged
        'a.mp4,9,4,Kim,,,,,\n'  # past the end
        'sub/a.mp4,0,5,Kim,,,,,\n'
        'sub/a.mp4,3,,no,,,,,\n'
    )
    detection = {'category': '1', 'conf': 0.75, 'bbox': [0.25, 0, 0.25, 1], 'frame_number': 4}
    images = [{'file': name, 'frame_rate': 8.0, 'detections': [detection]} for name in ('a.mp4', 'b.avi', 'gone.mp4')]
    found.write_text(json.dumps({'detection_categories': {'1': 'animal'}, 'images': images}))
    assert build.main([*arguments(clips, out, tables=table), f'--detections={found}']) == 3
    said = capsys.readouterr().out
    assert '\n4 targets, 3 animals with names, 3 boxes\n' in said  # each clip has a Kim
    assert 'note: the boxes of 1 clips without a target are not used, first b.avi' in said
    assert 'note: mine.csv: the column animal is read as names of animals, 2 different ones: Bo, Kim; 1 rows' in said
    problems = pd.read_csv(out / 'problems.csv', keep_default_na=False)
    assert problems[['video_id', 'row', 'stage']].values.tolist() == [
        ['a.mp4', 'mine.csv:4', 'boxes'],
        ['a.mp4', 'mine.csv:5', 'labels'],
        ['gone.mp4', 'md.json', 'boxes'],
    ]
    lost = pd.read_csv(out / 'lost.csv')
    assert lost.drop(columns='reason').values.tolist() == [['train', 'a.mp4', 9, 'Kim']]
    records = {record.video_id: record for record in read_records(out, 'full', 'train')}
    record = records['a.mp4']
    assert record.target_time_s.tolist() == [1, 1, 2] and record.target_animal == ['Kim', 'Bo', 'Kim']
    assert record.target_distance_m.tolist() == [3, 12, 4]
    assert record.target_box[:2].tolist() == [[0, 0.25, 0.5, 0.75], [0.5, 0.25, 0.75, 0.5]]
    assert np.isnan(record.target_box[2]).all()
    assert record.box_time_s.tolist() == [0.5, 1, 1] and record.box_animal == ['', 'Bo', 'Kim']
    assert record.box.tolist() == [[0.25, 0, 0.5, 1], [0.5, 0.25, 0.75, 0.5], [0, 0.25, 0.5, 0.75]]
    assert record.box_confidence.tolist() == [0.75, 1, 0.5]
    assert records['sub/a.mp4'].box.shape == (0, 4)
    description = json.loads((out / 'dataset.json').read_text())
    assert [description[what] for what in ('targets', 'animals', 'boxes')] == [{'train': 4}, {'train': 3}, {'train': 3}]
    assert {'tables_sha256', 'detections_sha256'} <= set(description['options'])


def test_detections_make_the_targets(clips, tmp_path, capsys):
    def seen(frame, confidence, x):
        return {'category': '1', 'conf': confidence, 'bbox': [x, 0.25, 0.25, 0.5], 'frame_number': frame}

    images = [
        {
            'file': str(clips / 'full' / 'a.mp4'),
            'detections': [seen(9, 0.3, 0.1), seen(10, 0.9, 0.5), seen(24, 0.1, 0)],
        },
        {'file': 'sub\\a.mp4', 'frame_rate': 16.0, 'detections': [seen(32, 0.5, 0)]},
        {'file': 'b.avi', 'frame_rate': 8.0, 'detections': []},
        {'file': 'gone.mp4', 'frame_rate': 8.0, 'detections': [seen(0, 0.5, 0)]},
        {'file': 'empty.mp4', 'failure': 'Failure video open'},
    ]
    found = tmp_path / 'md.json'
    found.write_text(json.dumps({'info': {}, 'detection_categories': {'1': 'animal'}, 'images': images}))
    out = tmp_path / 'out'
    assert build.main([*arguments(clips, out, tables=None), f'--detections={found}', '--min-confidence=0.2']) == 3
    notes = capsys.readouterr().out
    assert '1 clips without an animal are left out' in notes
    assert 'more than 2 % in 1 clips, first sub/a.mp4: 16 in its file, 8 in the clip' in notes
    records = {record.video_id: record for record in read_records(out, 'down', 'test')}
    assert {name: record.target_time_s.tolist() for name, record in records.items()} == {'a.mp4': [1], 'sub/a.mp4': [4]}
    assert records['a.mp4'].target_box.tolist() == [[0.5, 0.25, 0.75, 0.75]]
    assert records['a.mp4'].box_time_s.tolist() == [1.125, 1.25]  # frames 9 and 10 of 8 in a second
    np.testing.assert_allclose(records['a.mp4'].box[:, 0], [0.1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(records['a.mp4'].box_confidence, [0.3, 0.9], rtol=1e-6)
    assert records['a.mp4'].box_animal == ['', ''] and records['a.mp4'].target_animal == ['']
    problems = pd.read_csv(out / 'problems.csv', keep_default_na=False)
    assert problems['video_id'].tolist() == ['empty.mp4', 'gone.mp4']
    assert problems['reason'].tolist() == [
        "the detector failed: 'Failure video open'",
        f'no such file in {clips}/full',
    ]


def test_reasons_are_written_before_a_later_error(clips, tmp_path, capsys):
    table, out = tmp_path / 'mine.csv', tmp_path / 'out'
    table.write_text('video_id,time,distance\na.mp4,1,2-4 m\nsub/a.mp4,2,"2,5"\n')
    assert build.main(arguments(clips, out, tables=table)) == 1
    error = capsys.readouterr().err
    assert f'2 rows or clips cannot be used, see {out}/problems.csv (the first, mine.csv:2: the distance' in error
    assert error.startswith('build failed: no label can be used') and error.count('\n') == 1
    found = pd.read_csv(out / 'problems.csv')
    assert found['row'].tolist() == ['mine.csv:2', 'mine.csv:3'] and 'is a range' in found['reason'][0]
    # The corrected table may go into the same folder.
    table.write_text('video_id,time,distance\na.mp4,0:01,3\nsub/a.mp4,2,2.5\n')
    assert build.main(arguments(clips, out, tables=table)) == 0
    assert pd.read_csv(out / 'problems.csv').empty
    wanted = tmp_path / 'wanted.csv'
    wanted.write_text('video_id,time\na.mp4,soon\n')
    assert build.main(arguments(clips, tmp_path / 'other', tables=wanted)) == 1
    assert 'no clip gave a record; 1 rows or clips cannot be used, see' in capsys.readouterr().err


def test_tables_spell_a_clip_otherwise_than_the_folder(clips, tmp_path):
    """The folder has decomposed letters, the tables composed ones, backslashes and blanks after sites."""
    name = 'For\u0065\u0302t/a.mp4'
    (tmp_path / 'clips' / name).parent.mkdir(parents=True)
    shutil.copy(clips / 'full' / 'a.mp4', tmp_path / 'clips' / name)
    shutil.copy(clips / 'full' / 'a.mp4', tmp_path / 'clips' / 'b.mp4')
    table, out = tmp_path / 'mine.csv', tmp_path / 'out'
    lines = [f'{name},1,3,ridge', 'For\xeat\\a.mp4,2,9,ridge ', './For\xeat/a.mp4,1,3,', 'b.mp4,1,4,NA']
    table.write_text('\n'.join(['video_id,time,distance,site', *lines]) + '\n')
    assert build.main(arguments(clips, out, tables=table, clips_down=None, clips_full=tmp_path / 'clips')) == 0
    train = {record.video_id: record for record in read_records(out, 'full', 'train')}
    assert set(train) == {name, 'b.mp4'}
    assert train[name].target_time_s.tolist() == [1, 2] and (train[name].site, train['b.mp4'].site) == ('ridge', '')
    assert sorted(pd.read_csv(out / 'folds.csv')['video_id']) == sorted([name, 'b.mp4'])
