"""All benchmarks: python -m bench.suite [--quick] [--only NAME ...], or make bench, make bench-quick.

Writes bench/results.json and the table of docs/performance.md. Same work, same machine, same run: sides take turns,
ratios are those of a round, and the table has their median and range. Peers that are not installed and rows that fail
are named; the rest goes on. What is written keeps other parts' rows as they were measured before. A quick run's figures
are printed and nothing is written, unless --write asks for it.
"""

import argparse
import datetime
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import end_to_end, table
from bench.turns import ROOT, Absent, Race, Side, race, ratio

RESULTS, PAGE = ROOT / 'bench' / 'results.json', ROOT / 'docs' / 'performance.md'
SIZE_PX, N_FRAMES = 512, 7
# Windows of an update and the goal against Keras.
UPDATES = {128: (8, 1.2), 256: (4, 1.4), 512: (2, 1.6)}

CLIPS = {'h264_second': 'a key frame each second', 'h264_long': 'a key frame each 8 seconds'}

Rows = list[dict[str, Any]]


def features(scratch: Path, quick: bool) -> Rows:
    """B0's features: ours, Keras', ONNX Runtime's, OpenVINO's."""
    model = scratch / 'b0.onnx'
    subprocess.run([sys.executable, '-m', 'bench.our_side', '--out', str(model)], cwd=ROOT, check=True)
    n = 32
    options = {'n': n, 'size_px': SIZE_PX}
    exported = options | {'path': str(model)}
    sides = [
        Side('ours', 'our_side', 'encode', options),
        Side('Keras', 'peers', 'keras_encode', options, ('tensorflow',)),
        Side('ONNX Runtime', 'peers', 'onnx_encode', exported, ('onnxruntime',)),
        Side('OpenVINO bf16', 'peers', 'openvino_encode', exported | {'precision': 'bf16'}, ('openvino',)),
        Side(
            'OpenVINO bf16, from Keras',
            'peers',
            'openvino_encode',
            options | {'path': 'keras', 'precision': 'bf16'},
            ('openvino', 'tensorflow'),
        ),
    ]
    run = race(sides, 3 if quick else 9)
    work = f'B0 features, {SIZE_PX} px, float32, frames/s'
    rows = [ratio_row(run, work, 'ours', peer, goal, n) for peer, goal in (('Keras', 2.0), ('ONNX Runtime', 1.0))]
    return rows + fastest_mode(run, n)


def fastest_mode(run: Race, n: int) -> Rows:
    """Ours in JAX and our exported file in OpenVINO's bfloat16, against Keras' there; the goal is the faster one's."""
    peer, modes = 'OpenVINO bf16, from Keras', {'ours': 'JAX float32', 'OpenVINO bf16': 'our file in OpenVINO bf16'}
    rows = [ratio_row(run, f'the same, {mode}', side, peer, None, n) for side, mode in modes.items()]
    error = run.notes.get('OpenVINO bf16', {}).get('error')
    if error is not None:
        exact = 'which took float32: this processor has no bfloat16'
        text = f'error {error:.1e} of the largest feature' if error else exact
        rows[1]['note'] = f'{rows[1].get("note", "")}; {text}'
    fastest = max(rows, key=lambda row: row.get('value', 0))
    return [row | {'goal': 1.0, 'work': f'{row["work"]}, the fastest mode'} if row is fastest else row for row in rows]


def updates(scratch: Path, quick: bool) -> Rows:
    """Updates of the full model."""
    rows = []
    for size_px, (batch, goal) in UPDATES.items():
        if quick and size_px != 128:
            continue
        options = {'batch': batch, 'n_frames': N_FRAMES, 'size_px': size_px}
        sides = [
            Side('ours', 'our_side', 'update', options),
            Side('Keras', 'peers', 'keras_update', options, ('tensorflow',)),
        ]
        run = race(sides, 3 if quick else 9, most_s=100)
        work = f'update of the full model, {batch} x {N_FRAMES} frames, {size_px} px, float32'
        rows.append(ratio_row(run, work, 'ours', 'Keras', goal, batch * N_FRAMES))
    return rows


def ratio_row(run, work: str, ours: str, theirs: str, goal: float | None, n: int) -> dict[str, Any]:
    """A row of the table: how many times quicker `ours` is than `theirs`; n frames each turn."""
    row = {'work': work, 'against': theirs, 'goal': goal, 'unit': ' x'}
    missing = [name for name in (ours, theirs) if not run.seconds.get(name)]
    if missing:
        reasons = [text for text in run.absent if text.startswith(tuple(missing))]
        return row | {'failed': '; '.join(reasons) or f'{", ".join(missing)} gave no figure'}
    compared = ratio(run.seconds[ours], run.seconds[theirs])
    speeds = [n / statistics.median(run.seconds[name]) for name in (ours, theirs)]
    note = f'{speeds[0]:.1f} and {speeds[1]:.1f} frames/s, {len(run.seconds[ours])} rounds'
    return row | {'value': compared['ratio'], 'range': compared['range'], 'note': note, 'seconds': run.seconds}


def published(function: Callable, goal: float, what: str) -> Callable[[Path, bool], Rows]:
    """A row against the published way."""

    def rows(scratch: Path, quick: bool) -> Rows:
        found = function(scratch, quick)
        parts = [
            f'{side} {found[f"{side}_net_s"]:.1f} s + {found[f"{side}_start_s"]:.1f} s'
            for side in ('ours', 'published')
        ]
        note = f'{found["work"]}; {", ".join(parts)} of start-up; with start-up {found["whole"]:.1f} x'
        row = {'work': what, 'against': 'the published way in Keras', 'goal': goal, 'unit': ' x', 'note': note}
        return [row | {'value': found['ratio'], 'range': found['range'], 'details': found}]

    return rows


def clips(scratch: Path, quick: bool) -> Rows:
    """One clip by one model, for a kind of clip of which few pictures have to be decoded, and one of which most."""
    rows = []
    for kind, keys in list(CLIPS.items())[: 1 if quick else None]:
        what = f'one model over every second of a clip, {keys}, from file to distances, net'
        rows += published(functools.partial(end_to_end.one_clip, kind=kind), 12, what)(scratch, quick)
    return rows


def start(scratch: Path, quick: bool) -> Rows:
    found = end_to_end.start_up(scratch, quick)
    work = f'predict.py on a clip of {end_to_end.SHORT_CLIP_S} s, from command to end, warm cache'
    row = {'work': work, 'against': '-', 'goal': 8, 'unit': ' s', 'less_is_better': True}
    return [row | {'value': found['seconds'], 'range': found['range']}]


def memory(scratch: Path, quick: bool) -> Rows:
    found = end_to_end.memory(scratch, quick)
    row = {'work': 'memory of predict.py, 1,000 clips', 'against': '10 clips', 'goal': 1.1, 'unit': ' x'}
    note = f'{found["many_mb"]:.0f} and {found["few_mb"]:.0f} MB, all processes, tiny pictures'
    return [row | {'less_is_better': True, 'value': found['growth'], 'range': found['range'], 'note': note}]


PARTS: dict[str, Callable[[Path, bool], Rows]] = {
    'features': features,
    'updates': updates,
    'clip': clips,
    'recipes': published(end_to_end.twelve_recipes, 5, "twelve recipes over the challenge's pattern of targets, net"),
    'start': start,
    'memory': memory,
}

QUICK = ('features', 'updates', 'clip')  # what gives a figure in minutes


def measure(name: str, quick: bool, scratch: Path) -> Rows:
    """The rows of a part; where it fails, a row that says so."""
    began = time.perf_counter()
    try:
        rows = PARTS[name](scratch, quick)
    except (Absent, RuntimeError, OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
        rows = [{'work': name, 'against': '', 'failed': f'{type(error).__name__}: {error}'[:300]}]
    print(f'{name}: {time.perf_counter() - began:.0f} s\n{table.rows_text(rows)}', flush=True)
    return rows


def write(parts: dict[str, Rows], days: dict[str, str], quick: bool) -> None:
    """bench/results.json and the table of the page. days: when each part was measured, the last of them here."""
    described = table.machine()
    content = {'days': days, 'quick': quick, 'machine': described, 'parts': parts}
    RESULTS.write_text(json.dumps(content, indent=1) + '\n')
    rows = [row | {'day': days[name]} for name, part in parts.items() for row in part]
    command = 'make bench-quick (few rounds)' if quick else 'make bench'
    text = f'`{command}`, {max(days.values())}: {table.machine_text(described)}\n\n{table.rows_text(rows)}\n'
    PAGE.write_text(table.replace_section(PAGE.read_text(), 'table', text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='few rounds, small work: minutes')
    parser.add_argument('--only', nargs='+', choices=list(PARTS), help='these parts; with --quick three by default')
    parser.add_argument('--write', action='store_true', help='writes also what a quick run has measured')
    options = parser.parse_args()
    names = options.only or list(QUICK if options.quick else PARTS)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {'parts': {}, 'days': {}}
    parts, days = kept['parts'], kept['days']
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            parts[name] = measure(name, options.quick, Path(scratch))
            days[name] = datetime.datetime.now(datetime.UTC).date().isoformat()
            if options.write or not options.quick:  # after each part: a run that is ended loses one at most
                write({part: parts[part] for part in PARTS if part in parts}, days, options.quick)


if __name__ == '__main__':
    main()
