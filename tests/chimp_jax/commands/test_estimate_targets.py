"""chimp-distance estimate: which seconds have an animal, and which moments somebody looked at."""

import json
import shutil

import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip
from run_estimate import estimate, read

from chimp_jax.commands import entry
from chimp_jax.ensemble.prediction_tables import BOX, SECOND
from chimp_jax.field.estimates import COLUMNS

pytestmark = pytest.mark.usefixtures('small_model')


def test_every_given_second_has_a_row_even_if_the_clip_is_unreadable(runs, clips, tmp_path):
    (tmp_path / 'wanted.csv').write_text(
        'video_id,time\nst A/IMG_0001.MP4,1\nst A/IMG_0001.MP4,99\ngone.mp4,0\nst B/broken.mp4,3\n../x.mp4,0\n'
    )
    assert estimate(runs, clips, tmp_path / 'out', '--targets', str(tmp_path / 'wanted.csv')) == 3
    rows = read(tmp_path / 'out').set_index(SECOND)
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
    assert read(tmp_path / 'out')[SECOND].to_numpy().tolist() == [[name, 0], [name, 1], [name, 2]]


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
    assert rows[SECOND].to_numpy().tolist() == [[on_disk, 0], [on_disk, 2]] and rows['status'].tolist() == [
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
    if given == 'absolute paths':  # the remedy is not to run the detector again
        reason = table.set_index('video_id')['reason']
        assert reason['st A/IMG_0001.MP4'] == (
            "md.json may name it as 'E:/cards/st A/IMG_0001.MP4'; correct the path there"
        )
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['targets'] == 0 and summary['flags'] == {}
    assert entry.main(['report', str(out)]) == 0 and (out / 'report.html').exists()
