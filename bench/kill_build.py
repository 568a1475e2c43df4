"""Kills a build at random moments (kill -9), resumes it, and compares its bytes with an uninterrupted build.

    python -m bench.kill_build --kills 20

The kills alternate between the whole process group and the parent process alone. In the second case the workers must
end by themselves.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

COMMAND = [sys.executable, '-m', 'data_prep.build', '--tables=../clips', '--clips_down=../clips/down']
COMMAND += ['--clips_full=../clips/full', '--out=out', '--n_folds=2', '--workers=2']

MARK = 'CHIMP_KILLED'  # environment of the processes of a run: its folder


def start(folder: Path) -> subprocess.Popen:
    """Starts a build in `folder`. The command is the same for every folder, because dataset.json records it."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {'PYTHONPATH': str(Path(__file__).resolve().parents[1]), MARK: str(folder)}
    with (folder / 'log').open('a') as log:
        return subprocess.Popen(
            COMMAND, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def kill(process: subprocess.Popen, with_workers: bool) -> None:
    """Kills a process that may have ended, with or without its process group."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if with_workers else os.kill)(process.pid, signal.SIGKILL)
    process.wait()


def survivors(folder: Path, wait_s: float = 5.0) -> list[int]:
    """Returns the processes of the runs in `folder` that have not ended after some seconds."""
    deadline = time.monotonic() + wait_s
    while (left := [one.pid for one in psutil.process_iter() if _mark_of(one) == str(folder)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.2)
    return left


def _mark_of(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error):
        return process.environ().get(MARK)
    return None


def finish(process: subprocess.Popen, folder: Path) -> None:
    """Waits for a build. Raises SystemExit with its log if it fails."""
    if process.wait() not in (0, 3):
        raise SystemExit(f'the build failed:\n{(folder / "log").read_text()}')


def digests(out: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below `out` by its path."""
    files = sorted(path for path in out.rglob('*') if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--full', action='store_true', help='all clips of the demo instead of 36 short ones')
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        simulate = [sys.executable, '-m', 'data_prep.simulate', f'--out={scratch}/clips']
        subprocess.run(simulate + ['--size=quick'] * (not options.full), check=True, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        finish(start(scratch / 'whole'), scratch / 'whole')
        whole_s = time.monotonic() - began
        killed, moments, done_before = 0, [], 0
        while killed < options.kills:
            process = start(scratch / 'killed')
            moment = draw.uniform(0, whole_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            if process.poll() is not None:  # the build has ended: start a new one, because only real kills count
                done_before += 1
                finish(process, scratch / 'killed')
                if digests(scratch / 'killed' / 'out') != digests(scratch / 'whole' / 'out'):
                    raise SystemExit('the data sets differ')
                subprocess.run(['rm', '-rf', scratch / 'killed' / 'out'], check=True)
                continue
            kill(process, with_workers=killed % 2 == 0)
            killed += 1
            moments.append(round(moment, 1))
        finish(start(scratch / 'killed'), scratch / 'killed')
        left = survivors(scratch / 'killed')
        same = digests(scratch / 'killed' / 'out') == digests(scratch / 'whole' / 'out')
        n_files = len(digests(scratch / 'whole' / 'out'))
    print(f'uninterrupted: {whole_s:.1f} s; killed after {moments} s')
    print(f'{killed} kills, {done_before + 1} data sets finished, {n_files} files each: ', end='')
    print(
        'all bytes are equal, no file is left behind' if same else 'they differ',
        f'; processes left: {len(left)}',
        sep='',
    )
    raise SystemExit(not same or bool(left))


if __name__ == '__main__':
    main()
