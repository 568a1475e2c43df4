import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep import lock

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    'import sys; from data_prep import lock\nwith lock.hold(sys.argv[1]): print("held", flush=True); sys.stdin.read()'
)


@contextlib.contextmanager
def another_run(folder):
    """A process that holds the folder until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )
    try:
        assert process.stdout.readline() == 'held\n'
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        process.stdout.close()


def about(**changes) -> str:
    """The content of a lock file of this process, with changes."""
    now = {'process': os.getpid(), 'host': socket.gethostname(), 'time': 'noon', 'refreshed_s': time.time()}
    return json.dumps(now | changes)


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    return process.pid


def test_a_second_run_is_refused_and_the_first_one_named(tmp_path):
    folder = tmp_path / 'out'
    with another_run(folder) as process:
        with pytest.raises(lock.FolderInUse) as refusal, lock.hold(folder):
            pass
        assert str(refusal.value).startswith(
            f'another run works in {folder} (process {process.pid} on {socket.gethostname()}, since 20'
        )
        assert str(refusal.value).endswith('; wait until it has ended, or choose another folder')
        assert process.poll() is None
        with lock.hold(tmp_path / 'other'):
            pass
    with lock.hold(folder):
        pass


def test_one_process_cannot_hold_a_folder_twice(tmp_path):
    with lock.hold(tmp_path):
        with pytest.raises(lock.FolderInUse), lock.hold(str(tmp_path)):
            pass
        with pytest.raises(lock.FolderInUse), lock.hold(tmp_path):  # the refusal did not drop the lock
            pass
    with lock.hold(tmp_path):
        pass


def test_a_killed_run_leaves_no_obstacle(tmp_path):
    with another_run(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / lock.NAME).exists()
        with lock.hold(tmp_path):
            assert json.loads((tmp_path / lock.NAME).read_text())['process'] == os.getpid()
    assert not (tmp_path / lock.NAME).exists()


def test_the_folder_is_left_as_it_was_found(tmp_path):
    new, used, old = tmp_path / 'a' / 'new', tmp_path / 'used', tmp_path / 'old'
    old.mkdir()
    with lock.hold(new), lock.hold(old):
        assert new.is_dir()
    assert not new.exists() and list(old.iterdir()) == []
    with pytest.raises(RuntimeError), lock.hold(used):
        (used / 'result').touch()
        raise RuntimeError
    assert [path.name for path in used.iterdir()] == ['result']


def test_a_lock_that_is_being_written_still_counts(tmp_path):
    with another_run(tmp_path):
        (tmp_path / lock.NAME).write_text('')
        with pytest.raises(lock.FolderInUse, match='it has just started'), lock.hold(tmp_path):
            pass


def test_a_bucket(remote):
    folder, file = 'gs://bucket/out', remote / 'bucket' / 'out' / lock.NAME
    with another_run(folder) as process:
        assert json.loads(file.read_text())['process'] == process.pid
        with pytest.raises(lock.FolderInUse, match=f'in {folder} .process {process.pid} on '), lock.hold(folder):
            pass
        process.kill()
        process.wait()
        assert file.exists()
        with lock.hold(folder):  # the process has ended on this host
            assert json.loads(file.read_text())['process'] == os.getpid()
    assert not file.exists()


@pytest.mark.parametrize(
    ('age_s', 'host', 'is_alive'),
    [
        (lock.STALE_S - 60, 'elsewhere', True),
        (lock.STALE_S + 60, 'elsewhere', False),
        (0, None, True),
        (lock.STALE_S + 60, None, False),  # the number of the process belongs to another program by now
    ],
)
def test_a_lock_in_a_bucket_expires(remote, age_s, host, is_alive):
    folder = remote / 'bucket' / 'out'
    folder.mkdir(parents=True)
    host = host or socket.gethostname()
    (folder / lock.NAME).write_text(about(refreshed_s=time.time() - age_s, host=host))
    expected = pytest.raises(lock.FolderInUse, match=f'on {host}, since noon') if is_alive else contextlib.nullcontext()
    with expected, lock.hold('gs://bucket/out'):
        pass


def test_a_process_of_another_user_counts_as_alive_until_its_lock_expires(remote, monkeypatch):
    def not_ours(process, number):
        raise PermissionError

    monkeypatch.setattr(lock.os, 'kill', not_ours)
    (remote / 'bucket').mkdir(parents=True)
    for age_s, expected in ((0, pytest.raises(lock.FolderInUse)), (lock.STALE_S + 1, contextlib.nullcontext())):
        (remote / 'bucket' / lock.NAME).write_text(about(refreshed_s=time.time() - age_s))
        with expected, lock.hold('gs://bucket'):
            pass


@pytest.mark.parametrize('content', ['', 'no JSON', '[]', '{"process": 1}', '{"process": null, "host": 1}'])
def test_a_damaged_lock_in_a_bucket_is_ignored(remote, content):
    (remote / 'bucket').mkdir(parents=True)
    (remote / 'bucket' / lock.NAME).write_text(content)
    with lock.hold('gs://bucket'):
        pass


def test_a_lock_in_a_bucket_is_refreshed(remote, monkeypatch):
    monkeypatch.setattr(lock, 'REFRESH_S', 0.01)
    file = remote / 'bucket' / lock.NAME
    with lock.hold('gs://bucket'):
        first = json.loads(file.read_text())
        monkeypatch.setattr(lock.time, 'time', lambda: first['refreshed_s'] + 1000)
        deadline = time.monotonic() + 20
        latest = first
        while latest['refreshed_s'] == first['refreshed_s']:
            assert time.monotonic() < deadline, 'the lock is never refreshed'
            with contextlib.suppress(ValueError):  # read while it is written
                latest = json.loads(file.read_text())
    assert latest == first | {'refreshed_s': first['refreshed_s'] + 1000}


def test_a_file_system_without_locks_is_treated_as_a_bucket(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(lock.errno.ENOTSUP, 'not supported')

    monkeypatch.setattr(lock.fcntl, 'flock', no_locks)
    (tmp_path / lock.NAME).write_text(about(process=ended_process()))
    with lock.hold(tmp_path):
        with pytest.raises(lock.FolderInUse), lock.hold(tmp_path):
            pass
    assert not (tmp_path / lock.NAME).exists()


@pytest.mark.parametrize(
    'name, fault',
    [
        ('file', 'file is a file; choose a folder for the results'),
        ('file/below', 'file is a file; choose a folder for the results'),
    ],
)
def test_a_folder_that_is_a_file_is_refused(tmp_path, name, fault):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=fault), lock.hold(tmp_path / name):
        pass
    assert (tmp_path / 'file').read_bytes() == b''


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='requires a folder in which nobody can write')
def test_a_folder_that_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match='the folder /proc/results cannot be made .*; choose another'):
        with lock.hold('/proc/results'):
            pass
