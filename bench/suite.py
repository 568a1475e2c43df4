"""Runs all benchmarks: python -m bench.suite [--quick] [--only NAME ...], or make bench, make bench-quick.

Writes bench/results.json and the table of docs/performance.md. All sides do the same work on the same machine in the
same run. They take turns, a ratio compares times of one round, and the table has the median and range of the ratios. If
a peer is not installed or a row fails, the table says so and the other rows are measured. Rows of parts that were not
run keep their earlier figures. A quick run prints its figures and writes them only with --write.
"""

import argparse
import datetime
import functools
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench import end_to_end, table
from bench.turns import ROOT, Absent, Race, Side, race, ratio

RESULTS, PAGE = ROOT / 'bench' / 'results.json', ROOT / 'docs' / 'performance.md'
SIZE_PX, N_FRAMES = 512, 7
DETECTOR_PX = 640
# Windows of an update and the goal against Keras.
UPDATES = {128: (8, 1.2), 256: (4, 1.4), 512: (2, 1.6)}

# When the key frames come, and the goal against the published way.
CLIPS = {'h264_second': ('a key frame each second', 12), 'h264_long': ('a key frame each 8 seconds', 14)}

Rows = list[dict[str, Any]]


def features(scratch: Path, quick: bool) -> Rows:
    """Compares B0's features: ours, Keras, ONNX Runtime and OpenVINO."""
    model = write_onnx('backbone', scratch, SIZE_PX)
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
    rows = [ratio_row(run, work, 'ours', peer, goal, n) for peer, goal in (('Keras', 2.0), ('ONNX Runtime', 1.1))]
    return rows + fastest_mode(run, n)


def fastest_mode(run: Race, n: int) -> Rows:
    """Compares ours in JAX, and our file in OpenVINO's bfloat16, with Keras there. The faster of ours has the goal."""
    peer, modes = 'OpenVINO bf16, from Keras', {'ours': 'JAX float32', 'OpenVINO bf16': 'our file in OpenVINO bf16'}
    rows = [ratio_row(run, f'the same, {mode}', side, peer, None, n) for side, mode in modes.items()]
    error = run.notes.get('OpenVINO bf16', {}).get('error')
    if error is not None:
        exact = 'which took float32: this processor has no bfloat16'
        text = f'error {error:.1e} of the largest feature' if error else exact
        rows[1]['note'] = f'{rows[1].get("note", "")}; {text}'
    fastest = max(rows, key=lambda row: row.get('value', 0))
    return [row | {'goal': 1.0, 'work': f'{row["work"]}, the fastest mode'} if row is fastest else row for row in rows]


def write_onnx(network: str, scratch: Path, size_px: int) -> Path:
    """Writes a network with random weights as an ONNX file and returns its path."""
    path = scratch / f'{network}.onnx'
    command = [sys.executable, '-m', 'bench.our_side', network, '--size_px', str(size_px), '--out', str(path)]
    subprocess.run(command, cwd=ROOT, check=True)
    return path


def detector(scratch: Path, quick: bool) -> Rows:
    """Compares the detector in JAX, with the choice of boxes, and its exported file in ONNX Runtime, without."""
    n = 8
    options = {'n': n, 'size_px': DETECTOR_PX}
    exported = options | {'path': str(write_onnx('detector', scratch, DETECTOR_PX))}
    sides = [
        Side('ours', 'our_side', 'detect', options),
        Side('ONNX Runtime', 'peers', 'onnx_encode', exported, ('onnxruntime',)),
    ]
    run, work = race(sides, 3 if quick else 9), f'detector, {DETECTOR_PX} px, float32'
    rows = [ratio_row(run, f'{work}, frames/s', 'ours', 'ONNX Runtime', 1.0, n)]
    return [*rows, seconds_row(run, f'{work}, one frame on all cores', 'ours', 0.25, n)]


def updates(scratch: Path, quick: bool) -> Rows:
    """Compares updates of the full model."""
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
    """Returns a row of the table: how many times faster `ours` is than `theirs`, with n frames in each turn."""
    row = {'work': work, 'against': theirs, 'goal': goal, 'unit': ' x'}
    missing = [name for name in (ours, theirs) if not run.seconds.get(name)]
    if missing:
        reasons = [text for text in run.absent if text.startswith(tuple(missing))]
        return row | {'failed': '; '.join(reasons) or f'{", ".join(missing)} gave no figure'}
    compared = ratio(run.seconds[ours], run.seconds[theirs])
    speeds = [n / statistics.median(run.seconds[name]) for name in (ours, theirs)]
    note = f'{speeds[0]:.1f} and {speeds[1]:.1f} frames/s, {len(run.seconds[ours])} rounds'
    return row | {'value': compared['ratio'], 'range': compared['range'], 'note': note, 'seconds': run.seconds}


def seconds_row(run: Race, work: str, side: str, goal: float, n: int) -> dict[str, Any]:
    """Returns a row of the table: the seconds per frame of a side, with n frames in each turn."""
    row = {'work': work, 'against': '-', 'goal': goal, 'unit': ' s', 'less_is_better': True}
    each = [seconds / n for seconds in run.seconds.get(side, [])]
    if not each:
        return row | {'failed': '; '.join(run.absent)}
    return row | {'value': statistics.median(each), 'range': [min(each), max(each)], 'note': f'{len(each)} rounds'}


def published(
    function: Callable, goal: float, what: str, with_start: float | None = None
) -> Callable[[Path, bool], Rows]:
    """Returns a part that compares with the published way. with_start: the goal of a row for one clip alone."""

    def rows(scratch: Path, quick: bool) -> Rows:
        found = function(scratch, quick)
        parts = [
            f'{side} {found[f"{side}_net_s"]:.1f} s + {found[f"{side}_start_s"]:.1f} s'
            for side in ('ours', 'published')
        ]
        note = f'{found["work"]}; {", ".join(parts)} of start-up; with start-up {found["whole"]:.1f} x'
        row = {'work': what, 'against': 'the published way in Keras', 'goal': goal, 'unit': ' x', 'note': note}
        net = row | {'value': found['ratio'], 'range': found['range'], 'details': found}
        if with_start is None:
            return [net]
        once = row | {'work': 'the same, with start-up, one clip', 'goal': with_start, 'note': ''}
        return [net, once | {'value': found['whole'], 'range': found['whole_range']}]

    return rows


def clips(scratch: Path, quick: bool) -> Rows:
    """Compares one clip and one model, for clips of which few pictures must be decoded, and of which many."""
    rows = []
    for kind, (keys, goal) in list(CLIPS.items())[: 1 if quick else None]:
        what = f'one model over every second of a clip, {keys}, from file to distances, net'
        rows += published(functools.partial(end_to_end.one_clip, kind=kind), goal, what, with_start=9)(scratch, quick)
    return rows


def start(scratch: Path, quick: bool) -> Rows:
    """Measures the whole command on a short clip."""
    found = end_to_end.start_up(scratch, quick)
    work = f'predict.py on a clip of {end_to_end.SHORT_CLIP_S} s, from command to end, warm cache'
    row = {'work': work, 'against': '-', 'goal': 2.5, 'unit': ' s', 'less_is_better': True}
    return [row | {'value': found['seconds'], 'range': found['range']}]


def memory(scratch: Path, quick: bool) -> Rows:
    """Compares the memory for many clips with that for few."""
    found = end_to_end.memory(scratch, quick)
    row = {'work': 'memory of predict.py, 1,000 clips', 'against': '10 clips', 'goal': 1.1, 'unit': ' x'}
    note = f'{found["many_mb"]:.0f} and {found["few_mb"]:.0f} MB, all processes, tiny pictures'
    return [row | {'less_is_better': True, 'value': found['growth'], 'range': found['range'], 'note': note}]


PARTS: dict[str, Callable[[Path, bool], Rows]] = {
    'features': features,
    'detector': detector,
    'updates': updates,
    'clip': clips,
    'recipes': published(end_to_end.twelve_recipes, 9, "twelve recipes over the challenge's pattern of targets, net"),
    'start': start,
    'memory': memory,
}

QUICK = ('features', 'updates', 'clip')  # parts that take minutes


def others_percent() -> float:
    """Returns how much of the processor other programs take now, in percent of all cores."""
    return psutil.cpu_percent(interval=1)


def beside(rows: Rows, busy_percent: float) -> Rows:
    """Returns the rows with a note if other programs took more than a tenth of the processor."""
    if busy_percent <= 10:
        return rows
    text = f'**not alone**: at the start other programs took {busy_percent:.0f} % of the processor'
    return [row | {'note': '; '.join(filter(None, [row.get('note'), text]))} for row in rows]


def measure(name: str, quick: bool, scratch: Path) -> Rows:
    """Returns the rows of a part, or one row with the reason if the part fails."""
    began, busy_percent = time.perf_counter(), others_percent()
    try:
        rows = beside(PARTS[name](scratch, quick), busy_percent)
    except (Absent, RuntimeError, OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
        rows = [{'work': name, 'against': '', 'failed': f'{type(error).__name__}: {error}'[:300]}]
    print(f'{name}: {time.perf_counter() - began:.0f} s\n{table.rows_text(rows)}', flush=True)
    return rows


def kept_rows(rows: Rows, described: dict[str, Any]) -> Rows:
    """Returns the rows with verdict, date and processor, as bench/results.json keeps them."""
    about = {'machine': table.processor_text(described), 'date': datetime.datetime.now(datetime.UTC).date().isoformat()}
    return [row | {'reached': table.reached(row)} | about for row in rows]


def write(parts: dict[str, Rows], machines: dict[str, dict], quick: bool) -> None:
    """Writes bench/results.json and the table of the page. machines: where each part was measured."""
    RESULTS.write_text(json.dumps({'quick': quick, 'machines': machines, 'parts': parts}, indent=1) + '\n')
    rows = list(itertools.chain.from_iterable(parts.values()))
    command = 'make bench-quick (few rounds)' if quick else 'make bench'
    head = f'`{command}`, {max(row["date"] for row in rows)}:'
    text = f'{head}\n\n{table.machines_text(machines)}\n\n{table.rows_text(rows)}\n'
    PAGE.write_text(table.replace_section(PAGE.read_text(), 'table', text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='few rounds, small work: takes minutes')
    parser.add_argument('--only', nargs='+', choices=list(PARTS), help='only these parts; --quick has three by default')
    parser.add_argument('--write', action='store_true', help='write the figures of a quick run too')
    options = parser.parse_args()
    names = options.only or list(QUICK if options.quick else PARTS)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {'parts': {}, 'machines': {}}
    parts, machines = kept['parts'], kept['machines']
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            machines[name] = table.machine()
            parts[name] = kept_rows(measure(name, options.quick, Path(scratch)), machines[name])
            if options.write or not options.quick:  # after each part: an interrupted run loses at most one
                write({part: parts[part] for part in PARTS if part in parts}, machines, options.quick)


if __name__ == '__main__':
    main()
