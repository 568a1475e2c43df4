"""Members that hear: training, validation and scoring of records agree; records without sound are refused."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
import small
from make_sounds import write_sound_clip
from run_estimate import estimate, read

from chimp_jax import members, panel, predict, train, trainer
from chimp_jax.commands import entry
from chimp_jax.data import chunks
from chimp_jax.data.sources import find_sources
from chimp_jax.sharing import model_shapes
from data_prep.records import have_sound, read_records

SILENT_CLIP = 4  # of small.write_data, in fold 0


def with_sound(one):
    """The record with sound of noise; none in one clip."""
    random = np.random.default_rng(len(one.frame_jpeg))
    n = 0 if one.site == f's{SILENT_CLIP}' else len(one.frame_jpeg)
    return dataclasses.replace(one, sound=random.integers(1, 256, (n, 50, 64)).astype(np.uint8))


ALONE, BOTH = 'down-a1p50-f7s1', 'full-a1p50-f7s1'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder, adapt=with_sound)
    (folder / 'dataset.json').write_text('{"options": {"gamma": "never", "audio": true}}')
    return folder


@pytest.fixture(scope='module')
def runs(data, tmp_path_factory):
    """A member that hears alone and one that hears and sees, of fold 0. Windows of three frames are cheap."""
    folder = tmp_path_factory.mktemp('trained') / 'runs'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, 'DistanceModel', small.model)
        for recipe, audio in ((ALONE, 'alone'), (BOTH, 'with_frames')):
            config = small.config(data, recipe, epochs=1)
            config.data.n_frames, config.model.audio = 3, audio
            train.train_recipe(config, folder, folds=[0])
    return folder


@pytest.fixture
def small_model(monkeypatch):
    for module in (panel, model_shapes):
        monkeypatch.setattr(module, 'DistanceModel', small.model)


@pytest.mark.usefixtures('small_model')
def test_scoring_records_gives_the_out_of_fold_predictions_of_training(data, runs, tmp_path):
    found = members.find_members(runs)
    predictions = predict.predict_split(found, data, predict.OOF, tmp_path / 'parts')
    (window,) = predictions.calls
    # Only one member sees. 3 clips have 4 windows of 3 frames each, at seconds 0 to 7.
    assert predictions.calls[window] == (36, 24)
    ours = predictions.members(augmented=False).reset_index().set_index(['video_id', 'time'])
    for member in found:
        oof = pd.read_csv(member.folder / 'oof.csv').set_index(['video_id', 'time'])
        assert len(oof) > 8
        np.testing.assert_allclose(ours.loc[oof.index, member.name], oof['prediction'], rtol=1e-4)
        deaf, heard = (np.ptp(oof.loc[f'clip {k}.mp4', 'prediction']) for k in (SILENT_CLIP, 2))
        assert heard > 0 and (deaf == 0) == (member.recipe == ALONE)  # without sound, one constant


@pytest.mark.usefixtures('small_model')
def test_estimate_and_clip_hear_the_clips(runs, tmp_path, capsys):
    (tmp_path / 'clips').mkdir()
    write_sound_clip(tmp_path / 'clips' / 'loud.avi')
    mute = write_sound_clip(tmp_path / 'clips' / 'mute.avi', wave=[])
    assert estimate(runs, tmp_path / 'clips', tmp_path / 'out', '--details') in (0, 3)  # 3: these members are warned of
    assert 'note: 1 of 2 clips have no sound' in capsys.readouterr().out
    clips = pd.read_csv(tmp_path / 'out' / 'clips.csv', keep_default_na=False).set_index('video_id')
    assert clips['sound'].to_dict() == {'loud.avi': 'yes', 'mute.avi': 'no'}
    found = read(tmp_path / 'out').set_index('video_id')
    assert found.groupby('video_id').size().tolist() == [5, 5]
    assert np.ptp(found.loc['loud.avi', ALONE]) > 0 and np.ptp(found.loc['mute.avi', ALONE]) == 0
    assert (found.loc['loud.avi', BOTH].to_numpy() != found.loc['mute.avi', BOTH].to_numpy()).all()  # equal pictures
    arguments = ['--clip', mute, '--members', str(runs), '--out', str(tmp_path / 'one')]
    assert entry.main(['clip', *arguments]) == 0
    assert 'note: the clip has no sound' in capsys.readouterr().out
    one = read(tmp_path / 'one')
    for recipe in (ALONE, BOTH):
        np.testing.assert_allclose(one[recipe], found.loc['mute.avi', recipe], atol=1e-3)


@pytest.mark.usefixtures('small_model')
def test_a_package_holds_members_that_hear_with_the_gamma_of_their_records(runs, tmp_path):
    assert entry.main(['pack', str(runs), '--out', str(tmp_path / 'members.zip')]) == 0
    assert entry.main(['unpack', str(tmp_path / 'members.zip'), '--out', str(tmp_path / 'theirs')]) == 0
    for ours, theirs in zip(members.find_members(runs), members.find_members(tmp_path / 'theirs'), strict=True):
        assert theirs.hears and theirs.gamma == 'never'
        jax.tree.map(np.testing.assert_array_equal, ours.weights(), theirs.weights())
    assert 'gamma correction' in (tmp_path / 'theirs' / BOTH / 'model_card.md').read_text()


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


def test_records_of_silent_clips_are_refused_and_single_ones_are_told(data, tmp_path, caplog):
    sources = find_sources(data, '', 'full', with_unlabelled=False)
    source = sources.sources[0]._replace(folder=str(tmp_path))
    table = pd.DataFrame({'split': ['train', 'train', 'test'], 'sound': ['no', 'yes', 'no']})
    table.to_csv(tmp_path / 'clips.csv', index=False)
    sources._replace(sources=(source,)).require_sound('model.audio')
    assert '1 of 2 clips have no sound' in caplog.text
    table.assign(sound=['no', 'in 0 of 8 seconds', 'yes']).to_csv(tmp_path / 'clips.csv', index=False)
    with pytest.raises(ValueError, match='^model.audio requires sound, and no labelled clip of .* has any'):
        sources._replace(sources=(source,)).require_sound('model.audio')


def test_a_second_folder_without_sound_is_read_beside_one_with(data, tmp_path):
    small.write_data(tmp_path)
    both = find_sources(data, tmp_path, 'full', with_unlabelled=True)
    assert [source.with_sound for source in both.sources] == [True, True, False]
    assert {record.sound is None for record in both.records()} == {True}
    with pytest.raises(ValueError, match=f'^a model requires records with sound, and {tmp_path} was prepared without'):
        both.require_sound('a model')
    (tmp_path / 'dataset.json').write_text('{"options": {"gamma": "auto"}}')
    find_sources(data, tmp_path, 'down', with_unlabelled=True)  # these frames are never corrected
    with pytest.raises(ValueError, match=f'--gamma=never, and {tmp_path} with --gamma=auto; prepare both alike'):
        find_sources(data, tmp_path, 'full', with_unlabelled=True)


def test_equal_pictures_with_other_sound_are_other_frames():
    one = small.record('a.mp4', 3, [1], 0)
    same = dataclasses.replace(one, frame_jpeg=[one.frame_jpeg[0]] * 3)
    assert len(chunks.plan_windows([same], [True], 3, 1).frame) == 1
    sound = np.random.default_rng(0).integers(0, 256, (3, 50, 64), np.uint8)
    plan = chunks.plan_windows([dataclasses.replace(same, sound=sound)], [True], 3, 1, with_sound=True)
    assert plan.frame.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(plan.sound[plan.window[0]], sound)
    deaf = chunks.plan_windows([dataclasses.replace(same, sound=sound)], [True], 3, 1)  # of a member that hears nothing
    assert deaf.sound is None and deaf.frame.tolist() == [0]
    silent = dataclasses.replace(same, sound=np.zeros((0, 50, 64), np.uint8))
    assert not chunks.plan_windows([silent], [True], 3, 1, with_sound=True).sound.any()
    digests = {chunks.record_digest(record) for record in (same, dataclasses.replace(same, sound=sound), silent)}
    assert len(digests) == 3


def test_a_long_record_is_split_with_its_sound():
    one = small.timed('a.mp4', np.arange(0, 60, 2))
    sound = np.repeat(one.frame_time_s.astype(np.uint8)[:, None, None], 50, axis=1).repeat(64, axis=2)
    for piece in chunks.split_long([dataclasses.replace(one, sound=sound)], 20):
        np.testing.assert_array_equal(piece.sound[:, 0, 0], piece.frame_time_s)
