"""Prediction: the same numbers as the window model, each key once, resumable, in the order that is asked for."""

import os

import jax
import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax import members, panel, predict, scoring
from chimp_jax.commands import entry
from chimp_jax.data import augment, chunks
from chimp_jax.data.frames import decode_frame, decode_records
from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.models import distance_model
from data_prep.records import LOST, read_records, write_records
from data_prep.windows import window_seconds

RECIPES = ('full-a1p50-f7s1', 'down-a1p50-f9s2')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Records, and two recipes x two folds that were trained on them for an epoch."""
    folder = tmp_path_factory.mktemp('trained')
    return folder, small.train_members(folder, RECIPES)


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(panel, 'DistanceModel', small.model)


def fresh_weights(seed):
    return distance_model.fresh_variables(small.model(), seed)


WHOLE_MODEL = jax.jit(small.model().apply)
MOST_WINDOWS = 12  # of a record: with as many for each record, the program is compiled once


def window_model(weights, record, n_frames, step_s, operation=predict.NONE):
    """Distances by the whole model on each window, as training sees it."""
    seconds = window_seconds(record.target_time_s, n_frames, step_s, record.frame_time_s[0], record.frame_time_s[-1])
    frames = np.stack([decode_frame(jpeg, small.SIZE_PX) for jpeg in record.frame_jpeg])
    windows = frames[np.searchsorted(record.frame_time_s, seconds)]
    if operation != predict.NONE:
        windows = np.stack([augment.apply_operation(window, operation) for window in windows])
    filled = np.resize(windows, (MOST_WINDOWS, *windows.shape[1:]))
    window = np.tile(np.arange(n_frames), (MOST_WINDOWS, 1, 1))
    return WHOLE_MODEL(weights, frames=filled, window=window)[: len(windows), 0]


@pytest.mark.parametrize('n_devices,n_frames,step_s', [(1, 7, 1), (3, 7, 1), (8, 7, 1), (8, 9, 2)])
def test_encoding_each_frame_once_equals_the_window_model(trained, n_devices, n_frames, step_s):
    folder, _ = trained
    weights = fresh_weights(3)
    scorer = scoring.Scorer(small.model(), small.SIZE_PX, jax.devices()[:n_devices])
    records = list(read_records(folder, 'full', 'test'))
    rows = scoring.target_rows(records)
    plan = chunks.plan_windows(records, [True] * len(records), n_frames, step_s)
    frames = decode_records(records, small.SIZE_PX)
    prediction, error = scorer.score(scorer.place(weights), frames, plan, rows['distance'].to_numpy())
    assert rows[SECOND].drop_duplicates().shape[0] == len(rows) == 3 + 1 + 12
    expected = np.concatenate([window_model(weights, record, n_frames, step_s) for record in records])
    np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-5)
    assert float(error.count) == rows['distance'].notna().sum()
    assert error.value() == pytest.approx((prediction - rows['distance']).abs().mean(), rel=1e-4)


def run(folder, out, *more):
    return entry.main(['--members', str(folder / 'runs'), '--records', str(folder), '--out', str(out), *more])


@pytest.fixture
def scored(monkeypatch):
    """The members that the test asks, one entry for each chunk."""
    asked = []
    score = panel.Panel.score
    monkeypatch.setattr(
        panel.Panel, 'score', lambda self, member, *a: asked.append(member.name) or score(self, member, *a)
    )
    return asked


def test_the_command_writes_the_order_that_is_asked_for_and_resumes(trained, tmp_path, scored, capsys):
    folder, _ = trained
    order = pd.DataFrame({'video_id': ['y.mp4', 'a/x.avi', 'b/x.avi', 'y.mp4'], 'time': [7, 11, 0, 3], 'distance': 1.0})
    order.to_csv(tmp_path / 'order.csv', index=False)
    arguments = ['--submission_format', str(tmp_path / 'order.csv')]
    assert run(folder, tmp_path / 'a.csv', *arguments, '--details') == 0
    out = pd.read_csv(tmp_path / 'a.csv')
    assert out[SECOND].values.tolist() == order[SECOND].values.tolist()
    assert list(out.columns) == [*SECOND, 'distance', *sorted(RECIPES), 'spread', 'members', 'status']
    assert np.isfinite(out['distance']).all() and (out['distance'] >= 0).all()
    assert (out['members'] == 4).all() and (out['status'] == 'ok').all()

    # Some parts lost, as after a kill or a power cut: only those are computed again, and the result has the same bytes.
    parts = sorted((tmp_path / 'a.csv.parts').rglob('*.csv'))
    assert len(parts) == len(scored) == 4
    whole = (tmp_path / 'a.csv').read_bytes()
    parts[1].unlink()
    for path, share in ((parts[0], 0), (parts[2], 0.5)):
        os.truncate(path, int(share * path.stat().st_size))
    scored.clear()
    assert run(folder, tmp_path / 'a.csv', *arguments, '--details') == 0
    assert len(scored) == 3 and (tmp_path / 'a.csv').read_bytes() == whole

    assert run(folder, tmp_path / 'a.csv', *arguments) == 0
    assert 'is a valid submission of 4 rows' in capsys.readouterr().out
    assert list(pd.read_csv(tmp_path / 'a.csv').columns) == [*SECOND, 'distance']
    assert entry.main(['check_submission', str(tmp_path / 'a.csv'), str(tmp_path / 'order.csv')]) == 0


def test_a_member_that_comes_later_is_scored_alone(trained, tmp_path, scored):
    folder, _ = trained
    late = folder / 'runs' / RECIPES[1] / 'fold_1' / 'member.json'
    late.rename(tmp_path / 'member.json')
    try:
        assert run(folder, tmp_path / 'a.csv', '--weights', 'mean') == 0
        assert len(scored) == 3
    finally:
        (tmp_path / 'member.json').rename(late)
    scored.clear()
    assert run(folder, tmp_path / 'a.csv', '--weights', 'mean') == 0
    assert scored == [f'{RECIPES[1]}/fold_1']


def test_spread_and_recipes_are_those_of_the_members(trained, tmp_path):
    folder, _ = trained
    assert run(folder, tmp_path / 'a.parquet', '--details', '--weights', 'mean') == 0
    rows = pd.read_parquet(tmp_path / 'a.parquet').set_index(SECOND)
    table = predict.predict_split(members.find_members(folder / 'runs'), folder, 'test', tmp_path / 'parts').members(
        False
    )
    a, b = (table[[f'{recipe}/fold_{k}' for k in (0, 1)]].mean(axis=1) for recipe in RECIPES)
    np.testing.assert_allclose(rows[RECIPES[0]], a, rtol=1e-6)
    np.testing.assert_allclose(rows['distance'], np.maximum((a + b) / 2, 0), rtol=1e-6)
    np.testing.assert_allclose(rows['spread'], np.std(table.to_numpy(), axis=1), rtol=1e-6)


def test_oof_is_what_training_said_of_the_rows_it_did_not_see(trained, tmp_path, scored):
    folder, records = trained
    assert run(folder, tmp_path / 'a.csv', '--split', 'oof', '--details') == 0
    rows = pd.read_csv(tmp_path / 'a.csv').set_index(SECOND)
    assert len(rows) == sum(len(record.target_time_s) for record in records['train'])
    assert (rows['members'] == 2).all()  # one fold of each recipe
    for recipe in RECIPES:
        said = pd.concat(pd.read_csv(folder / 'runs' / recipe / f'fold_{k}' / 'oof.csv') for k in (0, 1)).set_index(
            SECOND
        )
        np.testing.assert_allclose(rows[recipe].reindex(said.index), said['prediction'], rtol=1e-5, atol=1e-5)


def test_oof_refuses_members_of_other_folds(trained, tmp_path, capsys):
    folder, _ = trained
    table = pd.read_csv(folder / 'folds.csv')
    try:
        table.assign(clip_fold=table['clip_fold'].to_numpy()[::-1]).to_csv(folder / 'folds.csv', index=False)
        assert run(folder, tmp_path / 'a.csv', '--split', 'oof') == 1
        assert 'was trained on other folds than those of' in capsys.readouterr().err
        assert run(folder, tmp_path / 'a.csv') == 0  # test clips are nobody's training clips
    finally:
        table.to_csv(folder / 'folds.csv', index=False)


def test_test_time_augmentation_is_the_mean_over_the_set_and_the_frames_as_they_are(trained, tmp_path, capsys):
    folder, records = trained
    found = members.find_members(folder / 'runs')[:1]
    operations = predict.operations('a1')
    assert len(operations) == 1 + 9
    table = predict.predict_split(found, folder, 'test', tmp_path / 'parts', operations).members(True)
    record = next(record for record in records['test'] if record.video_id == 'a/x.avi')
    data = found[0].config.data
    views = [window_model(found[0].weights(), record, data.n_frames, data.step_s, name) for name in operations]
    np.testing.assert_allclose(table.loc['a/x.avi'].iloc[:, 0], np.mean(views, axis=0), rtol=1e-4, atol=1e-4)
    assert run(folder, tmp_path / 'a.csv', '--split', 'oof', '--tta', 'a1') == 0
    assert 'without test-time augmentation' in capsys.readouterr().out
    assert run(folder, tmp_path / 'a.csv', '--tta', 'a3') == 1
    assert 'there are none, a1, a2, a4' in capsys.readouterr().err


def test_rounding_gives_training_distances_only(trained, tmp_path):
    folder, records = trained
    assert run(folder, tmp_path / 'a.csv', '--round', 'train', '--weights', 'mean') == 0
    seen = np.concatenate([r.target_distance_m for r in records['train']])
    written = pd.read_csv(tmp_path / 'a.csv')['distance'].to_numpy()
    assert np.abs(written[:, None] - seen[np.isfinite(seen)]).min(axis=1).max() < 1e-4


def test_a_target_without_a_distance_keeps_its_row_and_its_reason(trained, tmp_path, capsys):
    folder, _ = trained
    (folder / LOST).write_text('split,video_id,time,reason\ntest,cut.mp4,5,no frame\ntrain,b/x.avi,7,other split\n')
    try:
        pd.DataFrame({'video_id': ['gone.mp4', 'cut.mp4', 'b/x.avi'], 'time': [3, 5, 0]}).to_csv(
            tmp_path / 'order.csv', index=False
        )
        arguments = ['--submission_format', str(tmp_path / 'order.csv')]
        assert run(folder, tmp_path / 'a.csv', *arguments, '--details') == 3
        rows = pd.read_csv(tmp_path / 'a.csv')
        assert rows['status'].tolist() == ['not among the targets of the records', 'no frame', 'ok']
        assert rows['distance'].isna().tolist() == [True, True, False]
        assert 'no distance: cut.mp4, 1 targets: no frame' in capsys.readouterr().out
        assert run(folder, tmp_path / 'a.csv', *arguments) == 3
        assert 'not a valid submission' in capsys.readouterr().out
        assert run(folder, tmp_path / 'b.csv', '--details') == 3
        assert pd.read_csv(tmp_path / 'b.csv')[SECOND].values.tolist().count(['cut.mp4', 5]) == 1
    finally:
        (folder / LOST).unlink()


def test_no_members_is_said(tmp_path):
    with pytest.raises(ValueError, match='no finished member'):
        members.find_members(tmp_path)


def test_weights_that_do_not_fit_are_read_again_for_each_chunk(trained, monkeypatch, tmp_path):
    folder, _ = trained
    found = members.find_members(folder / 'runs')
    whole = predict.predict_split(found, folder, 'test', tmp_path / 'a').members(False)
    restored = []
    read = members.Member.weights
    monkeypatch.setattr(members.Member, 'weights', lambda self: restored.append(self.name) or read(self))
    monkeypatch.setattr(panel, 'SHARE_OF_MEMORY', 0)
    monkeypatch.setattr(chunks, 'FRAMES_PER_CHUNK', 10)
    monkeypatch.setattr(chunks.in_chunks, '__defaults__', (10,))
    pd.testing.assert_frame_equal(predict.predict_split(found, folder, 'test', tmp_path / 'b').members(False), whole)
    assert len(restored) > len(found)


NAMES = ['007', 'NA', '1e5', '7', 'nan', 'True']


def test_names_that_look_like_numbers_stay_names(trained, tmp_path, scored):
    """From the records to the predictions, and again from the saved predictions of each chunk."""
    folder, _ = trained
    found = members.find_members(folder / 'runs')
    records = {name: small.record(name, 4, [0, 3], seed) for seed, name in enumerate(NAMES)}
    for stream in ('down', 'full'):
        write_records({'test': NAMES}, records.__getitem__, tmp_path, stream)
    expected = sorted((name, t, '') for name in NAMES for t in (0, 3))
    for n_asked in (len(found), 0):
        scored.clear()
        table = predict.predict_split(found, tmp_path, 'test', tmp_path / 'parts').members(False)
        assert table.index.tolist() == expected and table.notna().all(axis=None) and len(scored) == n_asked
    alone = small.record('1e5', 4, [0, 3], NAMES.index('1e5'))
    data, weights = found[0].config.data, found[0].weights()
    prediction = window_model(weights, alone, data.n_frames, data.step_s)
    np.testing.assert_allclose(table.loc['1e5'][found[0].name], prediction, rtol=1e-4, atol=1e-4)


def test_a_teacher_predicts_training_clips_out_of_fold_and_every_second(trained, tmp_path):
    folder, _ = trained
    tables = {}
    for split in ('teacher', 'oof', 'test'):
        out = tmp_path / f'{split}.csv'
        assert run(folder, out, '--split', split, '--weights', 'mean', '--details') == 0
        tables[split] = pd.read_csv(out).set_index(SECOND).sort_index()
    taught = tables.pop('teacher')
    # Each training clip has targets at 0, 2, 4 and 6 s, and so 3 seconds between them. a/x.avi ends at 8 s and has
    # targets at 0, 4 and 11 s; all seconds of y.mp4 are targets.
    counts = taught.groupby(level=0).size().to_dict()
    assert counts == {f'clip {i}.mp4': 7 for i in range(6)} | {'a/x.avi': 10, 'b/x.avi': 1, 'y.mp4': 12}
    assert set(taught['out_of_fold']) == {'yes'} and np.isfinite(taught['distance']).all()
    for split, n_members in (('oof', 2), ('test', 4)):
        same = taught.loc[tables[split].index]
        assert set(same['members']) == {n_members}
        np.testing.assert_allclose(same['distance'], tables[split]['distance'], rtol=1e-5)


def test_more_clips_are_for_a_teacher_only(trained, tmp_path, capsys):
    folder, _ = trained
    assert run(folder, tmp_path / 'a.csv', '--unlabelled', str(folder)) == 1
    assert 'requires --split teacher' in capsys.readouterr().err
