import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from make_clips import frame_number, numbered_frames, write_clip
from PIL import Image

from data_prep import build, frame_store
from data_prep.records import STREAMS, read_records

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Two readable train clips, one with an equal stem in a folder, an empty one, a test clip."""
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
    """(out, the finished command), made as a user makes it."""
    out = tmp_path_factory.mktemp('built') / 'out'
    command = [sys.executable, '-m', 'data_prep.build', *arguments(clips, out)]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return out, done


def test_a_bad_clip_gets_its_row_and_the_others_go_on(built):
    out, done = built
    assert done.returncode == 3, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == f'3 problems, see {out}/problems.csv'
    assert 'ETA' in done.stdout
    assert 'Traceback' not in done.stderr
    problems = pd.read_csv(out / 'problems.csv', keep_default_na=False).set_index('video_id')
    assert list(problems.columns) == ['row', 'stage', 'reason']
    assert problems['stage'].to_dict() == {
        'a.mp4': 'labels',
        'empty.mp4': 'decode',
        'missing.mp4': 'find',
    }
    assert problems.loc['a.mp4', 'row'] == 'train_labels.csv:10'
    assert 'Invalid data' in problems.loc['empty.mp4', 'reason']


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
    assert (out / description['records']['down']).is_dir()
    assert set(description['features']) >= {'frame_jpeg', 'target_distance_m'}
    assert not (out / 'frames').exists()
    assert sorted(path.name for path in out.iterdir()) == sorted(
        'chimp_records clips.csv dataset.json folds.csv options.json problems.csv'.split()
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


def contents(out):
    """All files but the note of the command that made them."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob('*')
        if path.is_file() and path.name != 'dataset.json'
    }


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(clips, built, tmp_path, monkeypatch):
    out, _ = built
    resumed = tmp_path / 'out'
    real, decoded = frame_store.guard.run_guarded, []

    def killed_after_one(function, tasks, *rest):
        decoded.extend(tasks)
        for result in real(function, tasks, *rest):
            yield result
            raise KeyboardInterrupt

    monkeypatch.setattr(frame_store.guard, 'run_guarded', killed_after_one)
    with pytest.raises(KeyboardInterrupt):
        build.main(arguments(clips, resumed, workers=1))
    assert len(decoded) == 4
    assert len(list(resumed.glob('frames/full/*.npz'))) == 1
    # What a kill in the middle of writing leaves behind.
    (resumed / 'frames' / 'full' / 'half-written.npz.17.tmp').write_bytes(b'PK')
    (resumed / 'chimp_records' / 'down' / '1.0.0').mkdir(parents=True)
    (resumed / 'chimp_records' / 'down' / 'incomplete.ABCDEF_1.0.0').mkdir()

    def recorded(function, tasks, *rest):
        decoded[:] = tasks
        return real(function, tasks, *rest)

    monkeypatch.setattr(frame_store.guard, 'run_guarded', recorded)
    assert build.main(arguments(clips, resumed, delete_frames=False)) == 3
    assert len(decoded) == 3  # the others, the empty one among them
    assert (resumed / 'frames').exists()
    assert build.main(arguments(clips, resumed)) == 3
    assert contents(resumed) == contents(out)


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
        ({'tables': 'nowhere'}, 'nowhere holds none of train_labels.csv'),
        ({'n_folds': 9}, '4 clips cannot make 9 folds'),
        ({'workers': 0}, '0 workers'),
    ],
)
def test_mistakes_are_one_line(clips, tmp_path, capsys, changes, message):
    assert build.main(arguments(clips, tmp_path / 'out', **changes)) == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
