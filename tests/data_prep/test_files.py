import os

import numpy as np
import pytest

from data_prep.files import fingerprint, remove_unfinished, unchanged, unfinished_file, write_whole

MB = 1 << 20


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(np.random.default_rng(0).bytes(MB))
    return path


def change(path, start, stop):
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)


def test_a_copy_with_another_time_is_the_same_file(path, tmp_path):
    known = fingerprint([path]), fingerprint([path], whole=True)
    copy = tmp_path / 'copy.mp4'
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (1, 1))
    assert all(unchanged(text, [copy]) for text in known)
    os.utime(path, (2, 2))
    assert all(unchanged(text, [path]) for text in known)


@pytest.mark.parametrize('start', [0, MB // 2, MB - 10])
def test_other_bytes_of_the_same_size_and_time_are_another_file(path, start):
    known, times = fingerprint([path]), (path.stat().st_atime, path.stat().st_mtime)
    change(path, start, start + 10)
    os.utime(path, times)
    assert not unchanged(known, [path])


def test_all_bytes_count_if_asked_for(path):
    parts, whole = fingerprint([path]), fingerprint([path], whole=True)
    change(path, MB // 4, MB // 4 + 10)
    assert unchanged(parts, [path]) and not unchanged(whole, [path])


def test_small_longer_and_missing_files(path, tmp_path):
    known = fingerprint([path])
    with path.open('ab') as file:
        file.write(b'x')
    assert not unchanged(known, [path])
    small = tmp_path / 'small'
    small.write_bytes(b'abc')
    assert fingerprint([small]) == fingerprint([small]) != fingerprint([small, small])
    absent = fingerprint([tmp_path / 'later'])
    assert unchanged(absent, [tmp_path / 'later'])
    (tmp_path / 'later').touch()
    assert not unchanged(absent, [tmp_path / 'later'])


def test_of_a_remote_file_size_and_time_count(remote):
    local, path = remote / 'bucket' / 'a.mp4', 'gs://bucket/a.mp4'
    local.parent.mkdir(parents=True)
    local.write_bytes(b'abc')
    known = fingerprint([path])
    assert unchanged(known, [path])
    os.utime(local, (1, 1))
    assert not unchanged(known, [path])
    known = fingerprint([path])
    local.write_bytes(b'abcd')
    os.utime(local, (1, 1))
    assert not unchanged(known, [path])


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / 'taken').mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / 'taken', 'text')
    assert [path.name for path in tmp_path.iterdir()] == ['taken']


def test_unfinished_files_of_killed_runs_are_removed_and_others_stay(tmp_path):
    (tmp_path / 'work').mkdir()
    gone = [tmp_path / 'a.csv.0123456789ab.tmp', tmp_path / 'work' / 'b.json.ffffffffffff.tmp']
    kept = [tmp_path / 'c.tmp', tmp_path / 'd.csv.0123456789aZ.tmp', tmp_path / 'e.0123456789ab.tmp.csv']
    for path in (*gone, *kept):
        path.write_text('x')
    assert remove_unfinished(tmp_path, deep=False, older_s=1000.0) == 0
    assert remove_unfinished(tmp_path, deep=False) == 1 and gone[1].exists()
    assert remove_unfinished(tmp_path) == 1
    assert sorted(path for path in tmp_path.rglob('*') if path.is_file()) == sorted(kept)


def test_the_names_of_unfinished_files_are_those_that_are_removed(tmp_path):
    with unfinished_file(tmp_path / 'a.csv') as path:
        path.write_text('x')
        assert remove_unfinished(tmp_path) == 1
        path.write_text('x')
