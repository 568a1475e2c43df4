"""Measures the memory of a result with many rows: python -m bench.large_result FOLDER [--rows 20000000]

Saves made-up predictions of ten members for clips of 60 s at 500 stations and joins them. Writes a made-up result of
estimate into FOLDER, with a row for each second. Then it runs evaluate, report, and the exports zamba and distance on
it, and makes tracks of a tenth of the clips. Each is a process of its own; a line tells its time, and its peak memory
with that of Python and its libraries.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.commands import entry
from chimp_jax.commands.estimating.distances import PIECE_ROWS
from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field import estimates
from chimp_jax.field.estimates import COLUMNS
from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.snapshots import Snapshots
from chimp_jax.field.exports.zamba import write_zamba
from chimp_jax.field.rows.read import Pieces, open_rows
from chimp_jax.field.rows.write import written_rows
from chimp_jax.field.track_table import make_tracks
from chimp_jax.streamed.clip_stream import CLIPS_PER_BATCH
from chimp_jax.streamed.results import CLIP
from chimp_jax.streamed.saved import SavedStream, find_answered, request_of, save_batch
from data_prep import files
from data_prep.files import fingerprint
from data_prep.inputs.looked_at import ANIMAL
from data_prep.workers.clip_record import ClipTask

CLIP_S, STATIONS, PIECE_CLIPS = 60, 500, 2000
LABELS, SNAPSHOT_S = 2000, 10


def clip_names(n_rows: int) -> np.ndarray:
    """Returns the names of the clips, sorted."""
    n_clips = -(-n_rows // CLIP_S)
    each = -(-n_clips // STATIONS)
    return np.array([f'station_{k // each:03d}/IMG_{k % each:06d}.MP4' for k in range(n_clips)], object)


def pieces(names: np.ndarray) -> Iterator[pd.DataFrame]:
    """Yields the rows of distances.csv for clips with an animal in each second."""
    for start in range(0, len(names), PIECE_CLIPS):
        here, random = names[start : start + PIECE_CLIPS], np.random.default_rng(start)
        n = len(here) * CLIP_S
        distance_m = random.gamma(3, 2.5, n)
        box = random.uniform(0.1, 0.4, (n, len(BOX)))
        columns = {
            'video_id': np.repeat(here, CLIP_S),
            'time': np.tile(np.arange(CLIP_S), len(here)),
            'animal': '1',
            'distance': np.where(random.uniform(size=n) < 0.01, np.nan, distance_m),
            'distance_lower': distance_m * 0.7,
            'distance_upper': distance_m * 1.4,
            'spread': random.uniform(0, 1, n),
            'members': 10,
            'flags': np.where(random.uniform(size=n) < 0.05, 'wide_spread', ''),
            'status': 'ok',
            **dict(zip(BOX, box.T, strict=True)),
            'angle': random.uniform(-20, 20, n),
            'label': '',
        }
        rows = pd.DataFrame(columns)[COLUMNS].round(4)
        rows.loc[rows['distance'].isna(), ['distance_lower', 'distance_upper']] = np.nan
        rows.loc[rows['distance'].isna(), 'status'] = 'the picture is damaged'
        yield rows


def write(folder: Path, n_rows: int) -> str:
    names = clip_names(n_rows)
    with written_rows(folder, 'distances', pieces(names)) as stored:
        found = (
            f'{stored.n_rows:,} rows in {len(stored.parts)} files, {sum(p.bytes for p in stored.parts) / 1e9:.1f} GB'
        )
    clips = pd.DataFrame({'video_id': names, 'status': 'ok', 'reason': '', 'seconds': CLIP_S, 'duration_s': CLIP_S})
    clips = clips.assign(site=[name.partition('/')[0] for name in names], gamma='False', white_fraction=0.0)
    clips.to_csv(folder / 'clips.csv', index=False)
    (folder / 'options.json').write_text('{}')
    (folder / 'summary.json').write_text(json.dumps({'coverage': 0.9}))
    labels = pd.DataFrame({'video_id': names[:: max(1, len(names) // LABELS)], 'time': 30, 'distance': 7.5})
    labels.to_csv(folder / 'truth.csv', index=False)
    return found


class Named(NamedTuple):
    """As much of a member as saved predictions need."""

    name: str

    def fingerprint(self) -> str:
        return self.name


MEMBERS = [Named(f'full-a4p50-f7s1/fold_{number}') for number in range(10)]


def _tasks(n_rows: int) -> list[ClipTask]:
    return [ClipTask(name, None, f'/no/such/folder/{name}') for name in clip_names(n_rows)]


def save(folder: Path, n_rows: int) -> str:
    """Saves predictions of members for each second of each clip, as workers do, in batches of 16 clips."""
    files.flush = lambda path: None  # the disk would take most of the time
    tasks, names = _tasks(n_rows), [member.name for member in MEMBERS]
    for start in range(0, len(tasks), CLIPS_PER_BATCH):
        some, random = tasks[start : start + CLIPS_PER_BATCH], np.random.default_rng(start)
        n = len(some) * CLIP_S
        keys = {'video_id': np.repeat([task.video_id for task in some], CLIP_S), 'animal': ''}
        keys['time'] = np.tile(np.arange(CLIP_S), len(some))
        rows = pd.DataFrame(keys)[['video_id', 'time', 'animal']].assign(
            **dict.fromkeys(BOX, np.nan), brightness=random.uniform(0, 255, n), shared=False
        )
        rows[names] = random.gamma(3, 2.5, (n, len(names))).astype(np.float32)
        about = dict.fromkeys(CLIP, '') | {'duration_s': CLIP_S, 'gamma': False, 'white_fraction': 0.0}
        clips = [
            about | {'video_id': task.video_id, 'request': request_of(task), 'files': fingerprint(task.paths())}
            for task in some
        ]
        save_batch(folder / 'work', f'{start:020d}', MEMBERS, rows, clips)
    n_bytes = sum(path.stat().st_size for path in (folder / 'work').rglob('*') if path.is_file())
    return f'{-(-len(tasks) // CLIPS_PER_BATCH):,} batches, {n_bytes / 1e9:.1f} GB'


def join(folder: Path, n_rows: int) -> str:
    """Finds the batches and joins their rows, as the launching machine does after the last batch."""
    tasks = _tasks(n_rows)
    began = time.perf_counter()
    answered = find_answered(tasks, MEMBERS, folder / 'work')
    found_s = time.perf_counter() - began
    streamed, n = SavedStream(answered, MEMBERS, folder / 'work'), 0
    for part, _ in estimates.clips_at_a_time(streamed, estimates.LostTargets({}, {}, ()), PIECE_ROWS):
        n += len(part.answers())
    return f'{len(answered.clips):,} clips found in {found_s:.0f} s, {n:,} rows of {len(MEMBERS)} members joined'


def evaluate(folder: Path, n_rows: int) -> str:
    return f'exit code {entry.main(["evaluate", str(folder), "--truth", str(folder / "truth.csv")])}'


def report(folder: Path, n_rows: int) -> str:
    code = entry.main(['report', str(folder)])
    return f'exit code {code}, page of {(folder / "report.html").stat().st_size / 1e6:.1f} MB'


def zamba(folder: Path, n_rows: int) -> str:
    names = clip_names(n_rows)
    return str(write_zamba(open_rows(folder, 'distances'), folder / 'zamba.csv', dict.fromkeys(names, CLIP_S + 2.0)))


def distance(folder: Path, n_rows: int) -> str:
    names = clip_names(n_rows)
    moments = np.arange(0, CLIP_S, SNAPSHOT_S)
    clips = np.repeat(np.arange(len(names)), len(moments))
    stations = np.array([name.partition('/')[0] for name in names], object)
    seconds = np.tile(moments, len(names))
    table = {'video_id': names[clips], 'station': stations[clips], 'moment': seconds, 'state': ANIMAL}
    table |= {'time': seconds, 'frame_s': seconds.astype(float), 'n_animals': 1}
    about = {
        'station': np.unique(stations),
        'region': 'all',
        'area_km2': 100.0,
        'active_seconds': 1e6,
        'row': 'd.csv:2',
    }
    counts = write_distance(
        open_rows(folder, 'distances'), Snapshots(pd.DataFrame(table), {}), pd.DataFrame(about), SNAPSHOT_S, 42, folder
    )
    return f'{counts["observations"]:,} observations at {counts["stations"]} stations'


def tracks(folder: Path, n_rows: int) -> str:
    stored = open_rows(folder, 'distances')
    few = Pieces(lambda: (rows for number, rows in enumerate(stored) if number % 10 == 0))
    with written_rows(folder, 'tracks', make_tracks(few, 0.9)) as found:
        return f'{found.n_rows:,} tracks'


STEPS = {step.__name__: step for step in (save, join, write, evaluate, report, zamba, distance, tracks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='an empty folder; 20 million rows take about 4 GB')
    parser.add_argument('--rows', type=int, default=20_000_000)
    parser.add_argument('--step', choices=STEPS, help='one step alone, in this process')
    options = parser.parse_args()
    if options.step:
        began = time.perf_counter()
        found = STEPS[options.step](options.folder, options.rows)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # Linux: KiB
        print(f'{options.step}: {found}; {time.perf_counter() - began:.0f} s, peak {peak_mb:,.0f} MB', flush=True)
        return
    for step in STEPS:
        command = [sys.executable, '-m', 'bench.large_result', options.folder, '--rows', options.rows, '--step', step]
        subprocess.run(list(map(str, command)), check=True)


if __name__ == '__main__':
    main()
