"""Damaged and malicious files of every kind that the commands read: each gets a row or a refusal.

    python -m bench.hostile --files 1000 --seed 0

Counted are crashes, hangs, stack traces on the screen, refusals without a reason, bytes written outside the folder of
the run, programs started, connections opened, memory above 6 GB, and wrong seconds that no row tells of. The output
repeats the seed. The same seed makes the same files. Exit code 1 if a fault is counted. --kinds chooses some suites.
Clips are written with the ffmpeg of the package imageio-ffmpeg.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import imageio_ffmpeg

from bench.hostile import clips, commands, names, packages, records, tables, weights
from bench.hostile.sandbox import Sandbox

_SHARES = {'clips': 0.6, 'records': 0.05, 'weights': 0.15, 'packages': 0.1, 'tables': 0.1, 'names': 0}


def run_kind(kind: str, sandbox: Sandbox, n: int, seed: int, more_clips: list[Path]) -> dict:
    """Returns the counts and the faults of one suite. more_clips: folders of sound clips to damage, too."""
    if kind == 'clips':
        return clips.run_clips(sandbox, imageio_ffmpeg.get_ffmpeg_exe(), n, seed, more_clips)
    if kind == 'records':
        return records.run_records(sandbox, n, seed)
    if kind == 'names':
        return names.run_names(sandbox, imageio_ffmpeg.get_ffmpeg_exe())
    make = {'weights': weights.make_cases, 'packages': packages.make_cases, 'tables': tables.make_cases}[kind]
    rows = commands.run_cases(sandbox, make(sandbox.folder / kind, n, seed, sandbox.server.port))
    codes = [row['code'] for row in rows]
    return {
        'files': n,
        'refused': codes.count(1) + codes.count(2),
        'accepted': codes.count(0) + codes.count(3),
        'faults': [f'{row["name"]}: {fault}' for row in rows for fault in row['faults']],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--files', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kinds', nargs='+', choices=_SHARES, default=[*_SHARES])
    parser.add_argument('--clips', type=Path, nargs='*', default=[], help='folders of further sound clips')
    parser.add_argument('--keep', type=Path, help='folder in which the files of the run stay')
    options = parser.parse_args()
    folder = (options.keep or Path(tempfile.mkdtemp(prefix='hostile-'))).resolve()
    total = sum(_SHARES[kind] for kind in options.kinds) or 1
    found, n_faults = {}, 0
    try:
        for kind in options.kinds:
            n = max(1, round(options.files * _SHARES[kind] / total))
            found[kind] = run_kind(kind, Sandbox(folder / kind), n, options.seed, options.clips)
            n_faults += len(found[kind]['faults'])
            print(json.dumps({'seed': options.seed, kind: found[kind]}, indent=2), flush=True)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f'seed {options.seed}: {sum(one["files"] for one in found.values())} files, {n_faults} faults')
    raise SystemExit(n_faults > 0)


if __name__ == '__main__':
    main()
