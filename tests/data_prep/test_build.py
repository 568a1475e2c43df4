"""A build from clips and tables to records, as a user runs it."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from make_builds import arguments, contents, write_clips
from make_clips import frame_number
from PIL import Image

from data_prep import build, lock
from data_prep.records import STREAMS, read_records

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('clips'))


@pytest.fixture(scope='module')
def built(clips, tmp_path_factory):
    """(out, the finished process) of the command as a user runs it."""
    out = tmp_path_factory.mktemp('built') / 'out'
    command = [sys.executable, '-m', 'data_prep.build', *arguments(clips, out, workers=2)]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return out, done


def test_a_bad_clip_gets_its_row_and_the_others_are_built(built):
    out, done = built
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f'3 problems, see {out}/problems.csv'
    assert 'labels (sites) in each clip fold: 3 (1), 3 (1)' in lines
    # Three clips are decoded, the empty one is refused before. The command has one progress line.
    assert re.findall(r'^\w+: 3 of 3 clips, \S+ clips/s, 3 problems, 100 %, done in .*', done.stdout, re.MULTILINE)
    assert len({line.partition(':')[0] for line in lines if ' of 3 clips' in line or ' of 4 clips' in line}) == 1
    assert 'Traceback' not in done.stderr
    problems = pd.read_csv(out / 'problems.csv', keep_default_na=False).set_index('video_id')
    assert list(problems.columns) == ['row', 'stage', 'reason']
    assert problems['stage'].to_dict() == {
        'a.mp4': 'labels',
        'empty.mp4': 'open',
        'missing.mp4': 'find',
    }
    rows = {name: f'train_labels.csv:{line}' for name, line in (('a.mp4', 10), ('empty.mp4', 8), ('missing.mp4', 9))}
    assert problems['row'].to_dict() == rows
    assert 'Invalid data' in problems.loc['empty.mp4', 'reason']
    lost = pd.read_csv(out / 'lost.csv')
    assert lost['split'].eq('train').all() and lost.groupby('video_id')['time'].apply(list).to_dict() == {
        'empty.mp4': [1],
        'missing.mp4': [1],
    }


def test_records_of_both_streams_are_complete(built):
    out, _ = built
    for stream, size in (('down', (24, 32)), ('full', (48, 64))):
        train = {record.video_id: record for record in read_records(out, stream, 'train')}
        assert set(train) == {'a.mp4', 'sub/a.mp4'}
        record = train['a.mp4']
        assert (record.height_px, record.width_px) == size
        assert (record.site, record.park, train['sub/a.mp4'].site) == ('xy', 'tai', '')
        assert record.frame_time_s.tolist() == [0, 1, 2, 3, 4]
        assert record.target_time_s.tolist() == [0, 2, 4]
        assert record.target_distance_m.tolist() == [1.5, 3.5, 5.5]
        pictures = [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in record.frame_jpeg]
        assert [picture.shape for picture in pictures] == [(*size, 3)] * 5
        if stream == 'full':
            assert [frame_number(picture) for picture in pictures] == [0, 8, 16, 24, 32]
        (test,) = read_records(out, stream, 'test')
        assert test.video_id == 'b.avi'
        assert np.isnan(test.target_distance_m).all()


def test_tables_beside_the_records(built):
    out, _ = built
    table = pd.read_csv(out / 'clips.csv', keep_default_na=False)
    assert table['video_id'].tolist() == ['a.mp4', 'sub/a.mp4', 'b.avi']
    assert table['split'].tolist() == ['train', 'train', 'test']
    assert table['n_frames'].tolist() == [5, 5, 5]
    assert table['n_targets'].tolist() == [3, 3, 1]
    assert table['height_px'].tolist() == [48] * 3
    assert table['gamma'].tolist() == [False] * 3
    folds = pd.read_csv(out / 'folds.csv')
    assert set(folds['video_id']) == {'a.mp4', 'sub/a.mp4', 'empty.mp4', 'missing.mp4'}
    description = json.loads((out / 'dataset.json').read_text())
    assert description['clips']['full'] == {'train': 2, 'test': 1}
    assert description['targets'] == {'train': 6, 'test': 1}
    assert description['problems'] == 3
    # a.mp4 and sub/a.mp4 have 3 labels, the unusable clips 1; a.mp4 alone has a site.
    assert [fold['labels'] for fold in description['folds']['clip']] == [3, 3]
    assert sum(fold['sites'] for fold in description['folds']['site']) == 2  # the clips without a record do not count
    assert (out / description['records']['down']).is_dir()
    assert set(description['features']) >= {'frame_jpeg', 'target_distance_m', 'target_box'}
    shards = [name for name in description['sha256'] if 'tfrecord' in name]
    assert len(shards) == 4
    for name, digest in description['sha256'].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    assert description['versions']['av'] == av.__version__
    assert description['command'].startswith('python -m data_prep.build --tables=')
    assert not (out / 'frames').exists()
    assert sorted(path.name for path in out.iterdir()) == sorted(
        'chimp_records clips.csv dataset.json files.json folds.csv lost.csv options.json problems.csv'.split()
    )


def test_running_twice_does_nothing_the_second_time(clips, built, capsys):
    out, _ = built
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert build.main(arguments(clips, out)) == 3
    assert 'nothing to do' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')} == before


def test_another_option_into_the_same_folder_is_refused(clips, built, capsys):
    out, _ = built
    assert build.main(arguments(clips, out, seed=5)) == 1
    assert 'seed: 0 before, 5 now' in capsys.readouterr().err


def test_a_second_run_into_the_same_folder_stops_with_one_line(clips, built, capsys):
    out, _ = built
    with lock.hold(out):
        assert build.main(arguments(clips, out)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'build failed: another run works in {out} (process {os.getpid()} on ')
    assert error.count('\n') == 1
    assert build.main(arguments(clips, out)) == 3


def test_a_mistake_leaves_no_folder(clips, tmp_path):
    assert build.main(arguments(clips, tmp_path / 'out', clips_full='nowhere')) == 1
    assert not (tmp_path / 'out').exists()


def test_clips_in_a_bucket(clips, remote, tmp_path):
    shutil.copytree(clips / 'full', remote / 'bucket' / 'clips')
    local, far = tmp_path / 'local', tmp_path / 'far'
    every = {'tables': None, 'clips_down': None}
    assert build.main(arguments(clips, local, **every)) == 3
    assert build.main(arguments(clips, far, **every | {'clips_full': 'gs://bucket/clips'})) == 3
    here, there = contents(local), contents(far)
    for name in ('options.json', 'files.json'):  # the paths
        assert here.pop(name) != there.pop(name)
    assert here == there


def test_no_usable_clip_is_a_failure(clips, tmp_path, capsys):
    tables = tmp_path / 'tables'
    tables.mkdir()
    (tables / 'submission_format.csv').write_text('video_id,time,distance\nempty.mp4,3,1.0\n')
    assert build.main(arguments(clips, tmp_path / 'out', tables=tables)) == 1
    assert 'no clip gave a record' in capsys.readouterr().err
    assert 'empty.mp4' in (tmp_path / 'out' / 'problems.csv').read_text()


def test_one_folder_of_clips_and_only_a_test_table(clips, tmp_path):
    tables, out = tmp_path / 'tables', tmp_path / 'out'
    tables.mkdir()
    shutil.copy(clips / 'submission_format.csv', tables)
    assert build.main(arguments(clips, out, tables=tables, clips_down=None)) == 0
    for stream in STREAMS:
        (record,) = read_records(out, stream, 'test')
        assert (record.height_px, record.width_px) == (48, 64)
    assert not (out / 'folds.csv').exists()


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'clips_down': None, 'clips_full': None}, 'give --clips_down'),
        ({'clips_full': 'nowhere'}, 'there is no folder nowhere'),
        ({'tables': 'nowhere'}, 'nowhere does not exist; correct --tables or --detections'),
        ({'tables': None, 'detections': 'nowhere.json'}, 'nowhere.json does not exist'),
        ({'detections': 'x.json'}, 'x.json does not exist; correct --tables or --detections'),
        ({'sampling': 'fast'}, "--sampling must be one of timestamp, legacy_r1; got 'fast'"),
        ({'gamma': 'maybe'}, "--gamma must be one of auto, always, never; got 'maybe'"),
        ({'tables': None, 'every': 0}, '--every must be at least 1 second; got 0'),
        ({'min_confidence': 2}, '--min_confidence must be from 0 to 1; got 2.0'),
        ({'clipsfull': 'x'}, 'unknown options: --clipsfull=x'),
        ({'n_folds': 9}, '4 clips cannot make 9 folds'),
        ({'workers': 0}, '--workers must be at least 1; got 0'),
    ],
)
def test_mistakes_are_one_line(clips, tmp_path, capsys, changes, message):
    assert build.main(arguments(clips, tmp_path / 'out', **changes)) == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
