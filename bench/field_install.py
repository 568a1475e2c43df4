"""Measures an installation without TensorFlow beside the whole one: python -m bench.field_install

Each lock gets a fresh environment. A row has the size of its packages, the time of pip, the time of the first
`estimate` over a clip of 5 s, with all compilations, and of a second one. CPU seconds are those of all processes and
depend little on other programs. The time of pip depends on the network.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.end_to_end import ONE, SHORT_CLIP_S, make_clips, make_members
from bench.turns import ROOT

LOCKS = ('field', 'base')


def timed(command: list, folder: Path) -> str:
    """Runs a command in a folder and returns its seconds, and the CPU seconds of all its processes, as text."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{command[:4]} failed: {(done.stdout + done.stderr)[-600:]}')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f'{time.perf_counter() - began:.1f} s ({cpu_s:.1f} s CPU)'


def measure(lock: str, folder: Path, runs: Path, clips: Path) -> str:
    """Returns the row of a lock."""
    venv = folder / lock
    python = venv / 'bin' / 'python'
    subprocess.run([sys.executable, '-m', 'venv', venv], check=True)
    pip = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--no-cache-dir']
    installed = timed([*pip, '-r', ROOT / 'requirements' / f'{lock}.lock'], folder)
    subprocess.run([*pip, '--no-deps', '-e', ROOT], check=True)
    packages = [path for path in (venv / 'lib').rglob('*') if path.is_file() and not path.is_symlink()]
    size_mb = sum(path.stat().st_size for path in packages) / 1e6
    estimate = [venv / 'bin' / 'chimp-distance', 'estimate', clips, '--members', runs, '--weights', 'mean']
    estimate += ['--compile_cache', folder / f'programs_{lock}']
    first, second = (timed([*estimate, '--out', folder / f'{lock}_{number}'], folder) for number in (1, 2))
    distances = (folder / f'{lock}_1' / 'distances.csv').read_bytes()
    n_rows = distances.count(b'\n') - 1
    return f'| {lock}.lock | {size_mb:.0f} MB | {installed} | {first} | {second} | {n_rows} |'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--locks', nargs='+', default=LOCKS, help='names of files in requirements/')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs, clips = make_members(folder / 'runs', [ONE], 512), make_clips(folder / 'clips', [[0]], SHORT_CLIP_S)
        print('| lock | packages | pip | first distances | again | rows |\n|---|---|---|---|---|---|', flush=True)
        for lock in options.locks:
            print(measure(lock, folder, runs, clips / 'full'), flush=True)


if __name__ == '__main__':
    main()
