"""Trains one small variant: finished parts are skipped, and a part that another run works on is left to it."""

import json

import numpy as np
import pandas as pd
import pytest
import small
from made_ablation import write_member

from chimp_jax import predict, steps, trainer
from chimp_jax.ablate import report, training
from chimp_jax.ablate.comparison import read_costs, read_scored
from chimp_jax.ablate.study import BASE, make_study
from configs.variants import Variant
from data_prep import lock


def starts(folder) -> int:
    return len(json.loads((folder / 'run.json').read_text()))


def test_parts_are_trained_once_by_whoever_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, 'DistanceModel', small.model)
    monkeypatch.setattr(steps, 'train_step', small.learn_the_mean)
    small.write_data(tmp_path)
    variants = {
        'single': Variant('?', {'model.temporal': 'single', 'data.n_frames': 1, 'train.loss': 'huber'}),
        'tta': Variant('?', tta='a1'),
    }
    study = make_study(small.config(tmp_path, epochs=1), variants, [], 1, tmp_path / 'runs')
    folder = study.folders('single')[0]
    with lock.hold(folder / 'fold_1'):  # as another machine does
        training.train_variant(study, 'single')
        assert study.left('single') == 1 and not (folder / 'fold_1' / 'run.json').exists()
    training.train_variant(study, 'single')  # resumes with what is missing
    assert study.left('single') == 0 and starts(folder / 'fold_0') == starts(folder / 'fold_1') == 1
    training.train_variant(study, 'single')
    assert starts(folder / 'fold_0') == 1

    scored = read_scored(study, 'single')
    labels = pd.concat([pd.read_csv(folder / f'fold_{k}' / 'oof.csv') for k in range(2)])
    assert scored.error_m.shape == (1, len(labels)) == (1, 21)  # 6 clips x 4 labels, the last of 3 clips is unknown
    epoch_s, member_s, memory_mb = read_costs(study, 'single')
    assert 0 < epoch_s == member_s and memory_mb > 50  # one epoch; a Python with JAX takes more

    with pytest.raises(ValueError, match='members of base, which are not finished'):
        training.train_variant(study, 'tta')
    assert study.left('tta') == 1 and study.left(BASE) == 2


def test_augmented_predictions_are_scored_beside_the_base(tmp_path, monkeypatch):
    """The members of the base predict label + 1 m. The two operations predict + 0.2 m and + 0.6 m: + 0.4 m."""
    (tmp_path / 'folds.csv').write_text('')
    study = make_study(small.config(tmp_path), {'tta': Variant('?', tta='a1')}, [], 1, tmp_path / 'runs')
    for fold in range(2):
        write_member(study, BASE, 0, fold, 1.0)
    asked = []

    def predict_split(members, records, split, parts, operations):
        asked.append((sorted(member.name for member in members), split, operations))
        labels = read_scored(study, BASE).labels.astype(np.float32)
        of_fold = [clip in ('a.mp4', 'c.mp4') for clip in labels.index.get_level_values('video_id')]
        values = {
            operation: pd.DataFrame({'base/fold_0': far.where(of_fold), 'base/fold_1': far.mask(of_fold)})
            for operation, far in (('none', labels + 0.2), ('flip', labels + 0.6))
        }
        return predict.Predictions(values, labels, labels > 0, {})

    monkeypatch.setattr(predict, 'predict_split', predict_split)
    training.train_variant(study, 'tta')
    training.train_variant(study, 'tta')  # finished: nothing is predicted again
    assert asked == [(['base/fold_0', 'base/fold_1'], 'oof', predict.operations('a1'))]
    lines, complete = report.write_result(study)
    assert complete and lines[1].startswith('tta: better, -0.600 m')
