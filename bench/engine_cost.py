"""Measures what an engine costs beside one machine: .venv-beam/bin/python -m bench.engine_cost [--tiny N] [--normal N]

Runs chimp-distance estimate over N equal clips: without an engine, then by Beam's DirectRunner with 1, 2 and 4 worker
processes. Tiny clips have 2 s of 64 x 48 pixels and a member of 32 pixels, so the engine and the files of each batch
weigh most; normal ones have 60 s of 1280 x 720 pixels and a member of 512 pixels. Writes bench/engine_cost.json and the
section `engine` of docs/performance.md.

Each worker process gets its share of the cores: more decoders or devices than cores would only wait for each other.
The seconds of a command without any work, once a setting, are taken off. A warm-up compiles the programs.
"""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench import camera_clips, table
from bench.end_to_end import ONE, make_members
from bench.suite import PAGE
from bench.turns import ROOT

RESULTS = ROOT / 'bench' / 'engine_cost.json'
WORKERS = (0, 1, 2, 4)  # 0: without an engine
_WORKER = 'apache_beam.runners.worker.sdk_worker_main'
_PER_BATCH = 16


class Run(NamedTuple):
    """One command."""

    seconds: float
    launcher_mb: float  # peak of the launching process; without an engine of all processes
    worker_mb: float  # peak of the largest worker with its decoding processes, 0 without an engine


def make_clips(folder: Path, n: int, tiny: bool) -> Path:
    """Writes N equal clips, which are links to one file."""
    first = folder / 'first.mp4'
    folder.mkdir(parents=True)
    if tiny:
        size = '-f lavfi -i testsrc=size=64x48:rate=8:duration=2 -c:v libx264 -pix_fmt yuv420p'.split()
        subprocess.run([camera_clips.imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', *size, str(first)], check=True)
    else:
        kind = camera_clips.KINDS['h264_long']
        camera_clips.render_clip(first, folder / 'down.mp4', kind, 60, seed=0)
        (folder / 'down.mp4').unlink()
    for number in range(n):
        place = folder / f'{number // 1000:03d}'
        place.mkdir(exist_ok=True)
        os.link(first, place / f'{number:06d}.mp4')
    first.unlink()
    return folder


def estimate(clips: Path, runs: Path, out: Path, n_workers: int) -> Run:
    """Runs the command and watches the memory of its processes."""
    cores = max(1, (os.cpu_count() or 1) // max(1, n_workers))
    command = [sys.executable, 'predict.py', 'estimate', clips, '--members', runs, '--weights', 'mean', '--out', out]
    command += ['--workers', cores]
    environment = dict(os.environ)
    if n_workers:
        command += ['--runner=DirectRunner', '--direct_running_mode=multi_processing']
        command += [f'--direct_num_workers={n_workers}']
        environment['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={cores}'
    began, peaks, ended = time.perf_counter(), {'launcher': 0, 'worker': 0}, threading.Event()
    process = subprocess.Popen(
        [*map(str, command)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )

    def watch() -> None:
        while not ended.wait(0.2):
            for name, n_bytes in _memory(process.pid).items():
                peaks[name] = max(peaks[name], n_bytes)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    if process.returncode not in (0, 3):
        raise RuntimeError(f'{command[1:3]} failed: {errors.decode()[-300:]}')
    return Run(seconds, peaks['launcher'] / 1e6, peaks['worker'] / 1e6)


def _memory(pid: int) -> dict[str, int]:
    """Returns the resident bytes of the launcher and of the largest worker, each with its own processes."""
    try:
        everyone = psutil.Process(pid).children(recursive=True)
        workers = [one for one in everyone if _WORKER in ' '.join(one.cmdline()) and one.name().startswith('python')]
        below = {one.pid: sum(_rss(p) for p in [one, *one.children(recursive=True)]) for one in workers}
        theirs = {p.pid for one in workers for p in [one, *one.children(recursive=True)]}
        mine = _rss(psutil.Process(pid)) + sum(_rss(one) for one in everyone if one.pid not in theirs)
    except psutil.Error:
        return {}
    return {'launcher': mine, 'worker': max(below.values(), default=0)}


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def measure(scratch: Path, n_clips: int, tiny: bool) -> dict[str, Any]:
    """Returns the seconds without start-up and the memory for each number of workers."""
    runs = make_members(scratch / f'runs_{tiny}', [ONE], 32 if tiny else 512)
    clips = make_clips(scratch / f'clips_{tiny}', n_clips, tiny)
    few = make_clips(scratch / f'few_{tiny}', 2, tiny)
    rows = []
    for n_workers in WORKERS:
        for _ in range(2):  # the first one compiles
            shutil.rmtree(scratch / 'few_out', ignore_errors=True)
            start = estimate(few, runs, scratch / 'few_out', n_workers)
        shutil.rmtree(scratch / 'out', ignore_errors=True)
        whole = estimate(clips, runs, scratch / 'out', n_workers)
        row = {'workers': n_workers, 'start_s': start.seconds, 'net_s': whole.seconds - start.seconds}
        rows.append(row | {'launcher_mb': whole.launcher_mb, 'worker_mb': whole.worker_mb})
        print(n_clips, 'tiny' if tiny else 'normal', row, f'{whole}', flush=True)
    files = [path for path in (scratch / 'out' / 'work').rglob('*') if path.is_file()]
    saved = sum(path.stat().st_size for path in files) / n_clips
    return {'clips': n_clips, 'rows': rows, 'saved_bytes': saved, 'sent_bytes': sent_bytes(clips)}


def sent_bytes(clips: Path) -> float:
    """Returns the bytes that go through the engine for a clip: its share of a pickled batch."""
    from chimp_jax.streamed.clip_stream import ClipBatch
    from data_prep.workers.clip_record import ClipTask

    paths = sorted(map(str, clips.rglob('*.mp4')))[:_PER_BATCH]
    tasks = tuple(ClipTask(Path(path).name, None, path) for path in paths)
    return len(pickle.dumps(ClipBatch('0' * 20, tasks, (f'{ONE}/fold_0',)))) / len(paths)


def text(results: dict[str, dict[str, Any]]) -> str:
    """Returns the section of docs/performance.md."""
    lines = ['| clips | workers | seconds, without start-up | of one machine | start-up | launcher | largest worker |']
    lines.append('|---|---|---|---|---|---|---|')
    for kind, found in results.items():
        alone_s = found['rows'][0]['net_s']
        for row in found['rows']:
            ratio, name = row['net_s'] / alone_s, row['workers'] or 'no engine'
            worker = f'{row["worker_mb"]:,.0f} MB' if row['worker_mb'] else ''
            lines.append(
                f'| {found["clips"]:,} {kind} | {name} | {row["net_s"]:.0f} | {ratio:.2f} | {row["start_s"]:.0f} s | '
                f'{row["launcher_mb"]:,.0f} MB | {worker} |'
            )
    bytes_text = ', '.join(
        f'{found["sent_bytes"]:.0f} bytes through the engine and {found["saved_bytes"]:.0f} bytes into --out for a '
        f'{kind} clip'
        for kind, found in results.items()
    )
    return '\n'.join(lines) + f'\n\n{bytes_text[0].upper()}{bytes_text[1:]}, with one member.\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tiny', type=int, default=10_000)
    parser.add_argument('--normal', type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        kinds = {'tiny': options.tiny, 'normal': options.normal}
        results = {kind: measure(Path(scratch), n, kind == 'tiny') for kind, n in kinds.items() if n}
    found = text(results)
    print(found)
    RESULTS.write_text(json.dumps({'machine': table.machine(), 'results': results}, indent=1) + '\n')
    PAGE.write_text(table.replace_section(PAGE.read_text(), 'engine', found))


if __name__ == '__main__':
    main()
