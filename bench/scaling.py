"""Measures how time and memory grow: python -m bench.scaling [--quick], or make scaling.

Runs predict.py over records of tiny pictures with more and more clips, targets, frames, members or animals in a frame,
and with larger pictures, and the detector over more and more pictures. The slope of log(seconds) over log(count),
without start-up, is the power of growth: 1 is linear. Writes bench/scaling.json, docs/scaling.png and the section
`growth` of docs/performance.md. The section contains an estimate, from these fits, of the time for 100,000 clips.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import table
from bench.end_to_end import ONE, SHORTEST_S, make_clips, make_members, ours_every_second, peak_mb, tiny_records
from bench.suite import PAGE
from bench.turns import ROOT

RESULTS, PLOT = ROOT / 'bench' / 'scaling.json', ROOT / 'docs' / 'scaling.png'
TINY_PX = 32
# The counts to measure. All other settings keep their value in BASE.
BASE = {'clips': 100, 'targets': 4, 'frames': 8, 'members': 1, 'size_px': TINY_PX, 'animals': 0}
DETECTOR_PX = 160
COUNTS = {
    'clips': [400, 1600, 6400],
    'targets': [64, 256, 1024],
    'frames': [8, 32, 128],
    'members': [1, 3, 9],
    'size_px': [128, 256, 512],
    'animals': [1, 2, 4],  # in each second of 64, each with a distance of its own
    'detected': [64, 256, 1024],  # pictures in which the detector finds animals
}
ALSO = {'animals': {'targets': 64, 'frames': 64}, 'size_px': {'clips': 800}}
QUICK = {name: counts[:2] for name, counts in COUNTS.items()}
CLIPS, CLIP_S = 100_000, 60


def measure(scratch: Path, counts: dict[str, list[int]]) -> tuple[dict[str, list[dict[str, Any]]], dict[str, float]]:
    """Returns {setting: [{count, seconds, mb}, ...]}, the seconds and the peak memory of whole commands.

    The second result has the seconds of start-up of each setting.
    """
    results: dict[str, list[dict[str, Any]]] = {}
    start_s = dict.fromkeys(counts, run(scratch, BASE | {'clips': 1})[0])
    start_s |= {'animals': run(scratch, BASE | {'clips': 1, 'animals': 1})[0], 'detected': detect(1)[0]}
    for name, some in counts.items():
        rows = []
        for count in some:
            seconds, mb = (
                detect(count) if name == 'detected' else run(scratch, BASE | ALSO.get(name, {}) | {name: count})
            )
            rows.append({'count': count, 'seconds': seconds, 'mb': mb})
            print(f'{name} {count}: {seconds:.1f} s, {mb:.0f} MB', flush=True)
        results[name] = rows
    return results, start_s


def run(scratch: Path, setting: dict[str, int]) -> tuple[float, float]:
    """Runs predict.py, after a warm-up that compiles its programs, and returns seconds and peak MB."""
    key = '_'.join(map(str, setting.values()))
    given = [setting[name] for name in ('clips', 'frames', 'targets', 'animals')]
    records = tiny_records(scratch / f'records_{key}', *given)
    network = f'{setting["size_px"]}_{setting["animals"]}'
    runs = scratch / f'runs_{network}_{setting["members"]}'
    if not runs.exists():
        make_members(runs, [ONE], setting['size_px'], setting['members'], setting['animals'])
    command = [sys.executable, 'predict.py', '--members', runs, '--records', records, '--weights', 'mean']
    out = scratch / 'out'
    if not (scratch / f'warm_{network}').exists():
        peak_mb([*command, '--out', out / 'distances.csv'])
        (scratch / f'warm_{network}').touch()
    shutil.rmtree(out, ignore_errors=True)
    return peak_mb([*command, '--out', out / 'distances.csv'])


def detect(n_pictures: int) -> tuple[float, float]:
    """Finds animals in pictures, in a process of its own whose program is compiled, and returns seconds and peak MB."""
    options = json.dumps({'n': n_pictures, 'size_px': DETECTOR_PX})
    command = [sys.executable, '-m', 'bench.turns', 'our_side', 'detect', options]
    if n_pictures == 1:
        peak_mb(command)  # compiles
    return peak_mb(command)


def power(counts: list[float], values: list[float]) -> float:
    """Returns the slope of log(value) over log(count) by least squares. It is 1 for proportional values."""
    return float(np.polyfit(np.log(counts), np.log(values), 1)[0])


def fit(rows: list[dict[str, Any]], start_s: float) -> dict[str, float]:
    """Returns the powers of growth of the net seconds and of the memory, and the seconds for one more.

    The first fit skips counts whose seconds do not differ clearly from start-up. It is NaN if fewer than two are left.
    """
    counts = [row['count'] for row in rows]
    seconds = [row['seconds'] for row in rows]
    sure = [(n, s - start_s) for n, s in zip(counts, seconds, strict=True) if s - start_s >= SHORTEST_S]
    return {
        'seconds_power': power(*zip(*sure, strict=True)) if len(sure) > 1 else float('nan'),
        'memory_power': power(counts, [row['mb'] for row in rows]),
        'one_more_s': float(np.polyfit(counts, seconds, 1)[0]),
    }


def real_clips(scratch: Path, quick: bool) -> dict[str, float]:
    """Measures one more real clip, every second of it, with one member of 512 px. Returns its seconds and start-up."""
    seconds, few, many = (15, 1, 2) if quick else (CLIP_S, 1, 4)
    runs, out, took = make_members(scratch / 'runs_512', [ONE], 512), scratch / 'out', {}
    for n_clips in (few, many, few, many):  # the first two are a warm-up: compiled programs, files read from disk
        inputs = make_clips(scratch / f'clips_{n_clips}', [[0]] * n_clips, seconds)
        shutil.rmtree(out, ignore_errors=True)
        took[n_clips] = ours_every_second(inputs, runs, out, [ONE], 512)
    one = (took[many] - took[few]) / (many - few) * CLIP_S / seconds
    return {'clip_s': one, 'start_s': max(took[few] - one * seconds / CLIP_S, 0.0)}


def cost_text(clip_s: float, fits: dict[str, dict[str, float]]) -> str:
    """Returns the estimate of the hours for CLIPS clips from the seconds of one."""
    hours = CLIPS * clip_s / 3600
    machines = ', '.join(f'{n} machines {hours / n:.1f} h' for n in (10, 100))
    return (
        f'**Estimate**, not a measurement: scoring every second of one more clip of {CLIP_S} s takes {clip_s:.1f} s '
        f'on this machine with one member, and time grows as clips to the power of '
        f'{fits["clips"]["seconds_power"]:.2f}. '
        f'{CLIPS:,} such clips then take {hours:.0f} h on this machine with one member. If n such machines share the '
        f'clips evenly (Beam for the preparation, a part of the clips each for the prediction), it takes {hours:.0f} / '
        f'n hours: {machines}. Start-up and waiting for the slowest machine are not included. A second member adds '
        'only encoding, no decoding.'
    )


def growth_text(fits: dict[str, dict[str, float]], results: dict[str, list]) -> str:
    """Returns the powers of growth as a Markdown table."""
    lines = ['| more of | from, to | seconds grow as count to the power of | memory |', '|---|---|---|---|']
    for name, found in fits.items():
        counts = [row['count'] for row in results[name]]
        powers = f'{found["seconds_power"]:.2f} | {found["memory_power"]:.2f}'
        lines.append(f'| {name} | {counts[0]}, {counts[-1]} | {powers} |')
    return '\n'.join(lines)


def plot(results: dict[str, list[dict[str, Any]]], start_s: dict[str, float], path: Path) -> None:
    """Draws the net seconds and the memory over the relative counts."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
    for name, rows in results.items():
        counts = np.array([row['count'] for row in rows]) / rows[0]['count']
        axes[0].loglog(counts, [max(row['seconds'] - start_s[name], SHORTEST_S) for row in rows], 'o-', label=name)
        axes[1].semilogx(counts, [row['mb'] for row in rows], 'o-', label=name)
    axes[0].set(xlabel='times as many', ylabel='seconds without start-up', title='Time')
    axes[1].set(xlabel='times as many', ylabel='MB, all processes', ylim=(0, None), title='Memory')
    axes[1].legend(frameon=False, loc='lower right', ncols=2)  # below the lines
    figure.savefig(path, dpi=110, metadata={'Software': None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='fewer counts; prints the figures and writes no file')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        real = real_clips(Path(scratch), options.quick)
        results, start_s = measure(Path(scratch), QUICK if options.quick else COUNTS)
    fits = {name: fit(rows, start_s[name]) for name, rows in results.items()}
    text = f'{growth_text(fits, results)}\n\n{cost_text(real["clip_s"], fits)}\n'
    print(text)
    if options.quick:
        return
    content = {'machine': table.machine(), 'start_s': start_s, 'real': real, 'results': results, 'fits': fits}
    RESULTS.write_text(json.dumps(content, indent=1) + '\n')
    plot(results, start_s, PLOT)
    PAGE.write_text(table.replace_section(PAGE.read_text(), 'growth', text))


if __name__ == '__main__':
    main()
