"""Reads the challenge's labels with their boxes, and estimates distances from the boxes alone, without pictures.

The estimate is scikit-learn's gradient boosting on the geometry of the box, the park, and the other boxes of the clip.
Its only purpose is bench/real_boxes.py: errors at real sites, without trained members.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.inputs.tables import check_unique, numbers_of, read_table, seconds_of

LABELS = 'train_labels.csv'
METADATA = 'train_metadata.csv'
FOLDS = 5
_KEY = ['video_id', 'time']
_BOX = ['x1', 'y1', 'x2', 'y2', 'probability']
_LEAST_HEIGHT = 1e-3  # share of the picture, of the logarithm and the ratio


def read_rows(folder: Path) -> pd.DataFrame:
    """Returns the labelled rows: video_id, time, distance (m), x1, y1, x2, y2 (shares), probability, park, site_id.

    A row without a box has NaN in its five columns. Rows are in the order of clips and times. Raises ValueError, in one
    line with file and row, if a file, a column or a value is missing or wrong.
    """
    labels, metadata = folder / LABELS, folder / METADATA
    known = read_table(labels, [*_KEY, 'distance'], ['distance'])
    boxes = read_table(metadata, [*_KEY, *_BOX, 'park', 'site_id'], _BOX)
    if known.empty:
        raise ValueError(f'{labels} has no row; write one for each label')
    for table, path in ((known, labels), (boxes, metadata)):
        table['time'] = seconds_of(table, path)
        check_unique(table, _KEY, path)
    known['distance'] = numbers_of(known, 'distance', labels)
    _refuse(labels, ~(known['distance'] >= 0), 'distance is missing or below 0')
    for name in _BOX:
        boxes[name] = numbers_of(boxes, name, metadata)
        _refuse(metadata, (boxes[name] < 0) | (boxes[name] > 1), f'{name} is not between 0 and 1')
    n_given = boxes[_BOX].notna().sum(axis=1)
    _refuse(metadata, n_given.between(1, len(_BOX) - 1), f'only some of {", ".join(_BOX)} are given')
    _refuse(metadata, boxes['site_id'].str.strip() == '', 'site_id is missing')
    rows = known[[*_KEY, 'distance']].rename_axis('line').reset_index().merge(boxes, 'left', _KEY).set_index('line')
    _refuse(labels, rows['site_id'].isna(), f'clip and time are not in {METADATA}')
    if rows['site_id'].nunique() < FOLDS:
        raise ValueError(f'{metadata} has {rows["site_id"].nunique()} sites; {FOLDS} are needed for folds by site')
    return rows.sort_values(_KEY, ignore_index=True)


def deal_folds(group, seed: int = 0) -> np.ndarray:
    """Returns the fold of each row, [n] int from 0 to FOLDS - 1. Rows of one group are in one fold."""
    names, index = np.unique(np.asarray(group, str), return_inverse=True)
    fold = np.empty(len(names), int)
    fold[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % FOLDS
    return fold[index]


def box_features(rows: pd.DataFrame) -> np.ndarray:
    """Returns the inputs of the estimate, [n, features], NaN where there is no box. rows: of read_rows."""
    width, height = rows['x2'] - rows['x1'], rows['y2'] - rows['y1']
    one = pd.DataFrame(
        {
            'cx': (rows['x1'] + rows['x2']) / 2,
            'y1': rows['y1'],
            'y2': rows['y2'],
            'width': width,
            'height': height,
            'area': width * height,
            'shape': width / height.clip(_LEAST_HEIGHT),
            'log_height': np.log(height.clip(_LEAST_HEIGHT)),
            'probability': rows['probability'],
            'cut': ((rows['x1'] < 0.01) | (rows['x2'] > 0.99)).astype(float),
            'park': np.unique(rows['park'], return_inverse=True)[1].astype(float),
        }
    )
    clip = one[['height', 'y2', 'probability']].groupby(rows['video_id'])
    confident = (rows['probability'] > 0.5).astype(float).groupby(rows['video_id'])
    parts = [one, clip.transform('max'), clip.transform('median'), clip.shift(1), clip.shift(-1)]
    parts += [confident.transform('mean'), confident.transform('size')]
    return np.column_stack([part.to_numpy(float) for part in parts])


def constant_estimate(distance_m: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Returns the median distance of the other folds for each row, [n] metres."""
    estimate_m = np.zeros(len(distance_m))
    for one in np.unique(fold):
        estimate_m[fold == one] = np.median(distance_m[fold != one])
    return estimate_m


def boosted_estimate(features: np.ndarray, distance_m: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Returns out-of-fold estimates, [n] metres, >= 0: each fold's from gradient boosting on the other folds."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    estimate_m = np.zeros(len(distance_m))
    for one in np.unique(fold):
        model = HistGradientBoostingRegressor(
            loss='absolute_error',
            max_iter=200,
            learning_rate=0.05,
            min_samples_leaf=40,
            max_leaf_nodes=15,
            l2_regularization=1.0,
            random_state=0,
        )
        model.fit(features[fold != one], distance_m[fold != one])
        estimate_m[fold == one] = model.predict(features[fold == one])
    return np.maximum(estimate_m, 0)


def _refuse(path: Path, wrong: pd.Series, what: str) -> None:
    if wrong.any():
        raise ValueError(f'{path}:{wrong.idxmax()}: {what}; correct or remove the row')
