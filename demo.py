"""Runs the whole job on generated clips: python demo.py (or `make demo`, which sets up the environment first).

Each step is a command that a user would type, and it is printed before it runs. Finished work is not done again.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bench import demo_report
from chimp_jax import runtime
from chimp_jax.ensemble.distances import mae, rmse
from chimp_jax.ensemble.prediction_tables import SECOND
from data_prep.inputs.tables import numbers_of, read_table, seconds_of
from data_prep.workers import stopping

RECIPES = ('down-a2p50-f7s1', 'full-a2p50-f7s1')
ANIMAL_SCORES = ('mae_one_m', 'mae_many_m', 'mae_copied_m', 'swap_share', 'idf1', 'speed_error')
# --quick runs the same steps on fewer clips, for one epoch, on smaller frames. It only shows that the steps work.
QUICK_TRAINING = [
    '--config.train.epochs=1',
    '--config.train.batch_size=12',  # a fold has some dozen labels
    '--config.train.warmup_steps=2',
    '--config.data.size_px=64',
]


def commands(folder: Path, quick: bool) -> dict[str, list[str]]:
    """Returns the steps in order: name -> arguments."""
    clips, data, runs = folder / 'clips', folder / 'data', folder / 'runs'
    python = [sys.executable]
    steps = {
        'simulate': [
            *python,
            '-m',
            'data_prep.simulate',
            f'--out={clips}',
            *(['--size=quick'] if quick else []),
        ],
        'build': [
            *python,
            '-m',
            'data_prep.build',
            f'--tables={clips}',
            f'--clips_down={clips}/down',
            f'--clips_full={clips}/full',
            f'--out={data}',
            '--n_folds=2',
        ],
    }
    for recipe in RECIPES:
        steps[f'train {recipe}'] = [
            *python,
            'train.py',
            f'--config=configs/demo.py:{recipe}',
            f'--workdir={runs}',
            f'--config.data.records={data}',
            # A frame of the downsampled copy has fewer pixels, so it is encoded smaller.
            *(['--config.data.size_px=96'] if recipe.startswith('down') else []),
            *(QUICK_TRAINING if quick else []),
        ]
    steps['predict'] = [
        *python,
        'predict.py',
        f'--members={runs}',
        f'--records={data}',
        f'--out={folder}/predictions.csv',
        f'--submission_format={clips}/submission_format.csv',
        '--details',
    ]
    return steps | animal_steps(folder, quick)


def animal_steps(folder: Path, quick: bool) -> dict[str, list[str]]:
    """Returns the steps for clips of other sites, with 1 to 3 animals: a member that gives each its own distance."""
    animals, python = folder / 'animals', [sys.executable]
    clips, data, runs = (animals / name for name in ('clips', 'data', 'runs'))
    return {
        'simulate animals': [
            *python,
            '-m',
            'data_prep.simulate',
            f'--out={clips}',
            '--animals=3',
            '--seed=1',
            f'--size={"tiny" if quick else "short"}',
        ],
        'build animals': [
            *python,
            '-m',
            'data_prep.build',
            f'--tables={clips}',
            f'--clips_full={clips}/full',
            f'--out={data}',
            '--n_folds=2',
        ],
        'train animals': [
            *python,
            'train.py',
            f'--config=configs/demo_animals.py:{RECIPES[1]}',
            f'--workdir={runs}',
            f'--config.data.records={data}',
            f'--config.start.init={folder}/runs/{RECIPES[1]}',
            *([*QUICK_TRAINING, '--config.train.warmup_steps=0'] if quick else []),
        ],
        'score animals': [*python, '-m', 'bench.animal_scores', f'{animals}', f'--plain={folder}/runs'],
    }


def run(steps: dict[str, list[str]]) -> dict[str, float]:
    """Runs the steps and returns the seconds of each. Exits at the first step that fails."""
    seconds = {}
    start = time.monotonic()
    for number, (name, command) in enumerate(steps.items(), 1):
        shown = ' '.join(['python', *command[1:]])
        print(
            f'\n[{number}/{len(steps)}] {name}, {time.monotonic() - start:.0f} s so far\n$ {shown}',
            flush=True,
        )
        began = time.monotonic()
        code = subprocess.run(command, check=False).returncode
        if code:
            raise SystemExit(f'demo.py: the step {name!r} failed with exit code {code}; its message is above')
        seconds[name] = round(time.monotonic() - began, 1)
    return seconds


def read_metres(path: Path, *columns: str) -> pd.DataFrame:
    """Reads a table with the key and columns of distances in metres."""
    table = read_table(path, required=(*SECOND, *columns))
    table['time'] = seconds_of(table, path)
    for name in columns:
        table[name] = numbers_of(table, name, path)
    return table


def score(folder: Path) -> tuple[dict, pd.DataFrame]:
    """Returns the errors on the test sites, in metres, and the rows with `true` and all predictions."""
    predicted = read_metres(folder / 'predictions.csv', 'distance', *RECIPES)
    truth = read_metres(folder / 'clips' / 'test_distances.csv', 'distance').rename(columns={'distance': 'true'})
    rows = predicted.merge(truth, on=SECOND, validate='1:1')
    constant = float(read_metres(folder / 'clips' / 'train_labels.csv', 'distance')['distance'].median())
    clips = read_table(folder / 'data' / 'clips.csv', required=('video_id', 'gamma')).set_index('video_id')
    rows['overexposed'] = rows['video_id'].map(clips['gamma'] == 'True')
    white = rows[rows['overexposed']]
    down, full = RECIPES
    summary = {
        'mae_constant': mae(np.full(len(rows), constant), rows['true']),
        'mae_ensemble': mae(rows['distance'], rows['true']),
        'rmse_ensemble': rmse(rows['distance'], rows['true']),
        'recipes': {
            name: {'mae': mae(rows[name], rows['true']), 'rmse': rmse(rows[name], rows['true'])} for name in RECIPES
        },
        'overexposed': {
            'mae_constant': mae(np.full(len(white), constant), white['true']),
            'mae_down': mae(white[down], white['true']),
            'mae_full': mae(white[full], white['true']),
        },
    }
    return summary, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, default=Path('demo'), help='folder of all files of the demo')
    parser.add_argument('--quick', action='store_true', help='fewer clips and epochs; its errors mean nothing')
    options = parser.parse_args()
    runtime.quiet_tensorflow()
    runtime.start_logging()
    seconds = run(commands(options.folder, options.quick))
    began = time.monotonic()
    summary, rows = score(options.folder)
    scores = json.loads((options.folder / 'animals' / 'scores.json').read_text())
    summary['animals'] = {name: scores[name] for name in ANIMAL_SCORES}
    demo_report.write(options.folder / 'report.html', options.folder, summary, rows, RECIPES)
    seconds['report'] = round(time.monotonic() - began, 1)
    summary['seconds'] = seconds
    text = json.dumps(summary, indent=2)
    (options.folder / 'summary.json').write_text(text + '\n')
    print(text)
    ratio = summary['mae_ensemble'] / summary['mae_constant']
    print(f'On held-out sites the ensemble has {ratio:.2f} times the error of the best constant.')
    animals = summary['animals']
    print(
        f'With two or three animals in view, the error per animal is {animals["mae_many_m"]:.2f} m. If all get '
        f'the same distance, the error is {animals["mae_copied_m"]:.2f} m.'
    )
    print(f'Open {options.folder}/report.html. The demo took {sum(seconds.values()):.0f} s.')


if __name__ == '__main__':
    stopping.run('demo', main)
