"""The original's folds, against values that scikit-learn 0.24.2 with NumPy 1.19.5 gave."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep.published_folds import are_published, group_k_fold, numpy_119_argsort

LABELS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'deep_chimpact' / 'train_labels.csv'
# From NumPy 1.19.5: np.random.seed(3); values = np.random.randint(0, 5, 40); np.argsort(values)
VALUES = [
    2,
    0,
    1,
    3,
    0,
    0,
    0,
    3,
    2,
    3,
    1,
    1,
    2,
    0,
    4,
    4,
    0,
    2,
    1,
    2,
    2,
    2,
    4,
    1,
    3,
    2,
    0,
    1,
    2,
    0,
    3,
    0,
    3,
    1,
    3,
    0,
    4,
    1,
    4,
    4,
]
ORDER = [
    1,
    26,
    4,
    5,
    6,
    35,
    16,
    31,
    13,
    29,
    10,
    18,
    27,
    23,
    33,
    37,
    2,
    11,
    28,
    25,
    0,
    19,
    20,
    17,
    12,
    21,
    8,
    30,
    24,
    3,
    7,
    9,
    32,
    34,
    36,
    22,
    15,
    38,
    14,
    39,
]
# From scikit-learn 0.24.2 and NumPy 1.19.5: the lines 'video_id<TAB>fold', sorted, of GroupKFold(5) on the real table.
REAL_DIGEST = 'cdecb616c1d876cecd6cc507fe72d13f4761a95f6c543c409a568ea864ede89d'


def test_equal_values_come_in_the_order_of_numpy_119():
    assert numpy_119_argsort(VALUES) == ORDER
    assert ORDER != np.argsort(VALUES, kind='stable').tolist()  # a stable sort would give other folds


def test_small_and_odd_inputs():
    assert numpy_119_argsort([]) == [] and numpy_119_argsort([7]) == [0]
    assert numpy_119_argsort(list(range(50, 0, -1))) == list(range(49, -1, -1))


def test_the_largest_clips_go_first_into_the_emptiest_fold():
    # d has 4 labels, c 3, b 2, a 1: d -> fold 0, c -> fold 1, b -> fold 1 (3 < 4), a -> fold 0 (4 < 5).
    clips = np.array(list('abbcccdddd'))
    assert group_k_fold(clips, 2).tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.skipif(not LABELS.exists(), reason='requires the tables of the challenge')
def test_the_challenges_folds_are_those_of_the_original():
    clips = pd.read_csv(LABELS)['video_id'].to_numpy(str)
    fold = group_k_fold(clips, 5)
    assert np.bincount(fold).tolist() == [3046, 3046, 3046, 3046, 3045]
    fold_of = dict(zip(clips, fold.tolist(), strict=True))
    assert np.bincount(list(fold_of.values())).tolist() == [414, 414, 415, 415, 414]
    lines = '\n'.join(f'{name}\t{fold_of[name]}' for name in sorted(fold_of))
    assert hashlib.sha256(lines.encode()).hexdigest() == REAL_DIGEST
    assert are_published(fold_of) and are_published({f'train/{name}': fold for name, fold in fold_of.items()})
    del fold_of['auxd.mp4']
    assert not are_published(fold_of)
    shuffled = np.random.default_rng(0).permutation(len(clips))
    np.testing.assert_array_equal(group_k_fold(clips[shuffled], 5), fold[shuffled])  # the order of rows is no input
