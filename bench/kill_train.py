"""Kills a small training at random moments (kill -9), resumes it, and compares it bit by bit with an uninterrupted one.

    python -m bench.kill_train --kills 20

The kills alternate between a random moment and the writing of a checkpoint. The comparison covers the bytes of
metrics.csv, oof.csv and member.json, and every array of every checkpoint. The model is that of the tests (two blocks).
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from chimp_jax import runtime

ROOT = Path(__file__).resolve().parents[1]
# The tests' model replaces the published one. Everything else is the real program.
CHILD = """
import sys
import small
from chimp_jax import runtime, train, trainer
runtime.start_logging()
runtime.use_compile_cache()
trainer.DistanceModel = small.model
config = small.config(sys.argv[1])
config.train.epochs = int(sys.argv[3])
train.train_recipe(config, sys.argv[2], [int(fold) for fold in sys.argv[4:]])
"""


def start(data: Path, runs: Path, epochs: int, folds: tuple[int, ...] = (0, 1)) -> subprocess.Popen:
    """Starts a training on the tests' data; its log is RUNS.log."""
    environment = os.environ | {
        'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
        'XLA_FLAGS': os.environ.get('XLA_FLAGS', '--xla_force_host_platform_device_count=2'),
        'TF_CPP_MIN_LOG_LEVEL': '2',
    }
    arguments = [sys.executable, '-c', CHILD, str(data), str(runs), str(epochs), *map(str, folds)]
    with runs.with_suffix('.log').open('a') as log:
        return subprocess.Popen(arguments, env=environment, stdout=log, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen, runs: Path) -> None:
    """Waits for a training. Raises SystemExit with its log if it fails."""
    if process.wait():
        raise SystemExit(f'the training failed:\n{runs.with_suffix(".log").read_text()}')


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kills a process after some seconds. Returns False if it had ended before."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return _kill(process)


def kill_in_checkpoint(process: subprocess.Popen, runs: Path, number: int, delay_s: float) -> bool:
    """Kills a process delay_s after it starts to write its number-th checkpoint (from 1). False if it ended before."""
    before, seen = unfinished(runs), set()
    while process.poll() is None:
        seen |= unfinished(runs) - before
        if len(seen) >= number:
            time.sleep(delay_s)
            break
        time.sleep(0.001)
    return _kill(process)


def unfinished(runs: Path) -> set[Path]:
    """Returns the checkpoints that are being written, or were when the run was killed."""
    return set(runs.glob('*/fold_*/checkpoints/*.orbax-checkpoint-tmp*'))


def _kill(process: subprocess.Popen) -> bool:
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def differences(a: Path, b: Path) -> list[str]:
    """Returns the names of files and arrays that differ between two trained recipes."""
    found = []
    for name in ('metrics.csv', 'oof.csv', 'member.json'):
        files = [{path.relative_to(runs): path.read_bytes() for path in runs.glob(f'*/*/{name}')} for runs in (a, b)]
        if files[0] != files[1] or not files[0]:
            found.append(name)
    arrays = [_arrays(runs) for runs in (a, b)]
    if arrays[0].keys() != arrays[1].keys() or not arrays[0]:
        found.append('the set of checkpoints')
    found += [
        name
        for name in sorted(arrays[0].keys() & arrays[1].keys())
        if not np.array_equal(arrays[0][name], arrays[1][name])
    ]
    return found


def _arrays(runs: Path) -> dict[str, object]:
    """Returns every array of every checkpoint below RUNS by its path."""
    import jax
    import orbax.checkpoint as ocp

    arrays = {}
    for item in (*runs.glob('*/fold_*/checkpoints/*/weights'), *runs.glob('*/fold_*/checkpoints/*/rest')):
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore(item.resolve())
        for path, array in jax.tree.leaves_with_path(tree):
            arrays[f'{item.relative_to(runs)}{jax.tree_util.keystr(path)}'] = jax.device_get(array)
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20)
    parser.add_argument('--epochs', type=int, default=6)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    sys.path.append(str(ROOT / 'tests'))
    runtime.quiet_tensorflow()
    import small

    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        data, whole = scratch / 'data', scratch / 'whole'
        small.write_data(data)
        for runs in (scratch / 'warm_up', whole):  # the first run fills the compile cache
            began = time.monotonic()
            finish(start(data, runs, options.epochs), runs)
            whole_s = time.monotonic() - began
        killed, in_checkpoint, rounds, different = 0, 0, 0, []
        while killed < options.kills:
            runs, left = scratch / f'killed_{rounds}', unfinished(scratch / f'killed_{rounds}')
            process = start(data, runs, options.epochs)
            if killed % 2:
                in_time = kill_in_checkpoint(process, runs, draw.randint(1, 3), draw.uniform(0, 0.05))
            else:
                in_time = kill_after(process, draw.uniform(0, whole_s))
            if in_time:
                killed += 1
                in_checkpoint += bool(unfinished(runs) - left)
            else:  # the training has ended: compare, and start a new one, because only real kills count
                finish(process, runs)
                different += differences(whole, runs)
                rounds += 1
        finish(start(data, runs, options.epochs), runs)
        different += differences(whole, runs)
    print(f'uninterrupted: {whole_s:.1f} s; {killed} kills, {in_checkpoint} of them left a half-written checkpoint')
    print(f'{rounds + 1} trainings finished: ', end='')
    print(f'they differ in {different[:5]}' if different else 'every bit equals the uninterrupted one')
    raise SystemExit(bool(different))


if __name__ == '__main__':
    main()
