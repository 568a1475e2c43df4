"""Prediction: the same numbers as the window model, each key once, resumable, in the order that is asked for."""

import jax
import numpy as np
import pandas as pd
import pytest
import small
from make_clips import numbered_frames, write_clip

import predict as command
from chimp_jax import input_pipeline, members, predict, scoring, steps, train
from chimp_jax.ensemble import KEY
from chimp_jax.metrics import Mean, absolute_error
from chimp_jax.optim import make_optimizer, make_plateau
from chimp_jax.windows import window_seconds
from data_prep.records import read_dataset

RECIPES = ('full-a1p50-f7s1', 'down-a1p50-f9s2')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Records, and two recipes x two folds that were trained on them for an epoch."""
    folder = tmp_path_factory.mktemp('trained')
    records = small.write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, 'make_model', small.model)
        for recipe in RECIPES:
            config = small.config(folder, recipe)
            config.train.epochs = 1
            train.train_recipe(config, folder / 'runs')
    return folder, records


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(predict, 'make_model', small.model)


def window_model(weights, clip, n_frames, step_s):
    """Distances by the whole model on each window, as training sees it."""
    seconds = window_seconds(clip.target_time_s, n_frames, step_s, clip.frame_time_s[0], clip.frame_time_s[-1])
    frames = clip.frames[np.searchsorted(clip.frame_time_s, seconds)]
    window = np.tile(np.arange(n_frames), (len(frames), 1, 1))
    return small.model().apply(weights, frames, window)[:, 0]


@pytest.mark.parametrize('n_devices', [1, 3, 8])
@pytest.mark.parametrize('n_frames,step_s', [(7, 1), (9, 2)])
def test_encoding_each_frame_once_equals_the_window_model(trained, n_devices, n_frames, step_s):
    folder, _ = trained
    state = steps.initial_state(
        small.model(), make_optimizer(0.9, 0.999, 1e-7), make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8), seed=3
    )
    weights = {'params': state.params, 'batch_stats': state.batch_stats}
    scorer = scoring.Scorer(small.model(), small.SIZE_PX, jax.devices()[:n_devices])
    clips = list(input_pipeline.clips(read_dataset(folder, 'full', 'test'), small.SIZE_PX))
    rows, error = scoring.score_clips(scorer, scorer.place(weights), clips, n_frames, step_s)
    assert rows[KEY].drop_duplicates().shape[0] == len(rows) == 3 + 1 + 12
    expected = np.concatenate([window_model(weights, clip, n_frames, step_s) for clip in clips])
    np.testing.assert_allclose(rows['prediction'], expected, rtol=1e-5, atol=1e-5)
    assert float(error.count) == rows['distance'].notna().sum()
    assert error.value() == pytest.approx((rows['prediction'] - rows['distance']).abs().mean(), rel=1e-4)


@pytest.mark.parametrize('n', [1, 31, 32, 33, 257])
def test_any_number_of_frames_and_windows(trained, n):
    scorer = scoring.Scorer(small.model(), 512, jax.devices()[:2])  # as for large pictures: 8 frames a call
    state = steps.initial_state(
        small.model(), make_optimizer(0.9, 0.999, 1e-7), make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8), seed=0
    )
    weights = scorer.place({'params': state.params, 'batch_stats': state.batch_stats})
    frames = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    features = scorer.encode(weights, frames)
    assert features.shape == (n, 1280)
    np.testing.assert_allclose(features[-1:], scorer.encode(weights, frames[-1:]), rtol=1e-5, atol=1e-6)
    windows = np.repeat(features[:, None], 7, axis=1)
    distance = np.where(np.arange(n) % 2, np.nan, 1.0)
    prediction, error = scorer.distances(weights, windows, distance)
    assert prediction.shape == (n,) and error.count == (n + 1) // 2


def test_masked_metric_by_hand():
    # |2 - 1| + |5 - 7| = 3 over the two that count; the NaN label is masked.
    error = absolute_error(np.array([2.0, 5.0, 9.0]), np.array([1.0, 7.0, np.nan]), np.array([1.0, 1.0, 0.0]))
    assert (float(error.total), float(error.count), error.value()) == (3.0, 2.0, 1.5)
    assert (error + Mean(1.0, 2.0)).value() == 1.0
    assert np.isnan(Mean(0.0, 0.0).value())


def test_chunks_keep_every_clip_in_order():
    clips = [
        input_pipeline.Clip(str(i), np.zeros((n, 1, 1, 3)), *[np.zeros(0)] * 3) for i, n in enumerate([3, 4, 9, 1])
    ]
    assert [[c.video_id for c in chunk] for chunk in scoring.in_chunks(clips, 6)] == [['0', '1'], ['2'], ['3']]


def run(folder, out, *more):
    return command.main(['--members', str(folder / 'runs'), '--records', str(folder), '--out', str(out), *more])


def test_the_command_writes_the_order_that_is_asked_for_and_resumes(trained, tmp_path, monkeypatch):
    folder, _ = trained
    order = pd.DataFrame({'video_id': ['y.mp4', 'a/x.avi', 'b/x.avi', 'y.mp4'], 'time': [7, 11, 0, 3], 'distance': 1.0})
    order.to_csv(tmp_path / 'order.csv', index=False)
    arguments = ['--submission_format', str(tmp_path / 'order.csv')]
    assert run(folder, tmp_path / 'a.csv', *arguments, '--details') == 0
    out = pd.read_csv(tmp_path / 'a.csv')
    assert out[KEY].values.tolist() == order[KEY].values.tolist()
    assert list(out.columns) == [*KEY, 'distance', *sorted(RECIPES)]
    assert np.isfinite(out['distance']).all() and (out['distance'] >= 0).all()

    # Some parts lost, as after a kill: only those are computed again, and the result has the same bytes.
    parts = sorted((tmp_path / 'a.csv.parts').rglob('*.csv'))
    assert len(parts) == 4
    whole = (tmp_path / 'a.csv').read_bytes()
    parts[1].unlink()
    scored = []
    score = scoring.score_clips
    monkeypatch.setattr(scoring, 'score_clips', lambda *a: scored.append(1) or score(*a))
    assert run(folder, tmp_path / 'a.csv', *arguments, '--details') == 0
    assert len(scored) == 1 and (tmp_path / 'a.csv').read_bytes() == whole


def test_a_recipe_is_the_mean_of_its_folds(trained, tmp_path):
    folder, _ = trained
    found = members.find_members(folder / 'runs')
    both = predict.predict_recipes(found, folder, 'test', tmp_path / 'parts')
    single = [
        predict.predict_recipes([member], folder, 'test', tmp_path / 'parts')[RECIPES[0]]
        for member in found
        if member.recipe == RECIPES[0]
    ]
    assert len(single) == 2
    np.testing.assert_allclose(both[RECIPES[0]], (single[0] + single[1]) / 2, rtol=1e-6)


def test_rounding_gives_training_distances_only(trained, tmp_path):
    folder, records = trained
    assert run(folder, tmp_path / 'a.csv', '--round', 'train', '--weights', 'mean') == 0
    seen = np.concatenate([r.target_distance_m for r in records['train']])
    written = pd.read_csv(tmp_path / 'a.csv')['distance'].to_numpy()
    assert np.abs(written[:, None] - seen[np.isfinite(seen)]).min(axis=1).max() < 1e-4


def test_a_target_that_was_not_predicted_is_named(trained, tmp_path):
    folder, _ = trained
    pd.DataFrame({'video_id': ['gone.mp4'], 'time': [3]}).to_csv(tmp_path / 'order.csv', index=False)
    with pytest.raises(ValueError, match='gone.mp4 at 3 s'):
        run(folder, tmp_path / 'a.csv', '--submission_format', str(tmp_path / 'order.csv'))


def test_no_members_is_said(tmp_path):
    with pytest.raises(ValueError, match='no finished member'):
        members.find_members(tmp_path)


def test_from_clips_to_a_row_for_every_second(trained, tmp_path):
    """Two clips and a broken one, in folders and with odd names: rows for the good, exit code 3 for the bad."""
    folder, _ = trained
    clips = tmp_path / 'clips'
    write_clip(clips / 'site A' / 'IMG_0001.MP4', numbered_frames(40), 8)
    write_clip(clips / 'IMG_0001.avi', numbered_frames(24), 8, codec='mpeg4')
    (clips / 'broken.mp4').write_bytes(b'not a clip')
    (clips / 'notes.txt').write_text('not a clip either')
    out = tmp_path / 'distances.csv'
    assert command.main(['--members', str(folder / 'runs'), '--clips', str(clips), '--out', str(out)]) == 3
    rows = pd.read_csv(out)
    assert rows.groupby('video_id')['time'].apply(list).to_dict() == {
        'site A/IMG_0001.MP4': [0, 1, 2, 3, 4],
        'IMG_0001.avi': [0, 1, 2],
    }
    assert np.isfinite(rows['distance']).all()
