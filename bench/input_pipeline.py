"""Measures whether the input pipeline keeps up with training: windows alone, steps alone, and both together.

    python -m bench.input_pipeline                                  # small: three minutes on two cores
    python -m bench.input_pipeline --size_px=512 --batch_size=96    # as published, on an accelerator

The clips contain noise as 960 x 540 JPEG, enough for the windows of two epochs. Model and augmentation are those of the
recipe. If `together` takes about as long as the slower of the two alone, decoding and training overlap.
"""

import argparse
import io
import itertools
import math
import tempfile
import time
from pathlib import Path

from chimp_jax import runtime

if __name__ == '__main__':
    runtime.configure()

import jax  # noqa: E402  (JAX must start after runtime.configure)
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from etils import epath  # noqa: E402
from PIL import Image  # noqa: E402

from chimp_jax import parallel, steps  # noqa: E402
from chimp_jax.data.folds import folds_digest, load_folds  # noqa: E402
from chimp_jax.trainer import Trainer  # noqa: E402
from chimp_jax.training.within_epoch import Position, Saver  # noqa: E402
from configs import base  # noqa: E402
from data_prep.records import Record, write_records  # noqa: E402

TARGETS = 8  # targets of a clip, two seconds apart


def write_data(folder: Path, n_windows: int) -> None:
    """Writes clips of smoothed noise (60 kB per JPEG) in two folds of at least n_windows training windows each."""
    n_clips = 2 * -(-n_windows // TARGETS)
    rng = np.random.default_rng(0)
    records = {}
    for i in range(n_clips):
        frames = []
        for _ in range(2 * TARGETS):
            noise = Image.fromarray(rng.integers(0, 256, (135, 240, 3), dtype=np.uint8)).resize((960, 540))
            stream = io.BytesIO()
            noise.save(stream, 'JPEG')
            frames.append(stream.getvalue())
        records[f'{i}.mp4'] = Record(
            video_id=f'{i}.mp4',
            frame_jpeg=frames,
            frame_time_s=np.arange(2 * TARGETS, dtype=np.int32),
            target_time_s=np.arange(0, 2 * TARGETS, 2, dtype=np.int32),
            target_distance_m=rng.uniform(1, 20, TARGETS).astype(np.float32),
            target_box=np.full((TARGETS, 4), np.nan, np.float32),
            target_animal=[''] * TARGETS,
            box_time_s=np.zeros(0, np.float32),
            box=np.zeros((0, 4), np.float32),
            box_confidence=np.zeros(0, np.float32),
            box_animal=[],
            site='',
            park='',
            duration_s=2.0 * TARGETS,
            height_px=540,
            width_px=960,
            frame_rate=30.0,
            white_fraction=0.0,
            gamma=False,
        )
    write_records({'train': list(records)}, records.__getitem__, folder, 'full')
    table = pd.DataFrame({'video_id': list(records), 'clip_fold': np.arange(n_clips) % 2, 'site_fold': 0})
    table.to_csv(folder / 'folds.csv', index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size_px', type=int, default=88)
    parser.add_argument('--batch_size', type=int, default=8)
    parser.add_argument('--steps', type=int, default=6, help='timed steps of each kind')
    parser.add_argument('--recipe', default='full-a4p50-f7s1')
    options = parser.parse_args()
    runtime.quiet_tensorflow()
    runtime.start_logging()
    runtime.use_compile_cache()
    with tempfile.TemporaryDirectory() as scratch:
        write_data(Path(scratch), options.batch_size * (options.steps + 2))
        config = base.get_config(options.recipe)
        config.data.update(records=scratch, size_px=options.size_px, n_folds=2)
        config.train.batch_size = options.batch_size
        folds = load_folds(scratch, 'clip', 2)
        trainer = Trainer(config, folds_digest(folds))
        report(measure(trainer, folds[0], options.steps), options.batch_size)


def measure(trainer: Trainer, fold, n_steps: int) -> dict[str, float]:
    """Returns the seconds per batch of the pipeline alone, of the step alone, and of both together."""
    seconds = {}
    batches = trainer.data.batches(fold, epoch=1)
    batch = next(batches)  # fills the shuffle buffer
    began = time.perf_counter()
    n_read = sum(1 for _ in itertools.islice(batches, n_steps))
    seconds['pipeline alone'] = (time.perf_counter() - began) / n_read

    fresh = steps.initial_state(trainer.model, trainer.optimizer, trainer.plateau, seed=0)
    state, rate = parallel.replicate(fresh, trainer.devices), np.float32(1e-3)
    arrays, _ = next(parallel.prefetch([batch], trainer.form.arrays, trainer.devices))
    state, error = trainer._train_step(state, arrays, rate)  # compiles
    jax.block_until_ready(error)
    began = time.perf_counter()
    for _ in range(n_steps):
        state, error = trainer._train_step(state, arrays, rate)
    jax.block_until_ready(error)
    seconds['step alone'] = (time.perf_counter() - began) / n_steps
    seconds['together'] = together(trainer, state, fold, n_steps)
    return seconds


def together(trainer: Trainer, state, fold, n_steps: int) -> float:
    """Returns the seconds per step of the real training loop, without its first step."""
    marks = []

    class Marks:
        def skip(self, count: int, *, work: float) -> None:
            pass

        def advance(self, count: int, *, work: float, note: str) -> None:
            marks.append(time.perf_counter())

    rates = np.full(10_000, 1e-3, np.float32)
    never = Saver(epath.Path(trainer.data.records), minutes=math.inf)
    trainer._train_epoch(state, fold, rates, Position(epoch=2), Marks(), never)
    return (marks[n_steps] - marks[0]) / n_steps


def report(seconds: dict[str, float], batch_size: int) -> None:
    device = jax.local_devices()[0].device_kind
    print(f'{jax.local_device_count()} x {device}, batches of {batch_size} windows')
    for name, one in seconds.items():
        print(f'{name:15} {1 / one:8.2f} steps/s {batch_size / one:9.1f} windows/s')
    bound = max(seconds['pipeline alone'], seconds['step alone'])
    print(f'together takes {seconds["together"] / bound:.2f} times as long as the slower of the two alone')


if __name__ == '__main__':
    main()
