import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from make_clips import frame_number, numbered_frames, write_clip
from PIL import Image

from data_prep import build, lock
from data_prep.job import parse_job
from data_prep.records import STREAMS, read_records
from data_prep.workers import local

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Two readable train clips with equal stems, an empty clip, and a test clip."""
    folder = tmp_path_factory.mktemp('clips')
    frames = numbered_frames(40)
    for name in ('a.mp4', 'sub/a.mp4', 'b.avi'):
        codec = ('mpeg4' if name.endswith('avi') else 'libx264', 'yuv420p')
        write_clip(folder / 'full' / name, frames, 8, *codec)
        write_clip(folder / 'down' / name, frames[:, ::2, ::2], 8, *codec)
    for stream in STREAMS:
        (folder / stream / 'empty.mp4').touch()
    labels = ['video_id,time,distance']
    labels += [f'{name},{t},{t + 1.5}' for name in ('a.mp4', 'sub/a.mp4') for t in (0, 2, 4)]
    labels += ['empty.mp4,1,2.0', 'missing.mp4,1,2.0', 'a.mp4,bad,2.0']
    (folder / 'train_labels.csv').write_text('\n'.join(labels) + '\n')
    (folder / 'submission_format.csv').write_text('video_id,time,distance\nb.avi,3,1.0\n')
    (folder / 'train_metadata.csv').write_text('video_id,time,park,site_id\na.mp4,0,tai,xy\n')
    return folder


def arguments(clips, out, **changes):
    options = {
        'tables': clips,
        'clips_down': clips / 'down',
        'clips_full': clips / 'full',
        'out': out,
        'n_folds': 2,
        'workers': 2,
    } | changes
    return [f'--{name}={value}' for name, value in options.items() if value is not None]


@pytest.fixture(scope='module')
def built(clips, tmp_path_factory):
    """(out, the finished process) of the command as a user runs it."""
    out = tmp_path_factory.mktemp('built') / 'out'
    command = [sys.executable, '-m', 'data_prep.build', *arguments(clips, out)]
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


def contents(out):
    """Returns the bytes of all files but dataset.json, which holds the command."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob('*')
        if path.is_file() and path.name != 'dataset.json'
    }


def test_a_killed_build_resumes_and_ends_with_the_same_bytes(clips, built, tmp_path, monkeypatch):
    out, _ = built
    resumed = tmp_path / 'out'
    real, decoded = local.guard.run_guarded, []

    def killed_after_one(function, tasks, *rest):
        for result in real(function, tasks, *rest):
            yield result
            if function == local.STORE_CLIP:
                raise KeyboardInterrupt

    monkeypatch.setattr(local.guard, 'run_guarded', killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        build.main(arguments(clips, resumed, workers=1))
    assert len(list(resumed.glob('frames/outcome/*.json'))) == 1
    # Files that a kill leaves behind.
    (resumed / 'frames' / 'full' / 'half-written.npz.17.tmp').write_bytes(b'PK')
    (resumed / 'chimp_records' / 'down' / '1.2.0').mkdir(parents=True)
    (resumed / 'chimp_records' / 'down' / 'incomplete.ABCDEF_1.2.0').mkdir()

    def recorded(function, tasks, *rest):
        tasks = list(tasks)
        decoded.extend(tasks if function == local.STORE_CLIP else [])
        return real(function, tasks, *rest)

    monkeypatch.setattr(local.guard, 'run_guarded', recorded)
    assert build.main(arguments(clips, resumed, delete_frames=False)) == 3
    assert len(decoded) == 2  # the other clips
    assert (resumed / 'frames').exists()
    assert build.main(arguments(clips, resumed)) == 3
    assert contents(resumed) == contents(out)


def test_a_clip_that_changed_is_decoded_again_and_a_complete_data_set_tells_it(clips, tmp_path, capsys):
    folder, out = tmp_path / 'clips', tmp_path / 'out'
    shutil.copytree(clips / 'full', folder)
    content = (folder / 'a.mp4').read_bytes()
    broken = bytearray(content)
    broken[len(content) // 3 : -len(content) // 3] = bytes(len(broken[len(content) // 3 : -len(content) // 3]))
    (folder / 'a.mp4').write_bytes(broken)
    run = arguments(clips, out, tables=None, clips_down=None, clips_full=folder)
    assert build.main([*run, '--delete_frames=False']) == 3
    frames = {path.name: path.stat().st_mtime_ns for path in (out / 'frames' / 'outcome').iterdir()}
    assert len(frames) == 4
    capsys.readouterr()
    (folder / 'a.mp4').write_bytes(content)
    (folder / 'empty.mp4').write_bytes(content)
    os.utime(folder / 'b.avi', (1, 1))
    assert build.main([*run, '--delete_frames=False']) == 3
    assert '2 clips have changed since' in capsys.readouterr().out

    (out / 'dataset.json').unlink()  # as if the run had been killed
    build.main([*run, '--delete_frames=False'])
    again = {
        path.name for path in (out / 'frames' / 'outcome').iterdir() if frames.get(path.name) != path.stat().st_mtime_ns
    }
    assert sorted(name.partition('-')[2] for name in again) == ['a.mp4.json', 'empty.mp4.json']
    (kept,) = (out / 'frames' / 'outcome').glob('*-sub_a.mp4.json')
    assert json.loads(kept.read_text())['problem'] is None


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_the_same_command_resumes(clips, built, tmp_path):
    out, _ = built
    (tmp_path / 'out').mkdir()
    command = [sys.executable, '-m', 'data_prep.build', *arguments(clips, tmp_path / 'out')]
    options = {'cwd': ROOT, 'env': os.environ | {'PYTHONPATH': str(ROOT)}, 'capture_output': True, 'text': True}
    # Files cannot grow beyond 4 KB, which looks like a full disk in the middle of a file.
    limits = {'preexec_fn': lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))}
    full = subprocess.run(command, **options, **limits)
    assert full.returncode == 1
    told = r'build failed: (.+): File too large; correct this and run the same command again to resume\n'
    assert re.fullmatch(told, full.stderr)[1].startswith(f'{tmp_path}/out/frames/')
    assert not list((tmp_path / 'out').rglob('*.npz'))
    assert subprocess.run(command, **options).returncode == 3
    assert contents(tmp_path / 'out') == contents(out)


@pytest.mark.slow
def test_a_build_that_is_killed_again_and_again_ends_with_the_same_files(clips, built, tmp_path):
    """kill -9 at random times; bench/kill_build.py does the same with more clips and kills."""
    out, _ = built
    command = [sys.executable, '-m', 'data_prep.build', *arguments(clips, tmp_path / 'out', workers=1)]
    options = {'cwd': ROOT, 'env': os.environ | {'PYTHONPATH': str(ROOT)}, 'stdout': subprocess.DEVNULL}
    for seconds in np.random.default_rng(0).uniform(0.5, 4, 4):
        process = subprocess.Popen(command, **options)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait()
    assert subprocess.run(command, **options).returncode == 3
    assert contents(tmp_path / 'out') == contents(out)


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
