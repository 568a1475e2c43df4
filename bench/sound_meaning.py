"""Shows that the model of the sound alone learns what sound tells: python -m bench.sound_meaning --out sound_meaning

Draws the sound of simulated clips (data_prep.simulator.sound) twice: with animals, whose steps and calls fade with
distance, and with wind and insects alone. Writes records of both, whose frames are grey, because the model does not see
them. Trains `model.audio=alone` on two thirds of the sites and prints, for the other sites, its error after the last
epoch and the error of a constant, the median distance of the training clips. Finished parts are skipped.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from chimp_jax import runtime, train
from chimp_jax.ensemble.distances import mae
from configs import base
from data_prep.records import Record, write_records
from data_prep.simulator import sound
from data_prep.simulator.plan import SIZES, ClipPlan, plan_clips
from data_prep.sound import log_mel

SEED, N_FOLDS = 0, 3
RECIPE = 'down-a1p50-f7s1'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True, help='folder for records and members')
    parser.add_argument('--epochs', type=int, default=8)
    options = parser.parse_args()
    runtime.use_compile_cache()
    print('| sound | error on held-out sites, m | of the constant, m |\n|---|---|---|')
    for kind in sound.SOUNDS:
        folder = options.out / kind
        if not (folder / 'data' / 'folds.csv').exists():
            write_data(folder / 'data', kind)
        train.train_recipe(make_config(folder / 'data', options.epochs), folder / 'runs', folds=[0])
        print('| {} | {:.2f} | {:.2f} |'.format(kind, *errors_m(folder)), flush=True)


def make_config(records: Path, epochs: int):
    config = base.get_config(RECIPE)
    config.data.update(records=str(records), folds='site', n_folds=N_FOLDS, n_frames=3, size_px=32)
    config.model.update(audio='alone', bn_momentum=0.9)
    config.start.update(init='lite0', output_bias='median')
    config.train.update(batch_size=16, epochs=epochs, learning_rate=5e-4, decay_fraction=0.5)
    return config


def write_data(folder: Path, kind: str) -> None:
    """Writes records and folds by site of the training clips that have a microphone."""
    plans = [plan for plan in plan_clips(SEED, 'easy', SIZES['sites'], sound=kind) if plan.split == 'train']
    records = {plan.video_id: make_record(plan) for plan in plans if sound.has_microphone(plan)}
    write_records({'train': [*records]}, records.__getitem__, folder, 'down', with_sound=True)
    sites = sorted({record.site for record in records.values()})
    fold = [sites.index(record.site) % N_FOLDS for record in records.values()]
    table = pd.DataFrame({'video_id': [*records], 'clip_fold': fold, 'site_fold': fold})
    table.to_csv(folder / 'folds.csv', index=False)


def make_record(plan: ClipPlan) -> Record:
    """Returns the record of a clip with its true distance at each second, grey frames, and the sound that was drawn."""
    wave = sound.draw_wave(plan, log_mel.RATE_HZ)
    seconds = np.arange(len(wave) // log_mel.RATE_HZ, dtype=np.int32)
    half, n_seconds = log_mel.RATE_HZ // 2, len(seconds)
    padded = np.pad(wave, (half, log_mel.RATE_HZ))
    of_seconds = [log_mel.log_mel_db(padded[s * log_mel.RATE_HZ :][: log_mel.SAMPLES]) for s in seconds]
    walk = sound.draw_animals(plan)[0].walk
    grey = io.BytesIO()
    Image.new('RGB', (32, 32), (128, 128, 128)).save(grey, 'JPEG')
    return Record(
        video_id=plan.video_id,
        frame_jpeg=[grey.getvalue()] * n_seconds,
        frame_time_s=seconds,
        target_time_s=seconds[1:-1],
        target_distance_m=np.array([np.hypot(*walk.pose(s)[:2]) for s in seconds[1:-1]], np.float32),
        target_box=np.full((n_seconds - 2, 4), np.nan, np.float32),
        target_animal=[''] * (n_seconds - 2),
        box_time_s=np.zeros(0, np.float32),
        box=np.zeros((0, 4), np.float32),
        box_confidence=np.zeros(0, np.float32),
        box_animal=[],
        site=plan.site_id,
        park='',
        duration_s=float(n_seconds),
        height_px=32,
        width_px=32,
        frame_rate=1.0,
        white_fraction=0.0,
        gamma=False,
        sound=log_mel.stored_rows(np.array(of_seconds)),
    )


def errors_m(folder: Path) -> tuple[float, float]:
    """Returns the errors of the model and of the constant on the held-out sites, in metres."""
    metrics = pd.read_csv(folder / 'runs' / RECIPE / 'fold_0' / 'metrics.csv')
    held_out = pd.read_csv(folder / 'runs' / RECIPE / 'fold_0' / 'oof.csv')['distance'].to_numpy()
    plans = [plan for plan in plan_clips(SEED, 'easy', SIZES['sites'], sound=folder.name) if plan.split == 'train']
    folds = pd.read_csv(folder / 'data' / 'folds.csv').set_index('video_id')['site_fold']
    trained = [make_record(plan) for plan in plans if folds.get(plan.video_id, 0) != 0]
    median_m = float(np.median(np.concatenate([record.target_distance_m for record in trained])))
    return float(metrics['val_mae'].iloc[-1]), mae(np.full(len(held_out), median_m), held_out)


if __name__ == '__main__':
    main()
