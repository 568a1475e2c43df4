"""Measures the peak memory of `estimate`, `clip` and `score` under --memory, all processes of a command together.

    python -m bench.peak_memory --members demo/quick/runs --records demo/quick/data --clips FOLDER --limits 2GB 4GB

A row tells the exit code, the peak resident memory, and the last line that the command printed. The exit code is 1 if a
command took more than its limit.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.hostile.sandbox import ROOT, tree_bytes
from data_prep.workers import memory


def peak(command: list[str]) -> tuple[int, int, str]:
    """Returns the exit code of a command, the most bytes that its processes took together, and its last line."""
    most = 0
    with tempfile.TemporaryFile('w+') as printed:
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            most = max(most, tree_bytes(process.pid))
            time.sleep(0.05)
        printed.seek(0)
        lines = [line for line in printed.read().splitlines() if line.strip()] or ['']
    return process.returncode, most, lines[-1]


def commands(options: argparse.Namespace, out: Path) -> dict[str, list[str]]:
    """Returns the arguments of the commands by name."""
    members = ['--members', str(options.members), '--weights', 'mean']
    clip = max((path for path in options.clips.rglob('*') if path.is_file()), key=lambda path: path.stat().st_size)
    found = {
        'estimate': ['estimate', str(options.clips), *members, '--out', str(out / 'estimate'), '--every', '1'],
        'clip': ['clip', '--clip', str(clip), *members, '--out', str(out / 'clip')],
    }
    if options.records:
        found['score'] = ['score', *members, '--records', str(options.records), '--out', str(out / 'score.csv')]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--members', type=Path, required=True)
    parser.add_argument('--clips', type=Path, required=True, help='folder; `clip` reads its largest file')
    parser.add_argument('--records', type=Path, help='data set for `score`')
    parser.add_argument('--limits', nargs='+', default=['2GB', '4GB'])
    options = parser.parse_args()
    n_above = 0
    for name in ('members', 'clips', 'records'):
        if (place := getattr(options, name)) is not None:
            setattr(options, name, place.resolve())
    for text in options.limits:
        memory.limit_to(text)
        with tempfile.TemporaryDirectory() as scratch:
            for name, arguments in commands(options, Path(scratch)).items():
                code, most, line = peak([sys.executable, str(ROOT / 'predict.py'), *arguments, '--memory', text])
                n_above += most > memory.limit_bytes()
                print(f'{name} --memory {text}: exit code {code}, peak {most / 1e9:.2f} GB; {line[:150]}', flush=True)
    raise SystemExit(n_above > 0)


if __name__ == '__main__':
    main()
