"""Members that hear: training, validation and scoring of records agree; records without sound are refused."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import small
from make_sounds import write_sound_clip
from run_estimate import estimate, read

from chimp_jax import members, panel, predict, train, trainer
from chimp_jax.data import chunks
from chimp_jax.data.sources import find_sources
from data_prep.records import have_sound, read_records


def with_sound(one):
    """The record with sound of noise; none in the clips of one site."""
    random = np.random.default_rng(len(one.frame_jpeg))
    n = 0 if one.site == 's3' else len(one.frame_jpeg)
    return dataclasses.replace(one, sound=random.integers(1, 256, (n, 50, 64)).astype(np.uint8))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder, adapt=with_sound)
    return folder


@pytest.fixture(scope='module', params=['alone', 'with_frames'])
def audio(request):
    return request.param


@pytest.fixture(scope='module')
def runs(data, tmp_path_factory, audio):
    folder = tmp_path_factory.mktemp('trained') / 'runs'
    config = small.config(data, 'down-a1p50-f7s1', epochs=1)
    config.model.audio = audio
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, 'DistanceModel', small.model)
        train.train_recipe(config, folder)
    return folder


def test_scoring_records_gives_the_out_of_fold_predictions_of_training(data, runs, tmp_path, monkeypatch, audio):
    monkeypatch.setattr(panel, 'DistanceModel', small.model)
    found = members.find_members(runs)
    predictions = predict.predict_split(found, data, predict.OOF, tmp_path / 'parts')
    ours = predictions.members(augmented=False).mean(axis=1).rename('ours').reset_index()
    oof = pd.concat(pd.read_csv(member.folder / 'oof.csv') for member in found)
    joined = oof.merge(ours, on=['video_id', 'time'], validate='1:1')
    assert len(joined) == len(oof) > 20
    np.testing.assert_allclose(joined['prediction'], joined['ours'], rtol=1e-4)
    deaf = joined[joined['video_id'] == 'clip 3.mp4']['prediction']
    others = joined[joined['video_id'] == 'clip 1.mp4']['prediction']
    if audio == 'alone':  # without sound, one constant
        assert np.ptp(deaf) == 0 and np.ptp(others) > 0


def test_estimate_hears_the_clips(runs, tmp_path, monkeypatch, audio):
    monkeypatch.setattr(panel, 'DistanceModel', small.model)
    (tmp_path / 'clips').mkdir()
    write_sound_clip(tmp_path / 'clips' / 'loud.avi')
    write_sound_clip(tmp_path / 'clips' / 'mute.avi', wave=[])
    assert estimate(runs, tmp_path / 'clips', tmp_path / 'out') in (0, 3)  # 3: these members may be warned of
    found = read(tmp_path / 'out').set_index('video_id')['distance']
    assert found.notna().all() and found.groupby('video_id').size().tolist() == [5, 5]
    assert np.ptp(found['loud.avi']) > 0
    if audio == 'alone':
        assert np.ptp(found['mute.avi']) == 0
    else:
        assert (found['loud.avi'].to_numpy() != found['mute.avi'].to_numpy()).all()  # the pictures are the same


def test_records_without_sound_are_refused_before_training(tmp_path):
    small.write_data(tmp_path)
    assert not have_sound(tmp_path, 'full')
    config = small.config(tmp_path)
    config.model.audio = 'alone'
    with pytest.raises(ValueError, match=r'^model.audio requires records with sound, and .* --audio'):
        train.train_recipe(config, tmp_path / 'runs')
    assert not [path for path in (tmp_path / 'runs').rglob('*') if path.is_file()]
    with pytest.raises(ValueError, match=r'^clip \d.mp4: its record has no field for sound'):
        pieces = list(read_records(tmp_path, 'full', 'train'))[:1]
        chunks.plan_windows(pieces, [True], 7, 1, with_sound=True)


def test_a_second_folder_without_sound_is_read_beside_one_with(data, tmp_path):
    small.write_data(tmp_path)
    both = find_sources(data, tmp_path, 'full', with_unlabelled=True)
    assert [source.with_sound for source in both.sources] == [True, True, False]
    assert {record.sound is None for record in both.records()} == {True}
    with pytest.raises(ValueError, match=f'^a model requires records with sound, and {tmp_path} was prepared without'):
        both.require_sound('a model')


def test_equal_pictures_with_other_sound_are_other_frames():
    one = small.record('a.mp4', 3, [1], 0)
    same = dataclasses.replace(one, frame_jpeg=[one.frame_jpeg[0]] * 3)
    assert len(chunks.plan_windows([same], [True], 3, 1).frame) == 1
    sound = np.random.default_rng(0).integers(0, 256, (3, 50, 64), np.uint8)
    plan = chunks.plan_windows([dataclasses.replace(same, sound=sound)], [True], 3, 1, with_sound=True)
    assert plan.frame.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(plan.sound[plan.window[0]], sound)
    silent = dataclasses.replace(same, sound=np.zeros((0, 50, 64), np.uint8))
    assert not chunks.plan_windows([silent], [True], 3, 1, with_sound=True).sound.any()
    digests = {chunks.record_digest(record) for record in (same, dataclasses.replace(same, sound=sound), silent)}
    assert len(digests) == 3


def test_a_long_record_is_split_with_its_sound():
    one = small.timed('a.mp4', np.arange(0, 60, 2))
    sound = np.repeat(one.frame_time_s.astype(np.uint8)[:, None, None], 50, axis=1).repeat(64, axis=2)
    for piece in chunks.split_long([dataclasses.replace(one, sound=sound)], 20):
        np.testing.assert_array_equal(piece.sound[:, 0, 0], piece.frame_time_s)
