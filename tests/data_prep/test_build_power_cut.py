"""Files that lost their bytes, as after a power cut: they count as missing, and the same command makes them again."""

import logging
import os
import re
import shutil

import pytest
from make_clips import numbered_frames, write_clip

from data_prep import build
from data_prep.files import flush, flush_all, read_json, write_whole


def run(clips, out, *flags) -> int:
    return build.main([f'--tables={clips}/t.csv', f'--clips_full={clips}', f'--out={out}', '--workers=1', *flags])


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob('*') if file.is_file()}


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    for name in 'abc':
        write_clip(folder / f'{name}.mp4', numbered_frames(16), 8)
    rows = ['video_id,time,distance', *(f'{name}.mp4,1,{metres}' for metres, name in enumerate('abc', 2))]
    (folder / 't.csv').write_text('\n'.join(rows) + '\n')
    return folder


@pytest.fixture(scope='module')
def built(clips, tmp_path_factory):
    """A complete data set that kept its frame store."""
    out = tmp_path_factory.mktemp('built') / 'out'
    assert run(clips, out, '--n_folds=2', '--delete_frames=False') == 0
    return out


def lose(path, share: float) -> None:
    os.truncate(path, int(share * path.stat().st_size))


@pytest.mark.parametrize('share', [0, 0.5])
def test_an_unfinished_data_set(clips, built, tmp_path, share, caplog):
    out = tmp_path / 'out'
    shutil.copytree(built, out)
    (out / 'dataset.json').unlink()
    outcome, *_ = sorted((out / 'frames' / 'outcome').glob('*-a.mp4.json'))
    arrays = [next((out / 'frames').glob(pattern)) for pattern in ('down/*-b.mp4.npz', 'full/*-c.mp4.npz')]
    lost = [out / 'options.json', out / 'files.json', out / 'problems.csv', outcome, *arrays]
    for path in lost:
        lose(path, share)
    with caplog.at_level(logging.WARNING):
        assert run(clips, out, '--n_folds=2', '--delete_frames=False') == 0
    for path in (out / 'options.json', outcome, *arrays):
        assert str(path) in caplog.text
    found, expected = contents(out), contents(built)
    assert found.keys() == expected.keys()
    command = (out / 'dataset.json').relative_to(out)
    differing = {path for path in found if found[path] != expected[path] and path.suffix != '.npz'}
    assert differing <= {command}


@pytest.mark.parametrize('name', ['dataset.json', 'files.json'])
def test_a_complete_data_set_whose_marker_is_empty(clips, built, tmp_path, name, caplog):
    out = tmp_path / 'out'
    shutil.copytree(built, out, ignore=shutil.ignore_patterns('frames'))
    lose(out / name, 0)
    with caplog.at_level(logging.WARNING):
        assert run(clips, out, '--n_folds=2') == 0
    assert f'{out / name} is damaged (0 bytes, not JSON); it is made again' in caplog.text
    assert contents(out / 'chimp_records') == contents(built / 'chimp_records')


def test_a_damaged_marker_counts_as_missing(tmp_path, caplog):
    path = tmp_path / 'a.json'
    assert read_json(path) is None and not caplog.records
    for content in (b'', b'{"a": ', b'\xff\xfe', b'\0' * 40):
        path.write_bytes(content)
        assert read_json(path) is None
        assert caplog.records[-1].getMessage().startswith(f'{path} is damaged ({len(content)} bytes')
    path.write_bytes(b'{"a": 1}')
    assert read_json(path) == {'a': 1}


def test_content_and_name_reach_the_disk_before_and_after_the_renaming(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, 'fsync', lambda opened: calls.append(os.readlink(f'/proc/self/fd/{opened}')) or sync(opened)
    )
    monkeypatch.setattr(os, 'replace', lambda a, b: calls.append('renamed') or replace(a, b))
    write_whole(tmp_path / 'a.csv', 'x')
    assert re.fullmatch(rf'{tmp_path}/a\.csv\.\w+\.tmp', calls[0]) and calls[1:] == ['renamed', str(tmp_path)]
    calls.clear()
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'c').write_text('x')
    flush_all(tmp_path / 'b')
    assert calls == [f'{tmp_path}/b/c', f'{tmp_path}/b', str(tmp_path)]
    flush('gs://bucket/a')  # a bucket has its own promise
    assert len(calls) == 3
