"""A build that was killed, whose disk was full or whose clips changed: the same command resumes."""

import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make_builds import arguments, contents, write_clips

from data_prep import build
from data_prep.workers import local

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('clips'))


@pytest.fixture(scope='module')
def built(clips, tmp_path_factory):
    """The folder of a whole build."""
    out = tmp_path_factory.mktemp('built') / 'out'
    assert build.main(arguments(clips, out)) == 3
    return out


def test_a_killed_build_resumes_and_ends_with_the_same_bytes(clips, built, tmp_path, monkeypatch):
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
    assert contents(resumed) == contents(built)


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


def test_records_that_do_not_fit_on_the_disk_end_the_run_and_the_same_command_resumes(
    clips, built, tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise OSError(28, 'No space left on device', 'records')

    with monkeypatch.context() as patch:
        patch.setattr(build, 'write_records', full)
        assert build.main(arguments(clips, tmp_path / 'out')) == 1
    told = capsys.readouterr().err
    assert told.startswith('build failed: records: No space left on device; ') and told.count('\n') == 1
    real = local.guard.run_guarded  # no clip is decoded again
    monkeypatch.setattr(
        local.guard, 'run_guarded', lambda what, *rest: [] if what == local.STORE_CLIP else real(what, *rest)
    )
    assert build.main(arguments(clips, tmp_path / 'out')) == 3
    assert contents(tmp_path / 'out') == contents(built)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_the_same_command_resumes(clips, built, tmp_path):
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
    assert contents(tmp_path / 'out') == contents(built)


@pytest.mark.slow
def test_a_build_that_is_killed_again_and_again_ends_with_the_same_files(clips, built, tmp_path):
    """kill -9 at random times; bench/kill_build.py does the same with more clips and kills."""
    command = [sys.executable, '-m', 'data_prep.build', *arguments(clips, tmp_path / 'out', workers=1)]
    options = {'cwd': ROOT, 'env': os.environ | {'PYTHONPATH': str(ROOT)}, 'stdout': subprocess.DEVNULL}
    for seconds in np.random.default_rng(0).uniform(0.5, 4, 4):
        process = subprocess.Popen(command, **options)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        process.wait()
    assert subprocess.run(command, **options).returncode == 3
    assert contents(tmp_path / 'out') == contents(built)
