"""chimp-distance estimate: a row for every target and every clip, resumable, with what ecologists need around it."""

import io
import json
import os
import shutil
import subprocess
import sys

import make_packages
import numpy as np
import pandas as pd
import pytest
import small
from make_clips import frame_number, numbered_frames, write_clip
from PIL import Image

from chimp_jax import clip_stream, scoring
from chimp_jax.commands import clip, entry
from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.field import evaluate, intervals
from chimp_jax.field.estimates import COLUMNS
from data_prep import archive, lock

SURVEY = ['--format', 'distance', '--deployments', 'stations.csv']
BIAS_WARNING = evaluate.bias_warning
RECIPES = ('full-a1p50-f7s1', 'down-a1p50-f9s2')


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Two recipes x two folds, trained for an epoch."""
    folder = tmp_path_factory.mktemp('trained')
    small.train_members(folder, RECIPES)
    return folder / 'runs'


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    monkeypatch.setattr(scoring, 'DistanceModel', small.model)
    monkeypatch.setattr(clip_stream, 'CLIPS_PER_BATCH', 2)
    # After an epoch the members know nothing: their bias would set the exit code of every run here.
    monkeypatch.setattr(evaluate, 'bias_warning', lambda bands: '')


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Three clips of 5, 4 and 3 s at two stations, a damaged clip, and a file of another kind."""
    folder = tmp_path_factory.mktemp('clips')
    write_clip(folder / 'st A' / 'IMG_0001.MP4', numbered_frames(40), 8)
    write_clip(folder / 'st B' / 'IMG_0001.MP4', numbered_frames(32), 8)
    write_clip(folder / 'st B' / 'IMG_0002.avi', numbered_frames(24), 8, codec='mpeg4')
    (folder / 'st B' / 'broken.mp4').write_bytes(b'not a clip')
    (folder / 'notes.txt').write_text('not a clip either')
    return folder


def estimate(runs, clips, out, *more):
    arguments = ['estimate', str(clips), '--members', str(runs), '--out', str(out), '--workers', '1', *more]
    return entry.main(arguments)


def read(out):
    return pd.read_csv(out / 'distances.csv', keep_default_na=False, na_values={'distance': ['']})


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
    score = scoring.Panel.score
    monkeypatch.setattr(intervals, 'fit_intervals', lambda *given: fitted.append(given) or fit(*given))

    def looks(self, *chunk):
        held.append((tmp_path / lock.NAME).exists())
        return score(self, *chunk)

    monkeypatch.setattr(scoring.Panel, 'score', looks)
    assert estimate(runs, clips, tmp_path) == 3
    assert len(fitted) == 1 and held and all(held) and not (tmp_path / lock.NAME).exists()


def test_options_are_kept_under_the_names_of_version_0_1(runs, clips, tmp_path):
    estimate(runs, clips, tmp_path, '--cutpoints', '0,2')
    options = json.loads((tmp_path / 'options.json').read_text())
    assert (
        list(options)
        == (
            'clips members out every_s detections min_confidence targets details workers weights round compile_cache '
            'coverage calibrate deployments format snapshot_s theta_deg cutpoints truncation camtrap_package '
            'detector_every every_second_has_an_animal other_moments_are_empty partial_effort animals species_table '
            'media_table'
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
    known[[*KEY, 'distance']].to_csv(tmp_path / 'known.csv', index=False)
    assert estimate(runs, tmp_path / 'clips', out, *flags, '--calibrate', str(tmp_path / 'known.csv')) == 0
    after = pd.read_csv(out / 'distances.csv', dtype={'video_id': str}, keep_default_na=False).set_index(KEY)
    corrected = after.index[after['status'] == 'corrected'].tolist()
    assert corrected == [('007', 0), ('1e5', 2), ('NA', 1)]
    assert after.loc[corrected, 'distance'].astype(float).tolist() == [7.5, 9.5, 8.5]
    (site,) = json.loads((out / 'summary.json').read_text())['calibration']
    assert (site['site'], site['n']) == ('.', 5)


def test_decoding_the_next_clips_beside_an_accelerator_changes_nothing(runs, clips, tmp_path, monkeypatch):
    assert estimate(runs, clips, tmp_path / 'in_turn') == 3
    monkeypatch.setattr(scoring.Panel, 'leaves_the_cpu_free', True)
    assert estimate(runs, clips, tmp_path / 'beside') == 3
    for name in ('distances.csv', 'clips.csv'):
        assert (tmp_path / 'in_turn' / name).read_bytes() == (tmp_path / 'beside' / name).read_bytes()
    assert not list((tmp_path / 'beside' / 'work').glob('*/unfinished-*'))


def test_the_command_starts_without_tensorflow():
    # Its import takes seconds. The first clips are decoded meanwhile.
    code = 'import sys, chimp_jax.commands.estimate, chimp_jax.commands.clip; print("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == 'False\n'


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(runs, clips, tmp_path, monkeypatch):
    estimate(runs, clips, tmp_path / 'whole', '--details')
    score, asked = scoring.Panel.score, []

    def dies(self, member, *chunk):
        asked.append(member.name)
        if len(asked) == 6:  # in the second batch
            raise KeyboardInterrupt
        return score(self, member, *chunk)

    monkeypatch.setattr(scoring.Panel, 'score', dies)
    with pytest.raises(KeyboardInterrupt):
        estimate(runs, clips, tmp_path / 'killed', '--details')
    estimate(runs, clips, tmp_path / 'killed', '--details')
    assert len(asked) == 6 + 3  # the first of the second batch's four predictions was saved
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
    score, asked = scoring.Panel.score, []
    monkeypatch.setattr(scoring.Panel, 'score', lambda self, *a: asked.append(len(a[2].window)) or score(self, *a))
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
    before = read(out).set_index(KEY)['distance']
    assert set(before.index.get_level_values(0)) == {'replaced.mp4', 'touched.mp4'}

    score, asked = scoring.Panel.score, []
    monkeypatch.setattr(scoring.Panel, 'score', lambda self, *a: asked.append(len(a[2].window)) or score(self, *a))
    (folder / 'mended.mp4').write_bytes(sound)
    (folder / 'replaced.mp4').write_bytes(other)
    for path, mtime in times:  # a copying program keeps the times
        os.utime(path, (mtime, mtime))
    os.utime(folder / 'touched.mp4', (1, 1))
    assert estimate(runs, folder, out) == 0
    assert asked == [3 + 3] * 4  # two clips of three seconds, four members
    after = read(out).set_index(KEY)['distance']
    assert after['mended.mp4'].equals(before['touched.mp4']) and after['touched.mp4'].equals(before['touched.mp4'])


def test_every_given_second_has_a_row_even_if_the_clip_is_unreadable(runs, clips, tmp_path):
    (tmp_path / 'wanted.csv').write_text(
        'video_id,time\nst A/IMG_0001.MP4,1\nst A/IMG_0001.MP4,99\ngone.mp4,0\nst B/broken.mp4,3\n../x.mp4,0\n'
    )
    assert estimate(runs, clips, tmp_path / 'out', '--targets', str(tmp_path / 'wanted.csv')) == 3
    rows = read(tmp_path / 'out').set_index(KEY)
    assert rows['status'].map(lambda text: text == 'ok').to_dict() == {
        ('gone.mp4', 0): False,
        ('st A/IMG_0001.MP4', 1): True,
        ('st A/IMG_0001.MP4', 99): False,
        ('st B/broken.mp4', 3): False,
    }
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv', keep_default_na=False).set_index('video_id')['status']
    assert table['st B/IMG_0001.MP4'] == 'not asked' and table['st A/IMG_0001.MP4'] == 'partly'
    assert table['../x.mp4'] == table['gone.mp4'] == 'failed'


def test_targets_may_have_distances_some_of_them_empty(runs, clips, tmp_path):
    name = 'st A/IMG_0001.MP4'
    lines = [f'{name},0,7.4', f'{name},0,3.1', f'{name},0:01,', f'.\\{name},2,']
    (tmp_path / 'wanted.csv').write_text('\n'.join(['filepath,time,distance', *lines]) + '\n')
    assert estimate(runs, clips, tmp_path / 'out', '--targets', str(tmp_path / 'wanted.csv')) == 0
    assert read(tmp_path / 'out')[KEY].to_numpy().tolist() == [[name, 0], [name, 1], [name, 2]]


def test_a_clip_whose_letters_have_two_forms_is_one_clip_in_all_tables(runs, tmp_path):
    """The folder has the decomposed form, and the tables have the composed one."""
    on_disk, typed = 'For\u0065\u0302t/a.mp4', 'For\xeat/a.mp4'
    write_clip(tmp_path / 'clips' / on_disk, numbered_frames(24), 8)
    (tmp_path / 'stations.csv').write_text('station,area_km2,active_seconds\nFor\xeat,1,60\n')
    (tmp_path / 'wanted.csv').write_text(f'video_id,time\n{typed},0\n{typed},2\n')
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'corrections.csv').write_text(f'video_id,time,distance\n{typed},2,7.5\n')
    flags = ['--targets', 'wanted.csv', '--format', 'distance', '--deployments', 'stations.csv', '--snapshot', '2']
    flags = [str(tmp_path / flag) if flag.endswith('.csv') else flag for flag in flags]
    assert estimate(runs, tmp_path / 'clips', out, *flags, '--theta', '42') == 0
    rows, table = read(out), pd.read_csv(out / 'clips.csv')
    assert rows[KEY].to_numpy().tolist() == [[on_disk, 0], [on_disk, 2]] and rows['status'].tolist() == [
        'ok',
        'corrected',
    ]
    assert table[['video_id', 'status', 'site']].to_numpy().tolist() == [[on_disk, 'ok', 'For\xeat']]
    flat = pd.read_csv(out / 'distance_flatfile.csv')
    assert flat['Sample.Label'].tolist() == ['For\xeat'] * 2 and flat['distance'].notna().all()
    (tmp_path / 'truth.csv').write_text(f'video_id,time,distance\n{typed},0,3\n')
    assert entry.main(['evaluate', str(out), '--truth', str(tmp_path / 'truth.csv')]) == 0
    assert pd.read_csv(out / 'evaluation.csv')['n'].tolist()[0] == 1


def test_detections_give_the_seconds_and_the_boxes(runs, clips, tmp_path):
    found = [{'category': '1', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': 16}]
    images = [
        {'file': 'st A/IMG_0001.MP4', 'frame_rate': 8, 'detections': found},
        {'file': 'st B/IMG_0001.MP4', 'frame_rate': 8, 'detections': []},
    ]
    content = {'info': {'format_version': '1.4'}, 'detection_categories': {'1': 'animal'}, 'images': images}
    (tmp_path / 'md.json').write_text(json.dumps(content))
    assert estimate(runs, clips, tmp_path / 'out', '--detections', str(tmp_path / 'md.json'), '--format', 'zamba') == 3
    (row,) = read(tmp_path / 'out').itertuples()
    assert (row.video_id, row.time) == ('st A/IMG_0001.MP4', 2)
    assert [float(getattr(row, name)) for name in BOX] == [0.25, 0.5, 0.25, 0.125] and row.label == ''
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv').set_index('video_id')
    assert table['status'].to_dict() == {
        'st A/IMG_0001.MP4': 'ok',
        'st B/IMG_0001.MP4': 'no animal',
        'st B/IMG_0002.avi': 'not looked at',
        'st B/broken.mp4': 'failed',
    }
    assert table.loc['st B/IMG_0002.avi', 'reason'] == 'md.json does not name it; run the detector on it'
    assert table['duration_s'].tolist()[:3] == [5, 4, 3]
    # zamba writes every second of every clip that can be read.
    zamba = pd.read_csv(tmp_path / 'out' / 'zamba.csv')
    assert zamba.groupby('filepath').size().to_dict() == {
        'st A/IMG_0001.MP4': 5, 'st B/IMG_0001.MP4': 4, 'st B/IMG_0002.avi': 3
    }  # fmt: skip
    assert zamba[zamba['distance'].notna()][['filepath', 'time']].values.tolist() == [['st A/IMG_0001.MP4', 2]]


def looked(file, frames, animals, **more):
    """An entry of MegaDetector's results: the frames that it looked at, and those with an animal."""
    box = {'category': '1', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125]}
    detections = [box | {'frame_number': number} for number in animals]
    return {'file': file, 'frame_rate': 8, 'frames_processed': list(frames), 'detections': detections} | more


def write_results(path, *images):
    path.write_text(json.dumps({'detection_categories': {'1': 'animal'}, 'images': images}))
    return str(path)


def test_the_flat_file_has_moments_that_were_looked_at(runs, clips, tmp_path, capsys):
    folder, found = tmp_path / 'clips', tmp_path / 'md.json'
    for station in 'AB':
        folder.joinpath(f'st {station}').mkdir(parents=True)
        shutil.copy(clips / f'st {station}' / 'IMG_0001.MP4', folder / f'st {station}')
    (tmp_path / 'stations.csv').write_text('station,area_km2,active_seconds\nst A,1,600\nst B,1,600\n')
    flags = ['--deployments', str(tmp_path / 'stations.csv'), '--format', 'distance', '--theta', '42']
    flags += ['--detections', str(found)]
    # A looks every 0.5 s: animals at 0.5, 2 and 2.5 s, of which one is a moment. B, of 4 s, looks at 0 and 2 s.
    entries = looked('st A/IMG_0001.MP4', range(0, 40, 4), [4, 16, 20]), looked('st B/IMG_0001.MP4', [0, 16], [])
    write_results(found, *entries)
    assert estimate(runs, folder, tmp_path / 'out', *flags, '--snapshot', '2') == 0
    flatfile = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flatfile[['Sample.Label', 'Effort']].values.tolist() == [['st A', 300], ['st B', 300]]
    assert flatfile['time'].fillna(-1).tolist() == [2, -1]
    # Of B's moments 0, 1, 2, 3 two were not looked at.
    capsys.readouterr()
    assert estimate(runs, folder, tmp_path / 'no', *flags, '--snapshot', '1') == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert '2 of 9 snapshot moments were not looked at (1 clip, 1 station; first st B/IMG_0001.MP4 at 1 s)' in line
    assert not (tmp_path / 'no' / 'distances.csv').exists() and not (tmp_path / 'no' / 'work').exists()
    assert estimate(runs, folder, tmp_path / 'out', *flags, '--snapshot', '1', '--partial_effort') == 3
    flatfile = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flatfile[['Sample.Label', 'Effort']].values.tolist() == [['st A', 600], ['st B', 300]]
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['distance']['moments']['not looked at'] == 2
    # A failure of the detector leaves the station without effort.
    write_results(found, entries[0], {'file': 'st B/IMG_0001.MP4', 'failure': 'cannot open'})
    assert estimate(runs, folder, tmp_path / 'out', *flags, '--snapshot', '2', '--partial_effort') == 3
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv').set_index('video_id')
    assert table.loc['st B/IMG_0001.MP4', 'status'] == 'not looked at'
    assert 'cannot open' in table.loc['st B/IMG_0001.MP4', 'reason']
    assert pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')['Sample.Label'].tolist() == ['st A']


def test_a_table_tells_which_moments_a_person_looked_at(runs, clips, tmp_path, capsys):
    (tmp_path / 'stations.csv').write_text('station,area_km2,active_seconds\nst A,1,600\nst B,1,600\n')
    targets = tmp_path / 'seen.csv'
    targets.write_text('video_id,time,animal\nst A/IMG_0001.MP4,0,yes\nst A/IMG_0001.MP4,2,no\n')
    flags = ['--deployments', str(tmp_path / 'stations.csv'), '--format', 'distance', '--theta', '42']
    flags += ['--targets', str(targets), '--snapshot', '2']
    # A has the moments 0, 2 and 4, B has 0 and 2 in each of its clips that can be read.
    assert estimate(runs, clips, tmp_path / 'no', *flags) == 1
    assert 'seen.csv: 5 of 7 snapshot moments were not looked at (3 clips' in capsys.readouterr().err
    assert estimate(runs, clips, tmp_path / 'out', *flags, '--other_moments_are_empty') == 3
    assert 'clips cannot be read, and nobody knows their snapshot moments' in capsys.readouterr().out
    flatfile = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flatfile[['Sample.Label', 'Effort']].values.tolist() == [['st A', 300], ['st B', 300]]
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv').set_index('video_id')['status']
    assert table.tolist() == ['ok', 'no animal', 'no animal', 'failed']
    assert estimate(runs, clips, tmp_path / 'out', *flags, '--partial_effort') == 3
    flatfile = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flatfile[['Sample.Label', 'Effort']].values.tolist() == [['st A', 200]]


def test_every_second_an_animal_must_be_stated(runs, clips, tmp_path, capsys):
    (tmp_path / 'stations.csv').write_text('station,area_km2,active_seconds\nst A,1,600\nst B,1,600\n')
    flags = ['--deployments', str(tmp_path / 'stations.csv'), '--format', 'distance', '--theta', '42']
    flags += ['--snapshot', '2']
    assert estimate(runs, clips, tmp_path / 'out', *flags) == 1
    assert '--format distance would make every second an animal' in capsys.readouterr().err
    assert estimate(runs, clips, tmp_path / 'out', *flags, '--every_second_has_an_animal') == 3  # a clip is broken
    flatfile = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flatfile[['video_id', 'time']].values.tolist() == [
        *(['st A/IMG_0001.MP4', t] for t in (0, 2, 4)),
        *([name, t] for name in ('st B/IMG_0001.MP4', 'st B/IMG_0002.avi') for t in (0, 2)),
    ]


def test_odd_detections_and_species_are_told_in_the_files(runs, clips, tmp_path, capsys):
    def seen(category, frame, conf=0.9):
        return {'category': category, 'conf': conf, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': frame}

    images = [  # at 8 pictures per second
        {'file': './st A/IMG_0001.MP4', 'frame_rate': 16, 'detections': [seen('4', 16), seen('5', 8), seen('4', 0, 7)]},
        {'file': 'st B/IMG_0001.MP4', 'frame_rate': 8, 'detections': [seen('1', 8), seen('4', 0), seen('4', 999)]},
        {'file': '/mnt/usb/st B/IMG_0002.avi', 'detections': [seen('4', 0)]},
    ]
    names = {'1': 'animal', '2': 'person', '4': 'Okapi', '5': 'Bongo'}
    (tmp_path / 'md.json').write_text(json.dumps({'detection_categories': names, 'images': images}))
    flags = ['--detections', str(tmp_path / 'md.json')]
    assert estimate(runs, clips, tmp_path / 'out', *flags) == 1
    assert '--animals "Okapi,Bongo"' in capsys.readouterr().err and not list((tmp_path / 'out').glob('*.csv'))
    assert estimate(runs, clips, tmp_path / 'out', *flags, '--animals', 'okapi, bongo') == 3
    rows = read(tmp_path / 'out')
    assert list(zip(rows['video_id'], rows['time'], rows['label'], strict=True)) == [
        ('st A/IMG_0001.MP4', 1, 'Bongo'),
        ('st A/IMG_0001.MP4', 2, 'Okapi'),
        ('st B/IMG_0001.MP4', 0, 'Okapi'),
    ]
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv', keep_default_na=False).set_index('video_id')
    reasons = {  # the rest of the row stays as it is without the odd detection
        'st A/IMG_0001.MP4': ('partly', 'a detection is dropped: the confidence 7 is not a number from 0 to 1'),
        'st B/IMG_0001.MP4': ('partly', 'a detection is in frame 999, but the clip has the frames 0 to 31'),
        '/mnt/usb/st B/IMG_0002.avi': (
            'failed',
            "absolute path; give it relative to the clips folder; did you mean 'st",
        ),
    }
    for name, (state, reason) in reasons.items():
        assert table.loc[name, 'status'] == state and reason in table.loc[name, 'reason']
    notes = json.loads((tmp_path / 'out' / 'summary.json').read_text())['notes']
    assert 'md.json: detections that --animals does not name are not counted: animal (1)' in notes
    assert any('more than 2 % in 1 clips, first st A/IMG_0001.MP4: 16 in its file, 8' in note for note in notes)


def test_corrections_replace_estimates_and_known_distances_calibrate(runs, clips, tmp_path, capsys):
    out = tmp_path / 'out'
    estimate(runs, clips, out)
    before = read(out)
    name = 'st A/IMG_0001.MP4'
    (out / 'corrections.csv').write_text(f'video_id,time,distance\n{name},3,7.5\n')
    known = before[before['video_id'] == name].assign(distance=lambda rows: rows['distance'] + 6)
    known[[*KEY, 'distance']].to_csv(tmp_path / 'known.csv', index=False)
    assert estimate(runs, clips, out, '--calibrate', str(tmp_path / 'known.csv')) == 3
    after = read(out)
    mine = after[after['video_id'] == name].set_index('time')
    assert mine.loc[3, ['distance', 'distance_lower', 'status']].tolist() == [7.5, '', 'corrected']
    # The known distances at this site are 6 m farther. The shrunken correction moves most of this, elsewhere nothing.
    moved = after['distance'] - before['distance']
    others = after['video_id'] != name
    assert (moved[others] == 0).all()
    assert moved[~others & (after['status'] == 'ok')].between(2, 6.5).all()
    assert 'st A: the mean error on 5 known distances is' in capsys.readouterr().out


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


def reference_clips(folder):
    """Two clips of 8 s at the stations A and B: A has an animal at second 2, B a person with a tape."""
    for station in 'AB':
        write_clip(folder / 'clips' / station / 'one.mp4', numbered_frames(64), 8)
    images = [
        {'file': f'{station}/one.mp4', 'frame_rate': 8, 'frames_processed': list(range(0, 64, 8)), 'detections': found}
        for station, found in (
            ('A', [{'category': '1', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': 16}]),
            ('B', [{'category': '2', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': 16}]),
        )
    ]
    content = {'info': {'format_version': '1.5'}, 'detection_categories': {'1': 'animal', '2': 'person'}}
    (folder / 'md.json').write_text(json.dumps(content | {'images': images}))
    (folder / 'stations.csv').write_text('station,area_km2,active_seconds\nA,1,60\nB,1,60\n')
    return folder / 'clips'


def test_a_person_at_known_distances_calibrates_and_is_no_animal(runs, tmp_path, monkeypatch, capsys):
    clips = reference_clips(tmp_path)
    monkeypatch.chdir(tmp_path)
    known_m = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    lines = [f'B/one.mp4,{second},{metres}' for second, metres in enumerate(known_m)]
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance', *lines]) + '\n')
    flags = [
        '--detections',
        'md.json',
        '--deployments',
        'stations.csv',
        '--snapshot',
        '2',
        '--theta',
        '42',
        '--details',
    ]
    flags += ['--format', 'distance', 'zamba', '--calibrate', 'known.csv']
    assert estimate(runs, clips, tmp_path / 'out', *flags) == 0
    rows = read(tmp_path / 'out').set_index(KEY)
    assert rows['status'].to_dict() == {
        ('A/one.mp4', 2): 'ok', **{('B/one.mp4', second): 'known distance' for second in range(6)}
    }  # fmt: skip
    measured = rows[rows['status'] == 'known distance']
    assert measured['distance'].astype(float).tolist() == known_m
    assert (measured[['distance_lower', 'distance_upper', 'flags']] == '').all().all()
    assert (measured[RECIPES[0]] != '').all()  # with --details, what a recipe said
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv').set_index('video_id')
    assert table['status'].to_dict() == {'A/one.mp4': 'ok', 'B/one.mp4': 'no animal'}
    assert table['seconds'].to_dict() == {'A/one.mp4': 1, 'B/one.mp4': 0}
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    (site,) = summary['calibration']
    assert (site['site'], site['n'], summary['known_distances']) == ('B', 6, 6)
    assert (summary['targets'], summary['distances'], summary['zamba']['with a distance']) == (1, 1, 1)
    flat = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flat['video_id'].dropna().tolist() == ['A/one.mp4'] and len(flat) == 2
    assert '6 seconds are targets for --calibrate alone' in capsys.readouterr().out
    assert entry.main(['report', str(tmp_path / 'out')]) == 0
    assert 'known distance' not in (tmp_path / 'out' / 'report.html').read_text().split('summary.json')[0]


def test_known_seconds_between_the_targets_are_added_and_the_others_stay(runs, tmp_path, capsys, caplog):
    clips = reference_clips(tmp_path)
    lines = [f'B/one.mp4,{second},3' for second in (0, 1, 2, 3, 6)]
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance', *lines]) + '\n')
    with caplog.at_level('INFO'):
        out, flags = tmp_path / 'out', ['--every', '3', '--calibrate', str(tmp_path / 'known.csv')]
        assert estimate(runs, clips, out, *flags) == 0
    rows = read(out)
    status = rows[rows['video_id'] == 'B/one.mp4'].set_index('time')['status'].to_dict()
    assert status == {0: 'ok', 1: 'known distance', 2: 'known distance', 3: 'ok', 6: 'ok'}
    assert rows.loc[rows['video_id'] == 'A/one.mp4', 'time'].tolist() == [0, 3, 6]
    assert json.loads((out / 'summary.json').read_text())['calibration'][0]['n'] == 5
    assert '3 seconds of' in caplog.text and 'count as animals' in caplog.text


def test_the_bias_of_a_bin_is_told_in_all_places(runs, clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, 'bias_warning', BIAS_WARNING)
    folder = tmp_path / 'clips'
    write_clip(folder / 'a.mp4', numbered_frames(8), 8)
    assert estimate(runs, folder, tmp_path / 'out', '--cutpoints', '0,0.1,100') == 0
    told = json.loads((tmp_path / 'out' / 'summary.json').read_text())['out_of_fold']
    assert [band['name'] for band in told['bands']] == ['0.1 to 100 m'] and 'warning' not in told
    labels = pd.concat(pd.read_csv(path) for path in (runs / RECIPES[0]).glob('fold_*/oof.csv'))['distance']
    assert told['bands'][0]['n'] == len(labels) and 'By true distance' in capsys.readouterr().out
    edge = float(labels.median())
    assert estimate(runs, folder, tmp_path / 'out', '--cutpoints', f'{edge - 1e-3},{edge}') == 3
    told = json.loads((tmp_path / 'out' / 'summary.json').read_text())['out_of_fold']
    assert 'more than half of the bin' in told['warning'] and f'warning: {told["warning"]}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'flags,fault',
    [
        (['--format', 'distance'], '--format distance needs --deployments and --snapshot and --theta'),
        (['--format', 'camtrap-dp'], '--format camtrap-dp needs --camtrap_package'),
        ([*SURVEY, '--snapshot', '2', '--theta', '400'], 'theta 400.0 is not an angle of view'),
        ([*SURVEY, '--snapshot', '3', '--theta', '42', '--every', '2'], 'some moments every 3 s have no distance'),
        ([*SURVEY, '--snapshot', '2', '--theta', '42', '--cutpoints', '0,5', '--truncation', '7'], 'beyond the last'),
        (['--every', '2', '--targets', 'x.csv'], '--every cannot be used with --targets'),
        (['--every_second_has_an_animal', '--targets', 'x.csv'], '--every_second_has_an_animal contradicts --targets'),
        (['--every_second_has_an_animal', '--detections', 'x.json'], 'contradicts --detections'),
        (['--other_moments_are_empty'], '--other_moments_are_empty needs --targets'),
        (['--detector_every', '2'], '--detector_every needs --detections'),
        (['--detector_every', '-1', '--detections', 'x.json'], '--detector_every=-1: give seconds, above 0'),
        (['--partial_effort'], '--partial_effort needs --format distance'),
        (['--coverage', '1.5'], '--coverage=1.5'),
        (['--animals', 'duiker'], '--animals names categories of a detector; give its file with --detections'),
        (['--species_table', 'x.csv'], '--species_table is for --format camtrap-dp'),
        (['--media_table', 'x.csv'], '--media_table is for --format camtrap-dp'),
        (
            ['--format', 'camtrap-dp', '--camtrap_package', '.', '--media_table', 'media_table.csv'],
            "media_table.csv:2: the clip 'st A/gone.mp4' is not in the clips folder",
        ),
        (['--weights', 'best'], "'best' is neither a file of weights nor one of"),
        (['--calibrate', 'gone.csv'], 'gone.csv'),
        (['--calibrate', 'few.csv'], 'few.csv: too few known distances (st A has 2, 5 are needed)'),
        (['--calibrate', 'wrong.csv'], 'wrong.csv:2: st a/IMG_0001.MP4: no such file in'),
        (['--calibrate', 'late.csv'], 'late.csv:3: st A/IMG_0001.MP4: second 9 is 4.0 s past the end of the clip'),
        (['--calibrate', 'broken.csv'], 'broken.csv:2: st B/broken.mp4: '),
        (['--theta', '0.733'], 'give degrees; 0.733 rad are 42 degrees'),
        (['--format', 'camtrap-dp', '--camtrap_package', '.', '--theta', '42'], 'datapackage.json cannot be read'),
        (['--cutpoints', '5,2'], 'cutpoints 5, 2 are not ascending'),
        (['--truncation', 'nan'], 'truncation nan is not a distance'),
        (['--snapshot', '0'], 'snapshot interval 0 s'),
        (['--every', '0'], '--every must be at least 1 second'),
        (['--workers', '0'], '--workers must be at least 1'),
        (['--min_confidence', '2'], '--min_confidence must be from 0 to 1'),
        (
            ['--format', 'distance', '--deployments', 'areas.csv', '--snapshot', '2', '--theta', '42'],
            'areas.csv:3: area_km2 is missing or 0',
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_any_work(runs, clips, tmp_path, capsys, monkeypatch, flags, fault):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'stations.csv').write_text('station,area_km2,active_seconds\nst A,1,60\nst B,1,60\n')
    (tmp_path / 'media_table.csv').write_text('video_id,mediaID\nst A/gone.mp4,m1\n')
    (tmp_path / 'areas.csv').write_text('station,area_km2,active_seconds\nst A,1,60\nst B,,60\n')
    a, b = 'st A/IMG_0001.MP4', 'st B/broken.mp4'
    rows = {'few': [(a, 0), (a, 1)], 'wrong': [('st a/IMG_0001.MP4', 0)], 'late': [(a, 0), (a, 9)], 'broken': [(b, 0)]}
    for name, seconds in rows.items():
        lines = [f'{clip},{second},3' for clip, second in seconds]
        (tmp_path / f'{name}.csv').write_text('\n'.join(['video_id,time,distance', *lines]) + '\n')
    assert estimate(runs, clips, tmp_path / 'out', *flags) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and fault in lines[0]
    assert not (tmp_path / 'out').exists()


def test_clips_and_media_are_matched_before_the_clips_are_decoded(runs, clips, tmp_path, capsys, monkeypatch):
    """The package is a .zip, and its names are those of another platform."""
    cells = 'd{0},2024-03-02T10:00:0{0}Z,https://x.org/{0}/file,false,video/mp4'
    media = ''.join(f'm{k},{cells.format(k)},20240302100000-IMG_0001.MP4\n' for k in (1, 2))
    media = make_packages.MEDIA.splitlines()[0] + ',fileName\n' + media
    human = 'o1,d2,m2,2024-03-02T10:00:02Z,2024-03-02T10:00:02Z,media,human,,\n'
    observations = make_packages.OBSERVATIONS.splitlines()[0] + '\n' + human
    mine = make_packages.package(tmp_path / 'mine', media=media, observations=observations)
    shutil.make_archive(tmp_path / 'agouti', 'zip', mine)
    (tmp_path / 'wanted.csv').write_text('video_id,time\nst A/IMG_0001.MP4,1\nst B/IMG_0001.MP4,2\n')
    table = tmp_path / 'table.csv'
    flags = ['--targets', str(tmp_path / 'wanted.csv'), '--format', 'camtrap-dp', '--camtrap_package']
    flags.append(str(tmp_path / 'agouti.zip'))
    with monkeypatch.context() as patched:
        patched.setattr(scoring.Panel, 'score', None)  # a clip that is decoded would need it
        assert estimate(runs, clips, tmp_path / 'out', *flags) == 1
        assert 'agouti.zip/media.csv has none of the clips (st A/IMG_0001.MP4, st B' in capsys.readouterr().err
        table.write_text('video_id,mediaID\nst A/IMG_0001.MP4,m1\nst B/IMG_0001.MP4,m3\n')
        assert estimate(runs, clips, tmp_path / 'out', *flags, '--media_table', str(table)) == 1
        assert "table.csv:3: the mediaID 'm3' is not in" in capsys.readouterr().err
    table.write_text('video_id,mediaID\n.\\st A\\IMG_0001.MP4,m1\nst B/IMG_0001.MP4,m2\n')
    assert estimate(runs, clips, tmp_path / 'out', *flags, '--media_table', str(table)) == 0
    made = make_packages.read(tmp_path / 'out' / 'camtrap-dp' / 'observations.csv')
    assert made['observationID'].tolist() == ['o1', 'chimp_jax-m1-1']
    assert '1 distances belong to media that you classified as human' in capsys.readouterr().out


def test_one_clip_as_a_table_and_a_picture(runs, clips, tmp_path):
    arguments = ['--members', str(runs), '--out', str(tmp_path / 'one')]
    assert entry.main(['--clip', str(clips / 'st B' / 'IMG_0001.MP4'), *arguments]) == 0
    rows = pd.read_csv(tmp_path / 'one' / 'distances.csv')
    assert rows['time'].tolist() == [0, 1, 2, 3] and np.isfinite(rows['distance']).all()
    assert list(rows.columns) == [*KEY, 'distance', *sorted(RECIPES), 'spread', 'members', 'status']
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
            recipe: pd.concat(pd.read_csv(path) for path in (runs / recipe).glob('fold_*/oof.csv')).set_index(KEY)
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
    members = pd.concat(pd.read_parquet(path) for path in streamed).sort_values(KEY).filter(like='fold_')
    by_fold = [members.filter(like=f'fold_{k}').to_numpy().std(axis=1) for k in (0, 1)]
    estimate_m = np.maximum(members.mean(axis=1).to_numpy(), 0)  # both recipes have two folds
    np.testing.assert_allclose(rows['distance'], estimate_m, atol=1e-4)
    lower, upper = fitted.apply(estimate_m, np.mean(by_fold, axis=0))
    np.testing.assert_allclose(rows['distance_lower'], lower, atol=1e-3)
    np.testing.assert_allclose(rows['distance_upper'], upper, atol=1e-3)


def test_a_clip_is_decoded_once_and_its_folder_is_not_listed(runs, tmp_path, monkeypatch):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(96), 8)  # 12 s; second t shows frame 8 t
    score, drawn = scoring.Panel.score, {}

    def deletes_the_clip(self, *chunk):
        path.unlink(missing_ok=True)
        return score(self, *chunk)

    def lists(*_):
        raise AssertionError('a folder is listed')

    monkeypatch.setattr(scoring.Panel, 'score', deletes_the_clip)
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


@pytest.mark.parametrize('given', ['no animal', 'absolute paths', 'only broken clips', 'no target'])
def test_without_any_row_the_files_and_the_reasons_are_there(runs, clips, tmp_path, capsys, given):
    folder, names = clips, ['st A/IMG_0001.MP4', 'st B/IMG_0001.MP4']
    seen = [{'category': '1', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': 16}]
    images = {
        'no animal': [{'file': name, 'frame_rate': 8, 'detections': []} for name in names],
        'absolute paths': [{'file': f'E:\\cards\\{name}', 'frame_rate': 8, 'detections': seen} for name in names],
    }
    flags = []
    if given in images:
        content = {'detection_categories': {'1': 'animal'}, 'images': images[given]}
        (tmp_path / 'md.json').write_text(json.dumps(content))
        flags = ['--detections', str(tmp_path / 'md.json')]
    elif given == 'no target':
        (tmp_path / 'none.csv').write_text('video_id,time\n')
        flags = ['--targets', str(tmp_path / 'none.csv')]
    else:
        folder = tmp_path / 'clips'
        (folder / 'st A').mkdir(parents=True)
        (folder / 'st A' / 'zeros.mp4').write_bytes(bytes(500))
        (folder / 'st A' / 'empty.avi').touch()
    out = tmp_path / 'out'
    assert estimate(runs, folder, out, *flags, '--format', 'zamba') == 3  # a clip is broken
    screen = capsys.readouterr().out
    assert '0 distances of 0 clips' in screen
    assert read(out).empty and list(read(out).columns) == COLUMNS
    table = pd.read_csv(out / 'clips.csv', keep_default_na=False)
    failed = table[table['status'] == 'failed']
    assert len(failed) == {'absolute paths': 3, 'only broken clips': 2}.get(given, 1)
    assert all(reason in screen and reason for reason in failed['reason'])
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['targets'] == 0 and summary['flags'] == {}
    assert entry.main(['report', str(out)]) == 0 and (out / 'report.html').exists()
