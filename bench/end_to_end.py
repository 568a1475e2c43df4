"""Measures whole commands: from clips to distances compared with the published way, start-up, and memory.

Seconds are those of whole commands. `net` is without start-up, which is the time of the same command for a clip of one
picture, so net ratios apply to many clips.
"""

import io
import itertools
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from bench import camera_clips
from bench.turns import ROOT, Absent
from chimp_jax.ensemble.prediction_tables import read_predictions
from configs.recipes import PUBLISHED
from data_prep.records import Record, write_records

PATTERN = ROOT.parent / 'shared' / 'data' / 'deep_chimpact' / 'submission_format.csv'
ONE = 'full-a4p50-f7s1'
SHORT_CLIP_S = 5
SHORTEST_S = 0.5  # shortest net seconds that differ clearly from start-up


# ---------------------------------------------------------------- commands


def run(command: list, most_s: float = 900) -> float:
    """Runs a command and returns its seconds. Raises RuntimeError with its last lines if it fails."""
    began = time.perf_counter()
    result = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=most_s)
    if result.returncode:
        raise RuntimeError(
            f'{command[1:3]} failed: {" ".join((result.stdout + result.stderr).splitlines()[-3:])[-400:]}'
        )
    return time.perf_counter() - began


def make_members(folder: Path, recipes: list[str], size_px: int, folds: int = 1, animals: int = 0) -> Path:
    """Writes members with random weights and returns their folder. animals: slots of the region branch, 0: without."""
    command = [sys.executable, '-m', 'bench.random_members', '--runs', folder, '--size_px', size_px]
    run([*command, '--folds', folds, '--animals', animals, '--recipes', *recipes])
    return folder


def make_clips(folder: Path, seconds_of_targets: list[list[int]], seconds: float, kind: str = 'h264_long') -> Path:
    """Writes down/, full/ and submission_format.csv with one clip for each list of targets, and returns the folder.

    All clips have the same pictures, because neither way reuses anything between clips.
    """
    encoded = camera_clips.KINDS[kind]
    names = [f'clip_{number}{encoded.suffix}' for number in range(len(seconds_of_targets))]
    camera_clips.render_clip(folder / 'full' / names[0], folder / 'down' / names[0], encoded, seconds, seed=0)
    rows = []
    for clip, times in zip(names, seconds_of_targets, strict=True):
        for stream in ('full', 'down'):
            if not (folder / stream / clip).exists():
                shutil.copyfile(folder / stream / names[0], folder / stream / clip)
        rows += [(clip, time_s, 5.0) for time_s in times]
    pd.DataFrame(rows, columns=['video_id', 'time', 'distance']).to_csv(folder / 'submission_format.csv', index=False)
    return folder


# ---------------------------------------------------------------- the two ways


def ours_every_second(inputs: Path, runs: Path, out: Path, recipes: list[str], size_px: int) -> float:
    """Runs chimp-distance estimate over every second of the clips and returns its seconds."""
    command = [sys.executable, 'predict.py', 'estimate', inputs / 'full', '--members', runs, '--weights', 'mean']
    return run([*command, '--out', out])


def ours_of_targets(inputs: Path, runs: Path, out: Path, recipes: list[str], size_px: int) -> float:
    """Runs data_prep.build, then predict.py over its records, and returns their seconds."""
    build = [sys.executable, '-m', 'data_prep.build', '--tables', inputs, '--out', out / 'data']
    build += ['--clips_down', inputs / 'down', '--clips_full', inputs / 'full']
    predict = [sys.executable, 'predict.py', '--members', runs, '--records', out / 'data', '--weights', 'mean']
    return run(build) + run([*predict, '--out', out / 'distances.csv'])


def published(inputs: Path, runs: Path, out: Path, recipes: list[str], size_px: int) -> float:
    """Runs bench/published_way.py and returns its seconds."""
    command = [sys.executable, '-m', 'bench.published_way', '--tables', inputs, '--out', out, '--size_px', size_px]
    return run([*command, '--clips_down', inputs / 'down', '--clips_full', inputs / 'full', '--recipes', *recipes])


def against_published(
    ours,
    inputs: dict[str, Path],
    start: Path,
    runs: Path,
    recipes: list[str],
    rounds: int,
    times_ours: int = 1,
    size_px: int = 512,
) -> dict[str, Any]:
    """Runs both ways in turn over inputs['ours'] and inputs['published'] and returns the row of `net_ratio`.

    times_ours: our input is this many times the published way's, so that it takes long compared with start-up.
    """
    out = start.parent / 'out'
    sides = {'ours': ours, 'published': published}
    seconds: dict[tuple, list[float]] = {(side, what): [] for side in sides for what in ('start', 'whole')}
    for side in sides:  # warm-up: compiled programs, files read from disk
        shutil.rmtree(out, ignore_errors=True)
        sides[side](start, runs, out, recipes, size_px)
    for number in range(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            for what, folder in (('start', start), ('whole', inputs[side])):
                shutil.rmtree(out, ignore_errors=True)
                seconds[side, what].append(sides[side](folder, runs, out, recipes, size_px))
    shutil.rmtree(out, ignore_errors=True)
    return net_ratio(seconds, times_ours)


def net_ratio(seconds: dict[tuple, list[float]], times_ours: int = 1) -> dict[str, Any]:
    """Returns the ratios published / ours of the net seconds, and the medians.

    seconds: {(side, 'start' or 'whole'): seconds of each round}. Net seconds are for the published way's input; ours
    are divided by times_ours. `whole` is the ratio for that input with one start-up each. Raises RuntimeError if a net
    time is too short compared with the variation of start-up, because its ratio would be meaningless.
    """
    start = {side: statistics.median(seconds[side, 'start']) for side in ('ours', 'published')}
    spread = {side: max(seconds[side, 'start']) - min(seconds[side, 'start']) for side in start}
    net = {side: [s - start[side] for s in seconds[side, 'whole']] for side in start}
    for side, values in net.items():
        least = max(SHORTEST_S, 2 * spread[side])
        if min(values) < least:
            start_text = f'a start-up of {start[side]:.1f} s that varies by {spread[side]:.1f} s'
            raise RuntimeError(f'{side}: {min(values):.1f} s after {start_text} are too short to compare')
    net['ours'] = [s / times_ours for s in net['ours']]
    each = [theirs / ours for ours, theirs in zip(net['ours'], net['published'], strict=True)]
    middle = {side: statistics.median(net[side]) for side in net}
    row = {'ratio': statistics.median(each), 'range': [min(each), max(each)]}
    row['whole'] = (start['published'] + middle['published']) / (start['ours'] + middle['ours'])
    both = zip(net['ours'], net['published'], strict=True)
    wholes = [(start['published'] + theirs) / (start['ours'] + ours) for ours, theirs in both]
    row['whole_range'] = [min(wholes), max(wholes)]
    row |= {f'{side}_net_s': middle[side] for side in net}
    return row | {f'{side}_start_s': start[side] for side in start}


def one_clip(scratch: Path, quick: bool, kind: str) -> dict[str, Any]:
    """Runs one model over every second of a clip. Ours runs over several such clips, and its time is divided by them.

    kind: a key of camera_clips.KINDS.
    """
    seconds, n_ours = (20, 6) if quick else (60, 6)
    every = list(range(seconds))
    inputs = {
        'ours': make_clips(scratch / f'many_{kind}', [every] * n_ours, seconds, kind),
        'published': make_clips(scratch / f'one_{kind}', [every], seconds, kind),
    }
    start = make_clips(scratch / 'picture', [[0]], 1 / camera_clips.FPS)
    runs = make_members(scratch / 'runs_one', [ONE], 512)
    row = against_published(ours_every_second, inputs, start, runs, [ONE], 1 if quick else 2, n_ours)
    return row | {'work': f'a clip of {seconds} s ({n_ours} of them for ours, per clip), {ONE}'}


def twelve_recipes(scratch: Path, quick: bool) -> dict[str, Any]:
    """Runs all published recipes over clips with targets as in the challenge. Raises Absent without its table."""
    if not PATTERN.exists():
        raise Absent(f'{PATTERN} is missing')
    n_clips, recipes = (1, list(PUBLISHED[::4])) if quick else (3, list(PUBLISHED))
    times = read_predictions(PATTERN, []).groupby('video_id')['time'].agg(lambda column: sorted(column))
    typical = (times.map(len) - times.map(len).mean()).abs().sort_values(kind='stable').index
    patterns = list({tuple(times[clip]): None for clip in typical if max(times[clip]) < 60})[:n_clips]
    clips = make_clips(scratch / 'twelve', [list(pattern) for pattern in patterns], 60)
    inputs = {'ours': clips, 'published': clips}
    start = make_clips(scratch / 'picture', [[0]], 1 / camera_clips.FPS)
    runs = make_members(scratch / f'runs_{len(recipes)}', recipes, 512)
    row = against_published(ours_of_targets, inputs, start, runs, recipes, rounds=1)
    return row | {'work': f'{len(recipes)} recipes, {n_clips} clips, {sum(map(len, patterns))} targets'}


def start_up(scratch: Path, quick: bool) -> dict[str, Any]:
    """Measures `estimate` for one short clip, from start to end, with compiled programs in the cache."""
    inputs = make_clips(scratch / 'short', [[0]], SHORT_CLIP_S)
    runs = make_members(scratch / 'runs_one', [ONE], 512)
    seconds = []
    for _ in range(3 if quick else 6):
        shutil.rmtree(scratch / 'out', ignore_errors=True)
        seconds.append(ours_every_second(inputs, runs, scratch / 'out', [ONE], 512))
    seconds = seconds[1:]
    return {'seconds': statistics.median(seconds), 'range': [min(seconds), max(seconds)]}


# ---------------------------------------------------------------- memory


def tiny_records(folder: Path, n_clips: int, n_frames: int = 4, targets: int = 2, animals: int = 0) -> Path:
    """Writes records of the test split with clips of noise, 64 x 36 pixels, and returns the folder.

    targets: seconds. animals: boxes in each frame, each of which is a target in each second.
    """
    if folder.exists():
        return folder
    jpeg = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (36, 64, 3), dtype=np.uint8)).save(jpeg, 'JPEG')

    names = [f'animal {k}' for k in range(animals)]
    n_rows, n_boxes = targets * max(animals, 1), n_frames * animals
    box = np.linspace([0.1, 0.2, 0.3, 0.6], [0.6, 0.2, 0.8, 0.6], animals, dtype=np.float32)

    def record(video_id: str) -> Record:
        return Record(
            video_id=video_id,
            frame_jpeg=[jpeg.getvalue()] * n_frames,
            frame_time_s=np.arange(n_frames, dtype=np.int32),
            target_time_s=np.repeat(np.arange(targets, dtype=np.int32), max(animals, 1)),
            target_distance_m=np.full(n_rows, np.nan, np.float32),
            target_box=np.tile(box, (targets, 1)) if animals else np.full((n_rows, 4), np.nan, np.float32),
            target_animal=(names or ['']) * targets,
            box_time_s=np.repeat(np.arange(n_frames, dtype=np.float32), animals),
            box=np.tile(box, (n_frames, 1)),
            box_confidence=np.ones(n_boxes, np.float32),
            box_animal=names * n_frames,
            site='',
            park='',
            duration_s=float(n_frames),
            height_px=36,
            width_px=64,
            frame_rate=8.0,
            white_fraction=0.0,
            gamma=False,
        )

    write_records({'test': [f'{k:06d}.mp4' for k in range(n_clips)]}, record, folder, 'full')
    return folder


def peak_mb(command: list, every_s: float = 0.05) -> tuple[float, float]:
    """Runs a command and returns its seconds and the peak resident memory of all its processes in MB."""
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    process = subprocess.Popen([*map(str, command)], cwd=ROOT, stdin=nothing, stdout=nothing, stderr=pipe)
    began, peak, ended = time.perf_counter(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(every_s):
            peak = max(peak, tree_rss(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f'{command[1:3]} failed: {errors.decode()[-300:]}')
    return seconds, peak / 1e6


def tree_rss(pid: int) -> int:
    """Returns the resident bytes of a process and its descendants, 0 if it has ended."""
    try:
        parent = psutil.Process(pid)
        return sum(_rss(one) for one in [parent, *parent.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def memory(scratch: Path, quick: bool) -> dict[str, Any]:
    """Measures by how much the memory of predict.py grows from few to many clips."""
    runs = make_members(scratch / 'runs_tiny', [ONE], 32)
    peaks = {}
    for n_clips, _ in itertools.product((10, 1000), range(1 if quick else 2)):
        records = tiny_records(scratch / f'tiny_{n_clips}', n_clips)
        shutil.rmtree(scratch / 'out', ignore_errors=True)
        command = [sys.executable, 'predict.py', '--members', runs, '--records', records, '--weights', 'mean']
        peaks.setdefault(n_clips, []).append(peak_mb([*command, '--out', scratch / 'out' / 'distances.csv'])[1])
    few, many = (statistics.median(values) for values in peaks.values())
    each = [b / a for a, b in zip(*peaks.values(), strict=True)]
    return {'growth': statistics.median(each), 'range': [min(each), max(each)], 'few_mb': few, 'many_mb': many}
