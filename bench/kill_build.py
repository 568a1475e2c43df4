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

COMMAND = [sys.executable, '-m', 'data_prep.build', '--tables=../clips', '--clips_down=../clips/down']
COMMAND += ['--clips_full=../clips/full', '--out=out', '--n_folds=2', '--workers=2']


def start(folder: Path) -> subprocess.Popen:
    """Starts a build in `folder`. The command is the same for every folder, because dataset.json records it."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {'PYTHONPATH': str(Path(__file__).resolve().parents[1])}
    with (folder / 'log').open('a') as log:
        return subprocess.Popen(
            COMMAND, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def kill(process: subprocess.Popen, with_workers: bool) -> None:
    """Kills a process that may have ended, with or without its process group."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if with_workers else os.kill)(process.pid, signal.SIGKILL)
    process.wait()


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
        time.sleep(2)  # a worker that is still alive would write now
        same = digests(scratch / 'killed' / 'out') == digests(scratch / 'whole' / 'out')
        n_files = len(digests(scratch / 'whole' / 'out'))
    print(f'uninterrupted: {whole_s:.1f} s; killed after {moments} s')
    print(f'{killed} kills, {done_before + 1} data sets finished, {n_files} files each: ', end='')
    print('all bytes are equal' if same else 'they differ')
    raise SystemExit(not same)


if __name__ == '__main__':
    main()
