"""Kills predictions at random moments (kill -9), resumes them, and compares their bytes with uninterrupted ones.

    python -m bench.kill_predict --folder demo --kills 20

--folder is the folder of demo.py. There are two commands: `score` for the targets of the records, and `estimate` for
every 5 s of every clip.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.kill_build import MARK, digests, kill, survivors

ROOT = Path(__file__).resolve().parents[1]


def commands(folder: Path, out: Path) -> dict[str, list[str]]:
    """Returns the commands by name."""
    predict = [sys.executable, str(ROOT / 'predict.py')]
    members = f'--members={folder}/runs'
    return {
        'score': [*predict, members, f'--records={folder}/data', f'--out={out}/score/predictions.csv', '--details'],
        'estimate': [*predict, 'estimate', f'{folder}/clips/full', members, f'--out={out}/estimate', '--every=5'],
    }


def results(out: Path) -> dict[str, str]:
    """Returns the digests of the CSV files. summary.json and options.json differ, with the time and the folder."""
    return {name: one for name, one in digests(out).items() if name.endswith('.csv') and 'work' not in name}


def start(command: list[str], log: Path) -> subprocess.Popen:
    """Starts a command in a process group of its own; its output goes to `log`."""
    environment = os.environ | {MARK: str(log.parent)}
    with log.open('a') as file:
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


def finish(command: list[str], log: Path) -> float:
    """Runs a command to its end and returns its seconds. Raises SystemExit with its log if it fails."""
    began = time.monotonic()
    if start(command, log).wait() not in (0, 3):
        raise SystemExit(f'{command} failed:\n{log.read_text()[-2000:]}')
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, default=Path('demo'))
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    folder = options.folder.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        whole, killed = Path(scratch) / 'whole', Path(scratch) / 'killed'
        for out in (whole, killed):
            out.mkdir()
        for name, command in commands(folder, whole).items():
            whole_s = finish(command, whole / 'log')
            moments = [round(draw.uniform(1, whole_s), 1) for _ in range(options.kills // 2)]
            again = commands(folder, killed)[name]
            for number, moment in enumerate(moments):
                process = start(again, killed / 'log')
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                kill(process, with_workers=number % 2 == 0)
            left_s = finish(again, killed / 'log')
            print(f'{name}: {whole_s:.0f} s uninterrupted; killed after {moments} s; the last run took {left_s:.0f} s')
        same = results(killed) == results(whole)
        more = sorted(digests(killed).keys() ^ digests(whole).keys())
        left = survivors(killed)
        print(f'{len(results(whole))} files: ' + ('all bytes are equal' if same else 'they differ'))
        print(f'files of the killed runs alone, or missing: {more}; processes left: {len(left)}')
    raise SystemExit(not same or bool(more or left))


if __name__ == '__main__':
    main()
