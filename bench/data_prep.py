"""Compares our data preparation with the original's way, on the same clips and the same core, in turn.

    python -m bench.data_prep [--quick] [--clips N] [--rounds N] [--folder DIR] [--json PATH]

Seconds are those of whole commands. `net` is without start-up, which is the time of the same command for a clip of one
picture, so it applies to thousands of clips. Disk space is that of the records only, for both streams.
"""

import argparse
import io
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from bench import camera_clips
from bench.camera_clips import KINDS
from chimp_jax.ensemble.prediction_tables import read_predictions

ROOT = Path(__file__).resolve().parents[1]
LABELS = ROOT.parent / 'shared' / 'data' / 'deep_chimpact' / 'train_labels.csv'
DISK_GOAL = 4
MOST_DIFFERENCE = 6  # grey levels, mean over a frame: the loss of two JPEG encodings
MB = 1e6
SHORTEST_S = 0.5  # shortest reliable net seconds, because start-up varies by some tenths
QUIET = {'TF_CPP_MIN_LOG_LEVEL': '3', 'TF_ENABLE_ONEDNN_OPTS': '0', 'CUDA_VISIBLE_DEVICES': '-1'}
SIDES = {
    'ours': [sys.executable, '-m', 'data_prep.build', '--workers', '1'],
    'original': [sys.executable, '-m', 'bench.original_prep'],
}


# ---------------------------------------------------------------- clips and targets


def choose_patterns(n_clips: int, typical: str, seconds: int) -> list[list[int]]:
    """Returns the labelled seconds of n_clips clips.

    The patterns are those of the challenge's clips whose numbers of labels and of distinct frames are nearest to the
    mean or median of the table, each pattern once. The mean determines the disk space of the whole table. If the table
    is missing, similar patterns are used.
    """
    if not LABELS.exists():
        built_in = [[0, 2, 4, 6, 8, 10, 20], [30, 32, 34, 36, 38, 40, 42, 52], [0, 2, 4, 6, 8, 10, 12]]
        patterns = built_in[:n_clips]
    else:
        table = read_predictions(LABELS, [])
        times = table.groupby('video_id')['time'].agg(lambda column: tuple(sorted(column)))
        counts = pd.DataFrame({'labels': times.map(len), 'frames': times.map(_n_frames)})
        distance = ((counts - counts.agg(typical)) / counts.agg(typical)).abs().sum(axis=1)
        patterns = list(dict.fromkeys(times[distance.sort_values(kind='stable').index]))[:n_clips]
        print(f'challenge: {_describe(times)}')
    patterns = list(itertools.islice(itertools.cycle(patterns), n_clips))
    print(f'here:      {_describe(patterns)}; {typical}: {" ".join(map(str, map(list, patterns)))}')
    return [[time_s for time_s in pattern if time_s < seconds] or [0] for pattern in patterns]


def _n_frames(pattern, last_s: int = 59) -> int:
    """Returns the number of distinct frames in the windows of 11 frames at steps of 1 and 2 s."""
    offsets = np.arange(-5, 6)
    return len({s for t in pattern for step in (1, 2) for s in np.clip(t + step * offsets, 0, last_s).tolist()})


def _describe(patterns) -> str:
    labels, frames = sum(map(len, patterns)), sum(map(_n_frames, patterns))
    mean = f'{labels / len(patterns):.2f} labels and {frames / len(patterns):.1f} distinct frames a clip'
    return f'{len(patterns)} clips, {mean}, windows hold each {22 * labels / frames:.2f} times'


def make_inputs(folder: Path, name: str, patterns: list[list[int]], seconds: float) -> Path:
    """Writes down/, full/ and submission_format.csv with clips of a kind, and returns the folder."""
    kind, rows = KINDS[name], []
    for number, pattern in enumerate(patterns):
        clip = f'clip_{number}{kind.suffix}'
        camera_clips.render_clip(folder / 'full' / clip, folder / 'down' / clip, kind, seconds, seed=number)
        rows += [(clip, time_s, 5.0) for time_s in pattern]
    pd.DataFrame(rows, columns=['video_id', 'time', 'distance']).to_csv(folder / 'submission_format.csv', index=False)
    return folder


# ---------------------------------------------------------------- one run of a side


def run_side(side: str, inputs: Path, out: Path) -> dict[str, float]:
    """Returns wall and processor seconds, and the MB of the records and of all files."""
    shutil.rmtree(out, ignore_errors=True)
    command = [*SIDES[side], '--tables', inputs, '--clips_down', inputs / 'down', '--clips_full', inputs / 'full']
    os.sync()
    began, began_cpu = time.perf_counter(), _children_cpu_s()
    result = subprocess.run([*map(str, command), '--out', str(out)], cwd=ROOT, capture_output=True, text=True)
    wall_s, cpu_s = time.perf_counter() - began, _children_cpu_s() - began_cpu
    if result.returncode:
        raise RuntimeError(f'{side} failed on {inputs}:\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}')
    records = out / ('chimp_records' if side == 'ours' else 'records')
    return {'wall_s': wall_s, 'cpu_s': cpu_s, 'records_mb': _size_mb(records), 'all_mb': _size_mb(out)}


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / MB


# ---------------------------------------------------------------- comparison of the content


def check_content(ours: Path, original: Path) -> float:
    """Returns the largest difference of a target's middle frame from the original, in grey levels.

    Raises ValueError if a frame differs too much. It must also be nearer to the original's frame than our next stored
    second is, because otherwise it would be another second.
    """
    import absl.logging
    import tensorflow as tf

    from data_prep.records import read_records

    absl.logging.set_verbosity('error')
    tf.get_logger().setLevel('ERROR')
    largest = 0.0
    for stream in ('down', 'full'):
        records = {record.video_id: record for record in read_records(ours, stream, 'test')}
        for step in (1, 2):
            files = sorted(map(str, (original / 'records' / f'{stream}_s{step}').iterdir()))
            examples = [
                tf.train.Example.FromString(raw.numpy()).features.feature for raw in tf.data.TFRecordDataset(files)
            ]
            if len(examples) != sum(len(record.target_time_s) for record in records.values()):
                raise ValueError(f'{stream}: {len(examples)} examples of the original are not as many as our targets')
            for example in examples[:: max(1, len(examples) // 4)]:
                record = records[example['video_id'].bytes_list.value[0].decode()]
                largest = max(largest, _check_target(record, example))
    return largest


def _check_target(record, example) -> float:
    time_s, theirs = example['time'].int64_list.value[0], _decode(example['frames'].bytes_list.value[5])
    place = int(np.searchsorted(record.frame_time_s, min(time_s, record.frame_time_s[-1])))
    neighbour = place + 1 if place + 1 < len(record.frame_jpeg) else place - 1
    difference, other = (np.abs(_decode(record.frame_jpeg[k]) - theirs).mean() for k in (place, neighbour))
    if difference > MOST_DIFFERENCE or difference >= other:
        text = f'{difference:.1f} grey levels from the original, our next frame {other:.1f}'
        raise ValueError(f'{record.video_id}, second {time_s}: our frame is {text}')
    return float(difference)


def _decode(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert('RGB'), np.float32)


# ---------------------------------------------------------------- rounds and table


def measure(inputs: dict[str, Path], out: Path, rounds: int) -> dict[str, dict[str, list[dict]]]:
    """Returns {kind or 'start': {side: one result per round}}. The sides take turns at being first."""
    results = {name: {side: [] for side in SIDES} for name in inputs}
    for side in SIDES:  # warm-up: reading files from disk for the first time would count as start-up
        run_side(side, inputs['start'], out / side)
    for number, (name, folder) in itertools.product(range(rounds), inputs.items()):
        for side in list(SIDES)[:: -1 if number % 2 else 1]:
            results[name][side].append(run_side(side, folder, out / side))
        if number == 0 and name != 'start':
            print(
                f'{name}: same content, largest difference {check_content(out / "ours", out / "original"):.2f} levels'
            )
        shutil.rmtree(out)
    return results


def summarise(results: dict) -> dict[str, dict]:
    """Returns a row for each kind, and a row `all` with their net seconds and one start-up (median of the rounds)."""
    rounds = range(len(results['start']['ours']))
    kinds = [name for name in results if name != 'start']
    rows = {}
    for name, parts in {**{name: [name] for name in kinds}, 'all': kinds}.items():
        total = {}
        for side, what in itertools.product(SIDES, ('wall_s', 'cpu_s', 'records_mb', 'all_mb')):
            values = np.array([[results[part][side][k][what] for part in parts] for k in rounds])
            seconds = what.endswith('_s')
            start = statistics.median(result[what] for result in results['start'][side]) if seconds else 0
            total[side, f'net_{what}'] = values.sum(axis=1) - start * len(parts)
            total[side, what] = total[side, f'net_{what}'] + start
        row = {f'{what}_{side}': float(np.median(values)) for (side, what), values in total.items()}
        for ratio, what in (
            ('speed', 'wall_s'),
            ('net', 'net_wall_s'),
            ('net_cpu', 'net_cpu_s'),
            ('disk', 'records_mb'),
        ):
            values = sorted((total['original', what] / total['ours', what]).tolist())
            row |= {ratio: statistics.median(values), f'{ratio}_range': [values[0], values[-1]]}
        rows[name] = row | {'speed_goal': KINDS[name].speed_goal if name in KINDS else None, 'disk_goal': DISK_GOAL}
    return rows


def print_table(rows: dict[str, dict], start: dict[str, list[dict]]) -> None:
    walls = {side: sorted(result['wall_s'] for result in start[side]) for side in SIDES}
    texts = [f'{side} {statistics.median(s):.1f} s ({s[0]:.1f}-{s[-1]:.1f})' for side, s in walls.items()]
    print(f'\nstart-up: {", ".join(texts)}; speed and disk: original / ours; -: too short compared with start-up')
    head = ('kind', 's ours', 's orig', 'speed', 'net s', 'net s', 'net speed (range)', 'net CPU', 'goal')
    head += ('MB ours', 'MB orig', '+ files', 'disk', 'goal')
    form = '{:15}{:>7}{:>7}{:>7}{:>7}{:>7}{:>20}{:>9}{:>6}{:>9}{:>9}{:>9}{:>7}{:>6}'
    print(form.format(*head))
    for name, row in rows.items():
        sure = row['net_wall_s_ours'] > SHORTEST_S
        cells = [f'{row[key]:.1f}' for key in ('wall_s_ours', 'wall_s_original')]
        cells += [f'{row["speed"]:.2f}' if sure or name != 'all' else '-']  # the seconds of `all` come from net seconds
        cells += [f'{row[key]:.1f}' for key in ('net_wall_s_ours', 'net_wall_s_original')]
        net = [f'{row["net"]:.2f} ({row["net_range"][0]:.2f}-{row["net_range"][1]:.2f})', f'{row["net_cpu"]:.2f}']
        cells += net if sure else ['-', '-']
        cells += [row['speed_goal'] or '']
        cells += [f'{row[key]:.1f}' for key in ('records_mb_ours', 'records_mb_original', 'all_mb_original')]
        print(form.format(name, *cells, f'{row["disk"]:.2f}', row['disk_goal']))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--clips', type=int, default=2, help='clips of each kind')
    parser.add_argument('--seconds', type=int, default=60, help='length of a clip')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--typical', choices=('mean', 'median'), default='mean', help='how typical clips are chosen')
    parser.add_argument('--quick', action='store_true', help='1 clip of 15 s of each kind, 1 round')
    parser.add_argument('--folder', type=Path, help='keep the clips here for later runs')
    parser.add_argument('--json', type=Path, help='file for the figures')
    options = parser.parse_args()
    if options.quick:
        options.clips, options.seconds, options.rounds = 1, 15, 1
    return options


def main() -> None:
    options = parse()
    os.environ.update(QUIET)
    patterns = choose_patterns(options.clips, options.typical, options.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        clips = (options.folder or Path(scratch)) / f'{options.seconds}s_clips'
        inputs = {'start': make_inputs(clips / 'one_picture', 'mjpeg', [[0]], 1 / camera_clips.FPS)}
        inputs |= {name: make_inputs(clips / name, name, patterns, options.seconds) for name in options.kinds}
        # One core for all, because ffmpeg's stages would run in parallel on several.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        results = measure(inputs, Path(scratch) / 'out', options.rounds)
    rows = summarise(results)
    print_table(rows, results['start'])
    if options.json:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
        content = {'settings': settings, 'patterns': patterns, 'rows': rows, 'results': results}
        options.json.write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
