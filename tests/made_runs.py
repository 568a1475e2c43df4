"""Folders of trained members without weights, for tests of what reads them."""

import json

import pandas as pd

from configs import base

ONE, TWO = 'down-a1p50-f7s1', 'full-a1p50-f7s1'
# clip, second, distance, what ONE and TWO say of it; by fold.
ROWS = {
    0: [('b.mp4', 2, 4.0, 4.5, 3.0), ('b.mp4', 0, 2.0, 2.5, 1.5)],
    1: [('a.avi', 10, 9.0, 9.5, 8.0), ('a.avi', 9, 5.0, 5.5, 4.5)],
}


def write_runs(folder, rows=ROWS, order=1, recipes=(ONE, TWO)):
    """Recipes x two folds, as training leaves them, without weights: the first says what ONE says, others as TWO."""
    for recipe in recipes:
        for fold, lines in rows.items():
            target = folder / recipe / f'fold_{fold}'
            target.mkdir(parents=True)
            text = {'recipe': recipe, 'fold': fold, 'best_epoch': 1, 'val_mae': 0.5, 'folds_sha256': 'f'}
            (target / 'member.json').write_text(json.dumps(text))
            column = 3 if recipe == recipes[0] else 4
            write_oof(target, [(*line[:3], line[column]) for line in lines[::order]])
        config = base.get_config(recipe)
        config.data.records = str(folder / 'data')
        (folder / recipe / 'config.json').write_text(config.to_json_best_effort())
    return folder


def write_oof(folder, lines):
    frame = pd.DataFrame(lines, columns=['video_id', 'time', 'distance', 'prediction'])
    frame.to_csv(folder / 'oof.csv', index=False)
