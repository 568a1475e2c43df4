"""Records, members and half-finished runs that version 0.1 wrote are read, and end as it would have ended them.

tests/fixtures/version_0_1.tar.xz holds what version 0.1 left (commit a8812c5, with the model of tests/small.py):
data/ (records), runs/ (two finished members), killed/ (a member killed after one of two epochs), predictions.parts/
(the answers of one member of two), clips/, labels.csv, built/ (their records) and half_built/ (one clip of two
decoded), and what version 0.1 made of them at the end: expected_predictions.csv and expected_oof.csv.
"""

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax import members, predict, scoring, train, trainer
from data_prep import build
from data_prep.records import read_records

ARCHIVE = Path(__file__).with_name('fixtures') / 'version_0_1.tar.xz'
LAST_BITS = 1e-4  # metres: other processors round otherwise


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('version_0_1')
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter='data')
    return folder


@pytest.fixture(autouse=True)
def there(written, monkeypatch):
    monkeypatch.chdir(written)  # its paths are relative
    for module in (trainer, scoring):
        monkeypatch.setattr(module, 'DistanceModel', small.model)


def test_records_are_read():
    found = {record.video_id: record for record in read_records('data', 'full', 'train')}
    assert sorted(found) == [f'clip {i}.mp4' for i in range(6)]
    assert found['clip 1.mp4'].target_time_s.tolist() == [0, 2, 4, 6] and len(found['clip 1.mp4'].frame_jpeg) == 9


def test_members_predict_as_before_and_kept_answers_are_not_asked_again(monkeypatch):
    asked = []
    score = scoring.Panel.score
    monkeypatch.setattr(
        scoring.Panel, 'score', lambda self, member, *a, **k: asked.append(member.name) or score(self, member, *a, **k)
    )
    found = members.find_members('runs')
    assert found[0].config.start.to_dict() == {'init': 'random', 'output_bias': 'zero'}
    got = predict.predict_split(found, 'data', 'test', 'predictions.parts').members(augmented=False)
    assert asked == ['full-a1p50-f7s1/fold_1']
    expected = pd.read_csv('expected_predictions.csv').set_index(['video_id', 'time'])
    assert got.index.equals(expected.index) and list(got) == list(expected)
    np.testing.assert_allclose(got, expected, atol=LAST_BITS)


def test_a_killed_training_goes_on_and_ends_as_it_would_have():
    config = small.config('data', 'down-a1p50-f7s1')
    config.train.epochs = 2
    config.model.update(lstm_units=8, dense_units=6)
    with pytest.raises(ValueError, match=r'differs in model.bn_momentum \(0.99 there, 0.9801 here\); set these fields'):
        train.train_recipe(config, 'killed', folds=[0])
    config.model.bn_momentum = 0.99
    train.train_recipe(config, 'killed', folds=[0])
    folder = Path('killed/down-a1p50-f7s1/fold_0')
    assert len(pd.read_csv(folder / 'metrics.csv')) == 2
    got, expected = pd.read_csv(folder / 'oof.csv'), pd.read_csv('expected_oof.csv')
    pd.testing.assert_frame_equal(got, expected, atol=LAST_BITS)


def test_a_killed_build_goes_on_with_the_same_records():
    (kept,) = Path('half_built/frames/full').iterdir()
    before = kept.stat().st_mtime_ns
    arguments = ['--tables=labels.csv', '--clips_full', 'clips', '--out=half_built', '--n_folds=2', '--workers=1']
    assert build.main([*arguments, '--delete_frames=False']) == 0
    assert kept.stat().st_mtime_ns == before
    for name in ('clips.csv', 'folds.csv', 'lost.csv', 'problems.csv'):
        assert (Path('half_built') / name).read_bytes() == (Path('built') / name).read_bytes(), name
    for shard in Path('built').rglob('*.tfrecord*'):
        assert (Path('half_built') / shard.relative_to('built')).read_bytes() == shard.read_bytes(), shard
