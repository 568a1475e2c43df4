"""Members and half-finished trainings of version 0.1 are read, and end as it would have ended them.

Its records lack names and boxes, so they are refused; the data of its members is prepared again here.

tests/fixtures/version_0_1.tar.xz holds what version 0.1 left (commit a8812c5, with the model of tests/small.py):
data/ (records), runs/ (two finished members), killed/ (a member killed after one of two epochs), predictions.parts/
(the answers of one member of two), clips/, labels.csv, built/ (their records) and half_built/ (one clip of two
decoded), and what version 0.1 made of them at the end: expected_predictions.csv and expected_oof.csv.
"""

import dataclasses
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small
import tensorflow_datasets as tfds

from chimp_jax import members, panel, predict, train, trainer
from data_prep import build
from data_prep.records import Record, read_records, write_records

ARCHIVE = Path(__file__).with_name('fixtures') / 'version_0_1.tar.xz'
BUILD = ['--tables=labels.csv', '--clips_full', 'clips', '--n_folds=2', '--workers=1']
LAST_BITS = 1e-4  # metres: other processors round otherwise


def old_records(folder, stream: str, split: str) -> Iterator[Record]:
    """The records of version 0.1 as those of today, without names and boxes."""
    builder = tfds.builder_from_directory(Path(folder) / 'chimp_records' / stream / '1.1.0')
    dataset = builder.as_dataset(split, decoders={'frame_jpeg': tfds.decode.SkipDecoding()})
    for example in dataset.as_numpy_iterator():
        n_targets = len(example['target_time_s'])
        texts = {name: example[name].decode() for name in ('video_id', 'site', 'park')}
        names = ('duration_s', 'height_px', 'width_px', 'frame_rate', 'white_fraction', 'gamma')
        numbers = {name: example[name].item() for name in names}
        known = example | texts | numbers | {'frame_jpeg': list(example['frame_jpeg'])}
        times_s, boxes = np.zeros(0, np.float32), np.zeros((0, 4), np.float32)
        yield Record(
            **known,
            target_animal=[''] * n_targets,
            box_time_s=times_s,
            box=boxes,
            box_confidence=times_s,
            box_animal=[],
        )


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp('version_0_1')
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter='data')
    for stream in ('down', 'full'):  # the members read today's records
        records = {split: list(old_records(folder / 'data', stream, split)) for split in ('train', 'test')}
        by_name = {record.video_id: record for split in records.values() for record in split}
        names = {split: [record.video_id for record in found] for split, found in records.items()}
        write_records(names, by_name.__getitem__, folder / 'data', stream)
    return folder


@pytest.fixture(autouse=True)
def there(written, monkeypatch):
    monkeypatch.chdir(written)  # its paths are relative
    for module in (trainer, panel):
        monkeypatch.setattr(module, 'DistanceModel', small.model)


def test_records_are_read():
    found = {record.video_id: record for record in read_records('data', 'full', 'train')}
    assert sorted(found) == [f'clip {i}.mp4' for i in range(6)]
    assert found['clip 1.mp4'].target_time_s.tolist() == [0, 2, 4, 6] and len(found['clip 1.mp4'].frame_jpeg) == 9


def test_members_predict_as_before():
    found = members.find_members('runs')
    assert found[0].config.start.to_dict() == {'init': 'random', 'output_bias': 'zero'}
    got = predict.predict_split(found, 'data', 'test', 'predictions.parts').members(augmented=False)
    expected = pd.read_csv('expected_predictions.csv').set_index(['video_id', 'time'])
    assert (got.index.get_level_values('animal') == '').all()
    got = got.droplevel('animal')
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


def test_records_of_version_0_1_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r'holds records of version 1\.1\.0, but 1\.2\.0 is needed; prepare the data'):
        next(read_records('built', 'full', 'train'))


def test_a_killed_build_of_version_0_1_is_refused_and_left_alone(capsys):
    before = {path: path.stat().st_mtime_ns for path in Path('half_built').rglob('*')}
    assert build.main([*BUILD, '--out=half_built']) == 1
    assert 'version: 1.1.0 before, 1.2.0 now); choose another --out' in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in Path('half_built').rglob('*')} == before


def test_new_records_hold_what_those_of_version_0_1_held():
    assert build.main([*BUILD, '--out=again']) == 0
    for name in ('lost.csv', 'problems.csv'):
        assert (Path('again') / name).read_bytes() == (Path('built') / name).read_bytes(), name
    clips = pd.read_csv('again/clips.csv').drop(columns=['n_animals', 'n_boxes'])
    pd.testing.assert_frame_equal(clips, pd.read_csv('built/clips.csv'))
    for stream in ('down', 'full'):
        found, expected = list(read_records('again', stream, 'train')), list(old_records('built', stream, 'train'))
        assert len(found) == len(expected) == 2
        for one, other in zip(found, expected, strict=True):
            for name in (field.name for field in dataclasses.fields(Record)):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
