"""chimp-distance estimate: a row for every target and every clip, resumable, with what ecologists need around it."""

import io
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from make_clips import frame_number, numbered_frames, write_clip
from PIL import Image
from run_estimate import RECIPES, estimate, read

from chimp_jax import panel
from chimp_jax.commands import clip, entry
from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field import intervals
from chimp_jax.field.estimates import COLUMNS
from data_prep import archive, lock

pytestmark = pytest.mark.usefixtures('small_model')


def test_every_second_and_a_row_for_every_clip(runs, clips, tmp_path):
    assert estimate(runs, clips, tmp_path) == 3
    rows = read(tmp_path)
    assert list(rows.columns) == COLUMNS
    assert rows.groupby('video_id')['time'].apply(list).to_dict() == {
        'st A/IMG_0001.MP4': [0, 1, 2, 3, 4],
        'st B/IMG_0001.MP4': [0, 1, 2, 3],
        'st B/IMG_0002.avi': [0, 1, 2],
    }
    number = rows[['distance', 'distance_lower', 'distance_upper']].astype(float)
    assert (number['distance_lower'] <= number['distance']).all() and (number['distance_lower'] >= 0).all()
    assert (number['distance_upper'] >= number['distance']).all()
    assert (rows['members'] == 4).all() and (rows['status'] == 'ok').all() and (rows['bbox_x'] == '').all()
    table = pd.read_csv(tmp_path / 'clips.csv', keep_default_na=False).set_index('video_id')
    assert table['status'].to_dict() == {
        'st A/IMG_0001.MP4': 'ok',
        'st B/IMG_0001.MP4': 'ok',
        'st B/IMG_0002.avi': 'ok',
        'st B/broken.mp4': 'failed',
    }
    assert table['reason'].map(bool).tolist() == [False, False, False, True]
    assert table['seconds'].tolist() == [5, 4, 3, 0] and table['site'].tolist() == ['st A', *['st B'] * 3]
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['clips'] == {'ok': 3, 'failed': 1} and summary['distances'] == 12 and summary['coverage'] == 0.9


def test_intervals_are_fitted_once_and_the_folder_is_held_meanwhile(runs, clips, tmp_path, monkeypatch):
    fit, fitted, held = intervals.fit_intervals, [], []
    score = panel.Panel.score
    monkeypatch.setattr(intervals, 'fit_intervals', lambda *given: fitted.append(given) or fit(*given))

    def looks(self, *chunk):
        held.append((tmp_path / lock.NAME).exists())
        return score(self, *chunk)

    monkeypatch.setattr(panel.Panel, 'score', looks)
    assert estimate(runs, clips, tmp_path) == 3
    assert len(fitted) == 1 and held and all(held) and not (tmp_path / lock.NAME).exists()


def test_options_are_kept_under_the_names_of_version_0_1(runs, clips, tmp_path):
    estimate(runs, clips, tmp_path, '--cutpoints', '0,2')
    options = json.loads((tmp_path / 'options.json').read_text())
    assert (
        list(options)
        == (
            'clips members out every_s burst_gap_s enhance detect detect_rate detections min_confidence targets '
            'details workers weights round compile_cache coverage calibrate deployments format snapshot_s theta_deg '
            'cutpoints truncation camtrap_package camtrap_tracks detector_every every_second_has_an_animal '
            'other_moments_are_empty partial_effort animals species_table media_table redraws memory retry '
            'completeness runner runner_options multihost'
        ).split()
    )
    assert (options['clips'], options['format'], options['cutpoints']) == (str(clips), [], [0, 2])


def test_recipes_with_folds_of_both_kinds_get_a_note(runs, clips, tmp_path):
    path = runs / RECIPES[0] / 'config.json'
    kept = path.read_text()
    config = json.loads(kept)
    assert config['data']['folds'] == 'clip'
    config['data']['folds'] = 'site'
    try:
        path.write_text(json.dumps(config))
        estimate(runs, clips, tmp_path, '--coverage', '0.5')
    finally:
        path.write_text(kept)
    note = json.loads((tmp_path / 'summary.json').read_text())['interval']
    assert note.startswith('some recipes were trained with folds by clip')


def test_clips_called_like_numbers_or_gaps_keep_their_names(runs, tmp_path):
    names = ['007', '1e5', '7', 'NA']
    for name in names:
        write_clip(tmp_path / 'clips' / f'{name}.mp4', numbered_frames(40), 8).rename(tmp_path / 'clips' / name)
    targets = '\n'.join(f'{name},{t}' for name in names for t in range(5))
    (tmp_path / 'targets.csv').write_text(f'video_id,time\n{targets}\n')
    out, flags = tmp_path / 'out', ['--targets', str(tmp_path / 'targets.csv')]
    assert estimate(runs, tmp_path / 'clips', out, *flags) == 0
    before = pd.read_csv(out / 'distances.csv', dtype={'video_id': str}, keep_default_na=False)
    assert before.groupby('video_id').size().to_dict() == dict.fromkeys(names, 5)
    (out / 'corrections.csv').write_text('video_id,time,distance\n007,0,7.5\nNA,1,8.5\n1e5,2,9.5\n')
    known = before[before['video_id'] == '1e5'].assign(distance=lambda rows: rows['distance'].astype(float) + 6)
    known[[*SECOND, 'distance']].to_csv(tmp_path / 'known.csv', index=False)
    assert estimate(runs, tmp_path / 'clips', out, *flags, '--calibrate', str(tmp_path / 'known.csv')) == 0
    after = pd.read_csv(out / 'distances.csv', dtype={'video_id': str}, keep_default_na=False).set_index(SECOND)
    corrected = after.index[after['status'] == 'corrected'].tolist()
    assert corrected == [('007', 0), ('1e5', 2), ('NA', 1)]
    assert after.loc[corrected, 'distance'].astype(float).tolist() == [7.5, 9.5, 8.5]
    (site,) = json.loads((out / 'summary.json').read_text())['calibration']
    assert (site['site'], site['n']) == ('.', 5)


def test_decoding_the_next_clips_beside_an_accelerator_changes_nothing(runs, clips, tmp_path, monkeypatch):
    assert estimate(runs, clips, tmp_path / 'in_turn') == 3
    monkeypatch.setattr(panel.Panel, 'leaves_the_cpu_free', True)
    assert estimate(runs, clips, tmp_path / 'beside') == 3
    for name in ('distances.csv', 'clips.csv'):
        assert (tmp_path / 'in_turn' / name).read_bytes() == (tmp_path / 'beside' / name).read_bytes()
    assert not (tmp_path / 'beside' / 'work' / 'unfinished').exists()


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(runs, clips, tmp_path, monkeypatch):
    estimate(runs, clips, tmp_path / 'whole', '--details')
    score, asked = panel.Panel.score, []

    def dies(self, member, *chunk):
        asked.append(member.name)
        if len(asked) == 6:  # in the second batch
            raise KeyboardInterrupt
        return score(self, member, *chunk)

    monkeypatch.setattr(panel.Panel, 'score', dies)
    with pytest.raises(KeyboardInterrupt):
        estimate(runs, clips, tmp_path / 'killed', '--details')
    estimate(runs, clips, tmp_path / 'killed', '--details')
    assert len(asked) == 6 + 3  # the first of the second batch's four predictions was saved
    for name in ('distances.csv', 'clips.csv'):
        assert (tmp_path / 'killed' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    kept = [path for path in (tmp_path / 'killed').rglob('*') if path.suffix in ('.json', '.parquet')]
    assert {'.json', '.parquet'} == {path.suffix for path in kept}
    for path in kept:  # a power cut
        os.truncate(path, path.stat().st_size // 2)
    estimate(runs, clips, tmp_path / 'killed', '--details')
    for name in ('distances.csv', 'clips.csv'):
        assert (tmp_path / 'killed' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        estimate(runs, clips, tmp_path / 'killed', '--every', '3')  # the next command cannot use these frames
    estimate(runs, clips, tmp_path / 'killed', '--every', '2')
    assert read(tmp_path / 'killed')['time'].tolist() == [0, 2, 4, 0, 2, 0, 2]


def test_a_changed_clip_is_computed_again_and_a_new_one_alone(runs, clips, tmp_path, monkeypatch):
    folder = tmp_path / 'clips'
    write_clip(folder / 'a.mp4', numbered_frames(24), 8)
    write_clip(folder / 'b.mp4', numbered_frames(24), 8)
    assert estimate(runs, folder, tmp_path / 'out') == 0
    score, asked = panel.Panel.score, []
    monkeypatch.setattr(panel.Panel, 'score', lambda self, *a: asked.append(len(a[2].window)) or score(self, *a))
    write_clip(folder / 'a.mp4', numbered_frames(40), 8)
    write_clip(folder / 'aa.mp4', numbered_frames(8), 8)
    assert estimate(runs, folder, tmp_path / 'out') == 0
    assert asked == [5 + 1] * 4
    assert read(tmp_path / 'out').groupby('video_id').size().to_dict() == {'a.mp4': 5, 'aa.mp4': 1, 'b.mp4': 3}


def test_clips_with_other_suffixes_and_a_video_that_is_no_clip_by_its_name(runs, clips, tmp_path):
    folder = tmp_path / 'clips'
    folder.mkdir()
    for name in ('a.mts', 'b.WEBM', 'c\u202fd.h264', 'e.xyz'):
        shutil.copy(clips / 'st A' / 'IMG_0001.MP4', folder / name)
    (folder / 'notes.txt').write_text('text')
    assert estimate(runs, folder, tmp_path / 'out', '--every', '4') == 3
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv', keep_default_na=False).set_index('video_id')
    states = {'a.mts': 'ok', 'b.WEBM': 'ok', 'c\u202fd.h264': 'ok', 'e.xyz': 'not a clip'}
    assert table['status'].to_dict() == states
    assert table.loc['e.xyz', 'seconds'] == 0 and 'give it the suffix' in table.loc['e.xyz', 'reason']


def test_a_mended_clip_and_another_film_of_the_same_size_are_computed_again(runs, tmp_path, monkeypatch):
    folder, out = tmp_path / 'clips', tmp_path / 'out'
    sound = write_clip(tmp_path / 'sound.mp4', numbered_frames(24), 8).read_bytes()
    other = write_clip(tmp_path / 'other.mp4', numbered_frames(40)[16:], 8).read_bytes()
    size = max(len(sound), len(other)) + 100
    sound, other = (content + bytes(size - len(content)) for content in (sound, other))  # players ignore the zeros
    folder.mkdir()
    (folder / 'mended.mp4').write_bytes(bytes(size))
    (folder / 'replaced.mp4').write_bytes(sound)
    (folder / 'touched.mp4').write_bytes(sound)
    times = [(path, path.stat().st_mtime) for path in folder.iterdir()]
    assert estimate(runs, folder, out) == 3
    before = read(out).set_index(SECOND)['distance']
    assert set(before.index.get_level_values(0)) == {'replaced.mp4', 'touched.mp4'}

    score, asked = panel.Panel.score, []
    monkeypatch.setattr(panel.Panel, 'score', lambda self, *a: asked.append(len(a[2].window)) or score(self, *a))
    (folder / 'mended.mp4').write_bytes(sound)
    (folder / 'replaced.mp4').write_bytes(other)
    for path, mtime in times:  # a copying program keeps the times
        os.utime(path, (mtime, mtime))
    os.utime(folder / 'touched.mp4', (1, 1))
    assert estimate(runs, folder, out) == 0
    assert asked == [3 + 3] * 4  # two clips of three seconds, four members
    after = read(out).set_index(SECOND)['distance']
    assert after['mended.mp4'].equals(before['touched.mp4']) and after['touched.mp4'].equals(before['touched.mp4'])


def test_without_oof_there_is_no_interval_and_the_summary_tells_why(runs, clips, tmp_path):
    kept = {path: path.read_bytes() for path in runs.glob('*/fold_*/oof.csv')}
    try:
        for path in kept:
            path.unlink()
        assert estimate(runs, clips, tmp_path / 'a') == 1  # greedy weights are fitted on them
        assert estimate(runs, clips, tmp_path / 'out', '--weights', 'mean') == 3
        assert (read(tmp_path / 'out')['distance_upper'] == '').all()
        assert 'out-of-fold' in json.loads((tmp_path / 'out' / 'summary.json').read_text())['no_interval']
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_one_clip_as_a_table_and_a_picture(runs, clips, tmp_path):
    arguments = ['--members', str(runs), '--out', str(tmp_path / 'one')]
    assert entry.main(['--clip', str(clips / 'st B' / 'IMG_0001.MP4'), *arguments]) == 0
    rows = pd.read_csv(tmp_path / 'one' / 'distances.csv')
    assert rows['time'].tolist() == [0, 1, 2, 3] and np.isfinite(rows['distance']).all()
    assert list(rows.columns) == [*SECOND, 'distance', *sorted(RECIPES), 'spread', 'members', 'status']
    assert (tmp_path / 'one' / 'clip.png').read_bytes().startswith(b'\x89PNG')
    estimate(runs, clips, tmp_path / 'all')
    same = read(tmp_path / 'all')
    same = same[same['video_id'] == 'st B/IMG_0001.MP4']
    np.testing.assert_allclose(rows['distance'], same['distance'], atol=1e-4)
    assert entry.main([f'--clip={clips / "st B" / "broken.mp4"}', *arguments]) == 1
    assert entry.main([f'--clip={clips / "gone.mp4"}', *arguments]) == 1


def test_intervals_are_those_of_the_ensembles_oof_rows(runs, clips, tmp_path):
    """Computed step by step: OOF mean of the recipes, their spread, the records' sites; then the spread of the rows."""
    estimate(runs, clips, tmp_path, '--weights', 'mean', '--coverage', '0.5', '--details')
    oof = pd.concat(
        {
            recipe: pd.concat(pd.read_csv(path) for path in (runs / recipe).glob('fold_*/oof.csv')).set_index(SECOND)
            for recipe in RECIPES
        },
        axis=1,
    )
    values = oof.xs('prediction', axis=1, level=1)
    label = oof[RECIPES[0], 'distance']
    site = np.array(['site s' + name[len('clip ')] for name in oof.index.get_level_values(0)])  # as in small.py
    fitted = intervals.fit_intervals(
        np.maximum(values.mean(axis=1), 0), label, values.std(axis=1, ddof=0), site, 0.5, 'clip'
    )
    rows = pd.read_csv(tmp_path / 'distances.csv')
    streamed = list((tmp_path / 'work').glob('*/*.parquet'))
    members = pd.concat(pd.read_parquet(path) for path in streamed).sort_values(SECOND).filter(like='fold_')
    by_fold = [members.filter(like=f'fold_{k}').to_numpy().std(axis=1) for k in (0, 1)]
    estimate_m = np.maximum(members.mean(axis=1).to_numpy(), 0)  # both recipes have two folds
    np.testing.assert_allclose(rows['distance'], estimate_m, atol=1e-4)
    lower, upper = fitted.apply(estimate_m, np.mean(by_fold, axis=0))
    np.testing.assert_allclose(rows['distance_lower'], lower, atol=1e-3)
    np.testing.assert_allclose(rows['distance_upper'], upper, atol=1e-3)


def test_a_clip_is_decoded_once_and_its_folder_is_not_listed(runs, tmp_path, monkeypatch):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(96), 8)  # 12 s; second t shows frame 8 t
    score, drawn = panel.Panel.score, {}

    def deletes_the_clip(self, *chunk):
        path.unlink(missing_ok=True)
        return score(self, *chunk)

    def lists(*_):
        raise AssertionError('a folder is listed')

    monkeypatch.setattr(panel.Panel, 'score', deletes_the_clip)
    monkeypatch.setattr(archive.Archive, '__init__', lists)
    monkeypatch.setattr(clip, 'draw_clip', lambda path, **what: drawn.update(what))
    assert entry.main(['--clip', str(path), '--members', str(runs), '--out', str(tmp_path / 'out')]) == 0
    assert not path.exists()
    # Eight of twelve seconds, evenly spaced: 0, 11/7, 22/7, ..., 11, rounded.
    assert list(drawn['frame_time_s']) == [0, 2, 3, 5, 6, 8, 9, 11]
    pictures = [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in drawn['frames']]
    assert [frame_number(picture) for picture in pictures] == [8 * t for t in drawn['frame_time_s']]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['distances.csv', 'work']
    assert [path.name for path in (tmp_path / 'out' / 'work').iterdir()] == ['parts']
