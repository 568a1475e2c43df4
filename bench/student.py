"""Compares a student with its ensemble on the demo's unseen sites: python -m bench.student demo --unlabelled more/data

Requires the files of `make demo`, and records of clips without labels of other sites:

    python -m data_prep.simulate --out more/clips --seed 7
    python -m data_prep.build --clips_down more/clips/down --clips_full more/clips/full --out more/data

Writes the teacher's table with all of these clips, trains a student on the training clips and on some of the others
(--clips: numbers, or `test` for the test sites' own clips), and predicts the test sites. Prints a row for each student:
its error, the error of the ensemble and their ratio. Finished students are not trained again. Three epochs of each
student take some minutes on two idle cores.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from chimp_jax.ensemble.distances import mae
from chimp_jax.ensemble.prediction_tables import KEY, read_predictions
from data_prep.inputs.tables import read_table

RECIPE = 'full-a2p50-f7s1'
TEST = 'test'
# Fields of the demo's members that the student has, too.
SAME = {'data': ('size_px', 'n_folds'), 'model': ('backbone', 'lstm_units', 'bn_momentum', 'bn_over_replicas')}
TRAINING = ('frozen=backbone', 'batch_size=96', 'epochs=3', 'learning_rate=5e-4', 'warmup_steps=10')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('demo', type=Path, help='folder of make demo')
    parser.add_argument('--unlabelled', type=Path, required=True, help='records of clips without labels')
    parser.add_argument('--clips', nargs='+', default=['0', TEST, '60', '240'], help='clips without labels to learn')
    parser.add_argument('--out', type=Path, default=Path('student'), help='folder for tables and students')
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    runs, data = options.demo / 'runs', options.demo / 'data'
    table = options.out / 'teacher.csv'
    if not table.exists():
        more = (f'--unlabelled={options.unlabelled}', '--split=teacher')
        command('predict.py', f'--members={runs}', f'--records={data}', f'--out={table}', *more)
    truth = read_metres(options.demo / 'clips' / 'test_distances.csv')
    ensemble_m = error_m(options.out, runs, data, truth, 'ensemble')
    print('| clips without labels | error of the student, m | of the ensemble, m | ratio |\n|---|---|---|---|')
    for clips in options.clips:
        folder = options.out / f'clips_{clips}'
        lesson(table, data, options.unlabelled, clips).to_csv(f'{folder}.csv', index=False)
        train(folder, data, options.unlabelled, runs / RECIPE)
        student_m = error_m(options.out, folder, data, truth, f'student_{clips}')
        print(f'| {clips} | {student_m:.3f} | {ensemble_m:.3f} | {student_m / ensemble_m:.3f} |', flush=True)


def lesson(table: Path, data: Path, unlabelled: Path, clips: str) -> pd.DataFrame:
    """Returns the rows of the teacher's table for the labelled clips and for some others: a number, or TEST."""
    split = read_table(data / 'clips.csv', ['video_id', 'split']).set_index('video_id')['split']
    others = sorted(set(read_table(unlabelled / 'clips.csv', ['video_id'])['video_id']) - set(split.index))
    wanted = split.index[split == TEST] if clips == TEST else others[: int(clips)]
    rows = read_table(table, KEY[:2])
    return rows[rows['video_id'].isin({*split.index[split == 'train'], *wanted})]


def train(folder: Path, data: Path, unlabelled: Path, start: Path) -> None:
    """Trains the student of fold 0 on FOLDER.csv."""
    config = json.loads((start / 'config.json').read_text())
    fields = [f'data.{name}={value}' for name, value in (('records', data), ('unlabelled', unlabelled))]
    fields += [f'data.teacher={folder}.csv', f'start.init={start}', *(f'train.{text}' for text in TRAINING)]
    fields += [f'{part}.{name}={config[part][name]}' for part, names in SAME.items() for name in names]
    flags = (f'--config.{field}' for field in fields)
    command('train.py', f'--config=configs/student.py:{RECIPE}', f'--workdir={folder}', '--folds=0', *flags)


def error_m(out: Path, runs: Path, data: Path, truth: pd.Series, name: str) -> float:
    """Returns the MAE of the members below `runs` on the test sites, metres."""
    path = out / f'{name}.csv'
    command('predict.py', f'--members={runs}', f'--records={data}', f'--out={path}')
    return mae(read_metres(path).loc[truth.index], truth)


def read_metres(path: Path) -> pd.Series:
    """Returns the distances of a table by KEY."""
    return read_predictions(path, ['distance']).set_index(KEY)['distance']


def command(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == '__main__':
    main()
